"""The convolution that filters minimally is the plain one, and only used where it may be."""

import pytest
import torch
from torch.nn import functional

from stemweave.models.convolution import Convolution, has_minimal_filtering


@pytest.mark.parametrize("batch", [1, 3])
def test_it_is_the_plain_convolution(batch):
    torch.manual_seed(0)
    convolution = Convolution(64, 80, 3, padding=1)
    inputs = torch.randn(batch, 64, 36, 30).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert convolution.is_filtered(inputs) == has_minimal_filtering()
        plain = functional.conv2d(inputs, convolution.weight, convolution.bias, padding=1)
        found = convolution(inputs)
    assert found.shape == (batch, 80, 36, 30)
    assert (found - plain).abs().max() < 1e-4 * plain.abs().max()


def test_training_small_inputs_and_other_types_are_left_alone():
    convolution, large = Convolution(64, 64, 3, padding=1), torch.randn(1, 64, 32, 32)
    assert not convolution.is_filtered(large)
    convolution(large).sum().backward()
    assert convolution.weight.grad is not None
    with torch.no_grad():
        assert not convolution.is_filtered(large[..., :8])
        assert not convolution.is_filtered(large.bfloat16())
        assert not Convolution(8, 8, 3, padding=1).is_filtered(large[:, :8])
        with torch.autocast("cpu", torch.bfloat16):
            assert not convolution.is_filtered(large)
