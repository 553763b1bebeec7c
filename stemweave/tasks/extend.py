"""Extension: a piece goes on after its end, for any length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.limiter import limited_stems, peak_of
from stemweave.audio.waveforms import checked
from stemweave.audio.windows import continue_with
from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.context import FADE_S, Heard, from_nothing, hear, is_silent, play
from stemweave.tasks.piece import heard_bars, piece_latents

if TYPE_CHECKING:
    from stemweave.model import StemModel

MIRRORED_POSITIONS = 16
"""The encoder hears this much of the end played backwards after it, instead of a sudden silence."""


def extend(
    pipe: StemModel,
    piece: Mapping[str, Tensor],
    sample_rate: int,
    *,
    added_samples: int,
    steps: int | None,
    inpainting: str | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """``piece`` (stems and their ``mixture``) followed by ``added_samples`` new samples.

    All of its own samples stay. The model is told the last half of a window, or more if a shorter
    continuation leaves room for it. Stems that the piece lacks stay silent. New samples are turned
    down where their sum would be above full scale and the piece's own peak.
    """
    old = {name: waveform for name, waveform in piece.items() if name != MIXTURE}
    mixture = piece[MIXTURE]
    num_samples = mixture.shape[-1]
    samples_per_position = pipe.position_samples * sample_rate / pipe.sample_rate
    new_positions = math.ceil(added_samples / samples_per_position)
    window = pipe.window_positions
    told = min(max(window // 2, window - new_positions), int(num_samples // samples_per_position))
    context = int(told * samples_per_position)
    end = {name: waveform[:, num_samples - context :] for name, waveform in old.items()}
    silent = is_silent(end)
    if conditioning is not None:
        begun = num_samples if silent else num_samples - context
        conditioning = conditioning.beginning_at(begun / sample_rate)
    if silent:
        added = from_nothing(
            pipe,
            list(old),
            (len(mixture), added_samples),
            sample_rate,
            steps=steps,
            conditioning=conditioning,
            generator=generator,
            progress=progress,
        )
    else:
        added = _continued(
            pipe, end, sample_rate, told, added_samples, steps, inpainting, conditioning, generator,
            progress,
        )  # fmt: skip
    added = limited_stems(added, sample_rate, ceiling=peak_of(mixture))
    return _appended(piece, added, sample_rate)


def _appended(
    piece: Mapping[str, Tensor], added: dict[str, Tensor], sample_rate: int
) -> dict[str, Tensor]:
    """``piece``, and after it the ``added`` stems and their sum."""
    added[MIXTURE] = torch.stack(list(added.values())).sum(dim=0)
    fade = round(FADE_S * sample_rate)
    longer = {name: continue_with(piece[name], added[name], fade) for name in added}
    return checked(longer, piece[MIXTURE].shape[-1] + added[MIXTURE].shape[-1])


def _continued(
    pipe: StemModel,
    end: Mapping[str, Tensor],
    sample_rate: int,
    told: int,
    added_samples: int,
    steps: int | None,
    inpainting: str | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """``added_samples`` that follow ``end``, ``told`` positions of the piece's stems."""
    samples_per_position = pipe.position_samples * sample_rate / pipe.sample_rate
    context = next(iter(end.values())).shape[-1]
    mirrored = min(context - 1, int(MIRRORED_POSITIONS * samples_per_position))
    reflected = {
        name: functional.pad(part, (0, mirrored), mode="reflect") for name, part in end.items()
    }
    heard = hear(pipe, reflected, sample_rate, generator=generator)
    clean, known = _with_room(pipe, heard, told, math.ceil(added_samples / samples_per_position))
    latents = piece_latents(
        pipe,
        clean,
        known,
        steps=steps,
        inpainting=inpainting,
        bars=None if conditioning else heard_bars(pipe),
        conditioning=conditioning,
        generator=generator,
        progress=progress,
    )
    new = play(pipe, heard, latents, list(end), context + added_samples, known=known)
    return {name: waveform[:, context:] for name, waveform in new.items()}


def _with_room(pipe: StemModel, heard: Heard, told: int, new: int) -> tuple[Tensor, Tensor]:
    """Latents (S, C, H, W) of ``told`` positions and room for ``new`` ones; which are known."""
    height = pipe.positions_for((told + new) * pipe.position_samples)
    clean = functional.pad(heard.latents[:, :, :told], (0, 0, 0, height - told))
    known = torch.zeros(len(pipe.stems), height, dtype=torch.bool)
    known[:, :told] = True
    for index, name in enumerate(pipe.stems):
        if name not in heard.stems:
            known[index] = True
            clean[index, :, told:] = heard.latents[index, :, told // 2, None]
    return clean, known
