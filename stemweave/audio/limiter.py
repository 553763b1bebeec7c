"""New stems turned down for as long as a piece would be louder than full scale."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

BLOCK_S = 0.005
"""Gains glide over this long, and are lowered one block early and late."""
MIN_GAIN = 0.25
"""At most 12 dB: stems that are given as loud as full scale must not silence the others."""


def limited(
    new: Tensor, sample_rate: int, given: Tensor | None = None, *, ceiling: float = 1.0
) -> Tensor:
    """``new`` stems (N, channels, T), all with the same gain (T,), quieter where they are too loud.

    The sum with ``given`` (channels, T), and every new stem by itself, stays below the largest of
    1, ``ceiling`` and the peak of ``given``; unless that would take ``MIN_GAIN`` or less. What is
    not too loud comes back as it is.
    """
    total = new.sum(dim=0)
    given = torch.zeros_like(total) if given is None else given
    ceiling = max(1.0, ceiling, peak_of(given))
    both, loudest = total + given, new.abs().amax(dim=0)
    if not (torch.maximum(both.abs(), loudest) > ceiling).any():
        return new
    room = (ceiling - given * both.sign()) / total.abs().clamp(min=1e-9)
    gain = torch.where(both.abs() > ceiling, room, 1.0)
    gain = torch.minimum(gain, ceiling / loudest.clamp(min=ceiling)).amin(dim=0).clamp(min=MIN_GAIN)
    block = max(1, round(BLOCK_S * sample_rate))
    count = -(-len(gain) // block)
    blocks = functional.pad(gain, (0, count * block - len(gain)), value=1.0)
    lowest = -functional.max_pool1d(-blocks[None], block)
    lowest = -functional.max_pool1d(-lowest, 3, stride=1, padding=1)  # of both neighbours, too
    glide = functional.interpolate(lowest[None], count * block, mode="linear")[0, 0]
    return new * glide[: len(gain)]


def peak_of(waveform: Tensor) -> float:
    """The largest magnitude of a sample; 0 if there is none."""
    return waveform.abs().max().item() if waveform.numel() else 0.0


def limited_stems(
    new: Mapping[str, Tensor],
    sample_rate: int,
    given: Tensor | None = None,
    *,
    ceiling: float = 1.0,
) -> dict[str, Tensor]:
    """``limited`` stems (channels, T) by their names."""
    stack = limited(torch.stack(list(new.values())), sample_rate, given, ceiling=ceiling)
    return dict(zip(new, stack, strict=True))
