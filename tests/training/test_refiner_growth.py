"""Weights of a refiner go on in one with more blocks a level."""

from pathlib import Path

import pytest
import torch

from stemweave.errors import InputError
from stemweave.models.refiner import MaskRefiner
from stemweave.training.networks import load_weights


def refiner(**more: object) -> MaskRefiner:
    torch.manual_seed(0)
    return MaskRefiner(
        4, 32, block_channels=(16, 32), attention_levels=(1,), band_mixers=True, **more
    )


def test_repeated_blocks_change_nothing_at_first_and_something_once_trained(tmp_path: Path):
    small = refiner()
    for parameter in small.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    small.save_pretrained(tmp_path)
    grown = refiner(level_repeats=(1, 3))
    load_weights(grown, "refiner", tmp_path)
    mixture = torch.randn(2, 8, 32) - 5
    assert torch.allclose(grown(mixture), small(mixture), atol=1e-6)
    # the third time, after residual block, mixer, attention and the second time
    grown.get_parameter("up_blocks.1.4.0.conv2.bias").data += 1
    assert not torch.allclose(grown(mixture), small(mixture), atol=1e-3)


def test_a_smaller_refiner_does_not_go_on_with_a_grown_ones_weights(tmp_path: Path):
    refiner(level_repeats=(1, 2)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="does not fit refiner"):
        load_weights(refiner(), "refiner", tmp_path)


@pytest.mark.parametrize("repeats", [(1,), (1, 0)])
def test_repeats_that_are_not_one_number_a_level_are_refused(repeats: tuple[int, ...]):
    with pytest.raises(ValueError, match="level_repeats"):
        refiner(level_repeats=repeats)
