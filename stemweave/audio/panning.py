"""Masks of stereo mixtures re-estimated from level differences between the channels, by EM.

Each stem has a histogram of panning directions, estimated from the masks, and the masks from it,
with the first masks as prior (level differences as in DUET, Yilmaz and Rickard, "Blind Separation
of Speech Mixtures via Time-Frequency Masking", IEEE Trans. Signal Processing 52(7), 2004).
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
"""Histograms are estimated from so many bins, and from one in so many frames."""
MIN_MASK = 1e-4
MIN_SHARE = 2e-4
"""Of a stem's magnitude in every direction, whatever its histogram: a floor of the likelihood."""


def panned(masks: Tensor, spectrum: Tensor) -> Tensor:
    """Posterior masks (S, bins, frames) of prior ones, from a complex spectrum (2, bins, frames).

    They add up to one. With equal channels they are the prior.
    """
    if torch.equal(spectrum[0], spectrum[1]):
        return masks
    real, imaginary = spectrum.real, spectrum.imag
    magnitude = torch.addcmul(real * real, imaginary, imaginary).sqrt_()  # abs() is slow
    angle = torch.atan2(magnitude[1], magnitude[0]) * (2 / math.pi)
    cells = (angle * DIRECTIONS).long().clamp_(0, DIRECTIONS - 1)
    posterior = masks + MIN_MASK
    weights = _subsampled(magnitude).square().sum(dim=0).sqrt()
    sampled_cells, prior = _subsampled(cells), _subsampled(posterior)
    responsibilities = prior / prior.sum(dim=0)
    for _ in range(ROUNDS):
        likelihood = _likelihood(responsibilities * weights, sampled_cells)
        responsibilities = prior * _looked_up(likelihood, sampled_cells)
        responsibilities /= responsibilities.sum(dim=0)
    posterior *= _looked_up(likelihood, cells)
    return posterior / posterior.sum(dim=0)


def _subsampled(values: Tensor) -> Tensor:
    """Those (..., N) of ``values`` (..., bins, frames) that histograms are estimated from."""
    return values[..., :LEARNT_BINS, ::LEARNT_FRAMES].flatten(-2)


def _looked_up(likelihood: Tensor, cells: Tensor) -> Tensor:
    """(S, ...) of (S, DIRECTIONS), by indices of any shape; an index of both axes is slower."""
    return torch.stack([of_stem.take(cells) for of_stem in likelihood])


def _likelihood(weights: Tensor, cells: Tensor) -> Tensor:
    """Smoothed histograms (S, DIRECTIONS) of ``cells`` (N,) by each stem's ``weights`` (S, N)."""
    histogram = weights.new_zeros(len(weights), DIRECTIONS).index_add_(1, cells, weights)
    reach = torch.arange(-4, 5, device=weights.device) / BLUR
    kernel = torch.exp(-reach.square() / 2)
    histogram = functional.conv1d(histogram[:, None], kernel[None, None], padding="same")[:, 0]
    return histogram / histogram.sum(dim=1, keepdim=True).clamp(min=1e-9) + MIN_SHARE
