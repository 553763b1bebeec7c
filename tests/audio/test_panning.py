"""Directions: what they tell apart, and what they leave as it is."""

import math

import torch

from stemweave.audio.panning import panned


def two_directions(left: float, right: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Complex stems (2, channels, bins, frames) panned to so many radians, and poor masks of them.

    In most bins only one of them sounds; which one is half known.
    """
    generator = torch.Generator().manual_seed(1)
    phase = torch.rand(2, 1, 300, 40, generator=generator) * 2 * math.pi
    level = torch.rand(2, 1, 300, 40, generator=generator) ** 6
    pans = torch.tensor([[math.cos(one), math.sin(one)] for one in (left, right)])
    stems = torch.polar(level, phase) * pans[:, :, None, None]
    share = level[:, 0] / level[:, 0].sum(0)
    doubt = torch.rand(1, 300, 40, generator=generator)
    return stems, torch.lerp(share, share.flip(0), 0.7 * doubt)


def error(masks: torch.Tensor, stems: torch.Tensor) -> float:
    estimates = masks[:, None] * stems.sum(0)
    return ((estimates - stems).abs().square().sum() / stems.abs().square().sum()).item()


def test_stems_from_two_directions_are_told_apart():
    stems, masks = two_directions(math.pi / 4 - 0.3, math.pi / 4 + 0.3)
    found = panned(masks, stems.sum(0))
    assert torch.allclose(found.sum(0), torch.ones(300, 40), atol=1e-5)
    assert error(found, stems) < 0.4 * error(masks, stems)


def test_one_direction_says_nothing():
    stems, masks = two_directions(0.6, 0.6)
    spectrum = stems.sum(0)
    assert torch.allclose(panned(masks, spectrum), masks, atol=2e-3)
    middle = spectrum[:1].expand(2, -1, -1)
    assert torch.equal(panned(masks, middle), masks)


def test_silence_from_nowhere_and_short_pieces_stay_finite():
    masks = torch.full((3, 5, 1), 1 / 3)
    spectrum = torch.zeros(2, 5, 1, dtype=torch.complex64)
    spectrum[0, 2] = 1e-20
    assert panned(masks, spectrum).isfinite().all()
