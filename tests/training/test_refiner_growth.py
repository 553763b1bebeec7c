"""Weights of a refiner go on in one with more blocks a level, or with other stems."""

from pathlib import Path

import pytest
import torch

from stemweave.errors import InputError
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import MaskSharpener
from stemweave.stems import OTHER, STEMS
from stemweave.training.networks import load_weights


def refiner(num_stems: int = 4, **more: object) -> MaskRefiner:
    torch.manual_seed(0)
    return MaskRefiner(
        num_stems, 32, block_channels=(16, 32), attention_levels=(1,), band_mixers=True, **more
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


def test_masks_go_on_by_their_stems_names_and_a_new_one_begins_with_a_share(tmp_path: Path):
    four = refiner()  # says no names, as the bundled one: the default model's
    for parameter in four.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    four.save_pretrained(tmp_path / "four")
    five = refiner(5, stems=[OTHER, *reversed(STEMS)])
    load_weights(five, "refiner", tmp_path / "four", five.config.stems)
    mixture = torch.randn(2, 8, 32) - 5
    masks, before = five(mixture), four(mixture)
    assert masks[:, 0].min() > 0.01 and masks[:, 0].max() < 0.2
    assert torch.allclose(masks[:, 1:], (1 - masks[:, :1]) * before.flip(1), atol=1e-6)
    five.save_pretrained(tmp_path / "five")
    fewer = refiner(2, stems=["piano", OTHER])
    load_weights(fewer, "refiner", tmp_path / "five", fewer.config.stems)
    assert torch.equal(fewer.conv_out.bias, five.conv_out.bias.view(5, 4)[[1, 0]].flatten())
    with pytest.raises(ValueError, match="names 4"):
        refiner(5, stems=STEMS)


def test_a_sharpener_begins_with_a_new_stem_and_treats_the_others_as_before(tmp_path: Path):
    four = MaskSharpener(num_bins=16, channels=8, dilations=(1,))
    for parameter in four.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    four.save_pretrained(tmp_path)
    five = MaskSharpener(5, num_bins=16, channels=8, dilations=(1,))
    load_weights(five, "sharpener", tmp_path, [*STEMS, OTHER])
    heard, told = torch.randn(1, 6, 16, 4), torch.randn(1, 5, 16, 4)
    answers = [net.conv_in(torch.cat([heard, told[:, :n]], 1)) for net, n in ((four, 4), (five, 5))]
    assert torch.allclose(*answers, atol=1e-6)
    hidden = torch.randn(1, 8, 16, 4)
    assert torch.equal(five.conv_out(hidden)[:, :4], four.conv_out(hidden))
    assert not five.conv_out(hidden)[:, 4].any()


@pytest.mark.parametrize("repeats", [(1,), (1, 0)])
def test_repeats_that_are_not_one_number_a_level_are_refused(repeats: tuple[int, ...]):
    with pytest.raises(ValueError, match="level_repeats"):
        refiner(level_repeats=repeats)
