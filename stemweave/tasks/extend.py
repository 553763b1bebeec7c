"""Extension: a piece goes on after its end, for any length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.limiter import limited_stems
from stemweave.audio.windows import continue_with
from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.context import FADE_S, hear, play
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
    down where their sum would be above full scale.
    """
    old = {name: waveform for name, waveform in piece.items() if name != MIXTURE}
    num_samples = piece[MIXTURE].shape[-1]
    samples_per_position = pipe.position_samples * sample_rate / pipe.sample_rate
    new_positions = math.ceil(added_samples / samples_per_position)
    window = pipe.window_positions
    told = min(max(window // 2, window - new_positions), int(num_samples // samples_per_position))
    context = int(told * samples_per_position)
    mirrored = min(context - 1, int(MIRRORED_POSITIONS * samples_per_position))
    end = {name: waveform[:, num_samples - context :] for name, waveform in old.items()}
    heard = hear(
        pipe,
        {name: functional.pad(part, (0, mirrored), mode="reflect") for name, part in end.items()},
        sample_rate,
        generator=generator,
    )
    height = pipe.positions_for((told + new_positions) * pipe.position_samples)
    clean = functional.pad(heard.latents[:, :, :told], (0, 0, 0, height - told))
    known = torch.zeros(len(pipe.stems), height, dtype=torch.bool)
    known[:, :told] = True
    for index, name in enumerate(pipe.stems):
        if name not in old:
            known[index] = True
            clean[index, :, told:] = heard.latents[index, :, told // 2, None]
    if conditioning is not None:
        conditioning = conditioning.beginning_at((num_samples - context) / sample_rate)
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
    new = play(pipe, heard, latents, list(old), context + added_samples, known=known)
    added = limited_stems({name: new[name][:, context:] for name in new}, sample_rate)
    added[MIXTURE] = torch.stack(list(added.values())).sum(dim=0)
    fade = round(FADE_S * sample_rate)
    return {name: continue_with(piece[name], added[name], fade) for name in added}
