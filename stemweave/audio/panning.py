"""Where stems are between two loudspeakers, and so whose a sound is that comes from there.

Masks are made of the mono sum, which does not know that a guitar is on the left and a piano on the
right. Each stem's directions are learnt from what masks give to it, and masks from directions, in
turns: expectation maximisation of a histogram a stem, with the masks as what was believed before
(the level differences of DUET, Yilmaz and Rickard, "Blind Separation of Speech Mixtures via
Time-Frequency Masking", IEEE Trans. Signal Processing 52(7), 2004).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

DIRECTIONS = 48
"""Cells of a histogram, from the left to the right."""
BLUR = 1.5
"""Standard deviation, in cells, of what histograms are smoothed by."""
ROUNDS = 4
LEARNT_BINS, LEARNT_FRAMES = 1024, 2
"""Directions are learnt from so many bins, and from one in so many frames."""
MIN_MASK = 1e-4
MIN_SHARE = 2e-4
"""Of a stem's sound, that may come from any direction."""


def panned(masks: Tensor, spectrum: Tensor) -> Tensor:
    """Masks (S, bins, frames) that know directions, from others and a spectrum (2, bins, frames).

    ``spectrum`` is complex. They add up to one; where both channels are the same they stay as they
    are.
    """
    if torch.equal(spectrum[0], spectrum[1]):
        return masks
    real, imaginary = spectrum.real, spectrum.imag
    magnitude = torch.addcmul(real * real, imaginary, imaginary).sqrt_()  # abs() is slow
    angle = torch.atan2(magnitude[1], magnitude[0]) * (2 / math.pi)
    cells = (angle * DIRECTIONS).long().clamp_(max=DIRECTIONS - 1)
    believed = masks + MIN_MASK
    loudness = _learnt(magnitude).square().sum(dim=0).sqrt()
    some, of_some = _learnt(cells), _learnt(believed)
    told = of_some / of_some.sum(dim=0)
    for _ in range(ROUNDS):
        likelihood = _likelihood(told * loudness, some)
        told = of_some * _looked_up(likelihood, some)
        told /= told.sum(dim=0)
    believed *= _looked_up(likelihood, cells)
    return believed / believed.sum(dim=0)


def _learnt(of_bins: Tensor) -> Tensor:
    """What directions are learnt from, (..., N), of something (..., bins, frames)."""
    return of_bins[..., :LEARNT_BINS, ::LEARNT_FRAMES].flatten(-2)


def _looked_up(likelihood: Tensor, cells: Tensor) -> Tensor:
    """(S, ...) of (S, DIRECTIONS), by indices of any shape; an index of both axes is slower."""
    return torch.stack([of_stem.take(cells) for of_stem in likelihood])


def _likelihood(sound: Tensor, cells: Tensor) -> Tensor:
    """How much (S, DIRECTIONS) of a stem's sound (S, N) is in any of the ``cells`` (N,)."""
    histogram = sound.new_zeros(len(sound), DIRECTIONS).index_add_(1, cells, sound)
    reach = torch.arange(-4, 5, device=sound.device) / BLUR
    kernel = torch.exp(-reach.square() / 2)
    histogram = functional.conv1d(histogram[:, None], kernel[None, None], padding="same")[:, 0]
    return histogram / histogram.sum(dim=1, keepdim=True).clamp(min=1e-9) + MIN_SHARE
