"""Bars that resemble each other, while what a piece is made of is being decided.

A small denoiser makes of every moment something plausible and of none something that comes back.
Near pure noise, where a piece is decided, the clean latents that it predicts are replaced by their
mean over all bars; after that every bar goes its own way, so they differ in detail. It takes no
training. (MultiDiffusion, arXiv 2302.08113, makes the views of one image agree by such means.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.diffusion.guidance import ToldDenoiser
from stemweave.diffusion.objective import clean_estimate, signal_and_noise, target

BEATS_PER_BAR = 4
BARS_PER_PHRASE = 2
MAX_RAISE = 3.0
"""Most that a mean bar's deviation is raised, before ``Bars.gain``."""
USUAL_BAR_S = 2.1
BAR_SPREAD = 0.5
"""Of the logarithm of bars' lengths around the usual one, as far as ``bar_length`` cares."""
BAR_RANGE_S = (1.28, 3.5)
LENGTH_STEP = 0.25
"""Positions between two lengths that ``bar_length`` compares."""
MIN_LIKENESS = 0.08
"""Correlation with the other bars below which there are none."""


@dataclass(frozen=True)
class Bars:
    """How alike bars are.

    Attributes:
        positions: latent positions of a bar, not necessarily whole; None: to be heard.
        above: timestep of the schedule down to which all bars are the same.
        gain: factor of their deviation in time: a mean bar makes for a duller and quieter piece.
        beat_share: how much of a bar is the mean of its beats, which makes the pulse.
        phrase_share: how much of the rest is the mean of every second bar alone: at 1, phrases of
            two bars come back, and a bar is not the one before.
    """

    positions: float | None
    above: int
    gain: float = 1.0
    beat_share: float = 0.0
    phrase_share: float = 0.0


def in_bars(denoiser: ToldDenoiser, scheduler: Any, bars: Bars | None) -> ToldDenoiser:
    """``denoiser`` whose predictions at timesteps above ``bars.above`` are of equal bars.

    Of the predicted clean latents (B, S, C, H, W) those that are ``known`` count as they are, so
    new bars are like known ones. A stem's deviation from its mean over time keeps its size, times
    ``bars.gain``.
    """
    if bars is None:
        return denoiser

    def predict(latents: Tensor, timestep: Tensor, known: Tensor | None) -> Tensor:
        prediction = denoiser(latents, timestep, known)
        if timestep.max().item() <= bars.above:
            return prediction
        stems_timestep = timestep if timestep.ndim == 2 else timestep[:, None]
        clean = clean_estimate(scheduler, latents, prediction, stems_timestep)
        held = torch.zeros((), dtype=torch.bool, device=latents.device)
        if known is not None:
            held = known[:, :, None, :, None]
        alike = with_equal_bars(torch.where(held, latents, clean), bars)
        signal, sigma = signal_and_noise(scheduler, stems_timestep)
        noise = (latents - signal * alike) / sigma
        return torch.where(held, prediction, target(scheduler, alike, noise, stems_timestep))

    return predict


def heard_in(
    bars: Bars | None, latents: Tensor, known: Tensor | None, position_s: float
) -> Bars | None:
    """``bars`` as long as those in the ``known`` positions (B, S, H) of ``latents``
    (B, S, C, H, W), if their length is to be heard; None if none can be.
    """
    if bars is None or bars.positions is not None:
        return bars
    if known is None:
        return None
    positions = bar_length(latents.flatten(0, 1), known.flatten(0, 1), position_s)
    return None if positions is None else replace(bars, positions=positions)


def bar_length(latents: Tensor, known: Tensor, position_s: float) -> float | None:
    """Positions after which stems (K, C, H, W) repeat best where they are ``known`` (K, H), usual
    lengths first; None if hardly.

    What is taken for a bar may be half or two of them.
    """
    shown = known.to(latents)[:, None, :, None]
    count = shown.sum(dim=2, keepdim=True).clamp(min=1)
    moving = (latents - (latents * shown).sum(dim=2, keepdim=True) / count) * shown
    products = torch.einsum("kchw,kcgw->hg", moving, moving)
    powers = torch.einsum("kchw,kg->hg", moving.square(), known.to(latents))
    powers = (powers + powers.T) / 2
    lags = range(latents.shape[2])
    alike = [products.diagonal(lag).sum().item() for lag in lags]
    power = [powers.diagonal(lag).sum().item() for lag in lags]
    shortest, longest = (bound / position_s for bound in BAR_RANGE_S)
    longest = min(longest, known.sum(dim=1).max().item() / 2)
    best, length = 0.0, None
    for positions in np.arange(shortest, longest, LENGTH_STEP).tolist():
        apart = np.arange(positions, lags[-1], positions)  # other bars, the far ones less often
        likeness = np.interp(apart, lags, alike).sum()
        found = float(likeness / max(np.interp(apart, lags, power).sum(), 1e-6))
        distance = math.log(positions * position_s / USUAL_BAR_S) / BAR_SPREAD
        worth = found * math.exp(-(distance**2) / 2)
        if found >= MIN_LIKENESS and worth > best:
            best, length = worth, positions
    return length


def bar_weights(height: int, positions: float) -> Tensor:
    """Matrix (H, H) from latents along H to their means over all bars.

    Where a bar is not a whole number of positions it takes what lies between two of them.
    """
    rows, bars = torch.arange(height), int(height / positions)
    places = rows[:, None] + positions * torch.arange(-bars, bars + 1)  # of a row in every bar
    inside = (places >= 0) & (places <= height - 1)
    shares = (1 - (places[..., None] - rows).abs()).clamp(min=0)  # of the two rows around a place
    weights = (shares * inside[..., None]).sum(dim=1)
    return weights / weights.sum(dim=1, keepdim=True)


def with_equal_bars(clean: Tensor, bars: Bars) -> Tensor:
    """Clean latents (B, S, C, H, W) of which every bar is the mean one, brought to their size."""
    assert bars.positions is not None
    height = clean.shape[3]
    weights = bar_weights(height, bars.positions)
    of_phrases, of_beats = BARS_PER_PHRASE * bars.positions, bars.positions / BEATS_PER_BAR
    for positions, share in ((of_phrases, bars.phrase_share), (of_beats, bars.beat_share)):
        if share > 0:
            weights = torch.lerp(weights, bar_weights(height, positions), share)
    repeated = torch.einsum("hg,bscgw->bschw", weights.to(clean), clean)
    steady = repeated.mean(dim=3, keepdim=True)
    deviation = repeated - steady
    wanted = _size(clean - clean.mean(dim=3, keepdim=True))
    raised = (wanted / _size(deviation).clamp(min=1e-6)).clamp(max=MAX_RAISE)
    return steady + bars.gain * raised * deviation


def _size(deviation: Tensor) -> Tensor:
    """Standard deviation (B, S, 1, 1, 1) of each stem."""
    return deviation.std(dim=(2, 3, 4), keepdim=True)
