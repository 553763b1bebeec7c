"""Bars that resemble each other, while what a piece is made of is being decided.

A small denoiser makes of every moment something plausible and of none something that comes back.
Near pure noise, where a piece is decided, the clean latents that it predicts are replaced by their
mean over all bars; after that every bar goes its own way, so they differ in detail. It takes no
training. (MultiDiffusion, arXiv 2302.08113, makes the views of one image agree by such means.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stemweave.diffusion.objective import clean_estimate, signal_and_noise, target

StemDenoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(latents, timestep, known) → prediction."""

BEATS_PER_BAR = 4
MAX_RAISE = 3.0
"""Most that a mean bar's deviation is raised, before ``Bars.gain``."""


@dataclass(frozen=True)
class Bars:
    """How alike bars are.

    Attributes:
        positions: latent positions of a bar.
        above: timestep of the schedule down to which all bars are the same.
        gain: factor of their deviation in time: a mean bar makes for a duller and quieter piece.
    """

    positions: int
    above: int
    gain: float = 1.0


def in_bars(denoiser: StemDenoiser, scheduler: Any, bars: Bars | None) -> StemDenoiser:
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


def with_equal_bars(clean: Tensor, bars: Bars) -> Tensor:
    """Clean latents (B, S, C, H, W) of which every bar is the mean one, brought to their size."""
    height = clean.shape[3]
    place = torch.arange(height, device=clean.device) % bars.positions
    count = place.bincount(minlength=bars.positions).clamp(min=1)
    total = clean.new_zeros(*clean.shape[:3], bars.positions, clean.shape[4])
    mean_bar = total.index_add(3, place, clean) / count[:, None]
    repeated = mean_bar.index_select(3, place)
    steady = repeated.mean(dim=3, keepdim=True)
    deviation = repeated - steady
    wanted = _size(clean - clean.mean(dim=3, keepdim=True))
    raised = (wanted / _size(deviation).clamp(min=1e-6)).clamp(max=MAX_RAISE)
    return steady + bars.gain * raised * deviation


def _size(deviation: Tensor) -> Tensor:
    """Standard deviation (B, S, 1, 1, 1) of each stem."""
    return deviation.std(dim=(2, 3, 4), keepdim=True)
