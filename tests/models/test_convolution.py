"""The convolution that filters minimally is the plain one, and only used where it may be."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional

from stemweave.models import convolution as module
from stemweave.models.convolution import Convolution, gains_by_filtering

needs_gain = pytest.mark.skipif(not gains_by_filtering(), reason="plain convolutions are fast here")


def plain(inputs: torch.Tensor, layer: Convolution) -> torch.Tensor:
    return functional.conv2d(inputs, layer.weight, layer.bias, padding=1)


def largest_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_it_is_the_plain_convolution(batch, memory_format, monkeypatch):
    monkeypatch.setattr(module, "gains_by_filtering", lambda: True)
    monkeypatch.setattr(module, "SCRATCH_BYTES", 200_000)  # several chunks
    torch.manual_seed(0)
    layer = Convolution(64, 80, 3, padding=1)
    inputs = torch.randn(batch, 64, 36, 32).contiguous(memory_format=memory_format)
    with torch.inference_mode():
        assert layer.is_filtered(inputs)
        assert largest_error(layer(inputs), plain(inputs, layer)) < 1e-5


def test_gradients_are_those_of_the_plain_convolution(monkeypatch):
    monkeypatch.setattr(module, "gains_by_filtering", lambda: True)
    torch.manual_seed(0)
    layer = Convolution(48, 64, 3, padding=1)
    inputs = torch.randn(2, 48, 16, 24, requires_grad=True)
    assert layer.is_filtered(inputs)
    direction = torch.randn(2, 64, 16, 24)
    variables = (inputs, layer.weight, layer.bias)
    outputs = layer(inputs)
    assert type(outputs.grad_fn).__name__.startswith("_Filtering")
    found = torch.autograd.grad(outputs, variables, direction)
    expected = torch.autograd.grad(plain(inputs, layer), variables, direction)
    for one, other in zip(found, expected, strict=True):
        assert largest_error(one, other) < 1e-5
    layer.requires_grad_(False)
    assert torch.equal(torch.autograd.grad(layer(inputs), inputs, direction)[0], found[0])


def test_new_weights_are_transformed_anew(monkeypatch):
    monkeypatch.setattr(module, "gains_by_filtering", lambda: True)
    layer, inputs = Convolution(64, 64, 3, padding=1), torch.randn(2, 64, 16, 16)
    with torch.no_grad():
        layer(inputs)
        layer.weight.mul_(2)
        assert largest_error(layer(inputs), plain(inputs, layer)) < 1e-5
        layer.weight.data = torch.randn_like(layer.weight)
        assert largest_error(layer(inputs), plain(inputs, layer)) < 1e-5
    assert layer._transformed.kept is not None and set(layer.state_dict()) == {"weight", "bias"}
    assert copy.deepcopy(layer)._transformed.kept is None
    assert pickle.loads(pickle.dumps(layer))._transformed.kept is None
    assert layer.double()._transformed.kept is None


@needs_gain
def test_small_inputs_and_other_types_are_left_alone():
    layer, large = Convolution(64, 64, 3, padding=1), torch.randn(1, 64, 32, 32)
    assert layer.is_filtered(large)
    with torch.no_grad():
        assert not layer.is_filtered(large[..., :16, :16])  # too few tiles
        assert not layer.is_filtered(large[..., :30])
        assert not layer.is_filtered(large.bfloat16())
        assert not Convolution(8, 8, 3, padding=1).is_filtered(large[:, :8])
        assert not Convolution(64, 64, 3, padding=1, groups=2).is_filtered(large)
        assert not Convolution(64, 64, 3, padding=1, padding_mode="reflect").is_filtered(large)
        with torch.autocast("cpu", torch.bfloat16):
            assert not layer.is_filtered(large)
