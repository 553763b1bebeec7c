"""Variation: a similar piece, by as much as is asked for (the paper's soft conditioning)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.audio.limiter import limited_stems, peak_of
from stemweave.audio.waveforms import checked
from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.context import from_nothing, hear, is_silent, play
from stemweave.tasks.piece import piece_latents

if TYPE_CHECKING:
    from stemweave.model import StemModel


def vary(
    pipe: StemModel,
    piece: Mapping[str, Tensor],
    sample_rate: int,
    *,
    strength: float,
    steps: int | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """A piece as long as ``piece`` (stems and their ``mixture``), its stems and their sum.

    Sampling starts from the piece's latents with noise up to ``strength`` of the schedule: 1 hears
    nothing of the piece but its stems' levels, 0 returns it. Stems that it lacks stay silent; the
    others are turned down where their sum would be above full scale and the old mixture's peak.
    """
    if strength == 0:
        return checked(dict(piece), piece[MIXTURE].shape[-1])
    old = {name: waveform for name, waveform in piece.items() if name != MIXTURE}
    played = _varied(pipe, old, sample_rate, strength, steps, conditioning, generator, progress)
    stems = limited_stems(played, sample_rate, ceiling=peak_of(piece[MIXTURE]))
    mixture = torch.stack(list(stems.values())).sum(dim=0)
    return checked({**stems, MIXTURE: mixture}, piece[MIXTURE].shape[-1])


def _varied(
    pipe: StemModel,
    old: Mapping[str, Tensor],
    sample_rate: int,
    strength: float,
    steps: int | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    channels, num_samples = next(iter(old.values())).shape
    if is_silent(old):
        return from_nothing(
            pipe,
            list(old),
            (channels, num_samples),
            sample_rate,
            steps=steps,
            conditioning=conditioning,
            generator=generator,
            progress=progress,
        )
    heard = hear(pipe, old, sample_rate, min_positions=pipe.window_positions, generator=generator)
    absent = torch.tensor([name not in old for name in pipe.stems])
    known = absent[:, None].repeat(1, heard.latents.shape[-2])
    latents = piece_latents(
        pipe,
        heard.latents,
        known,
        strength=strength,
        steps=steps,
        conditioning=conditioning,
        generator=generator,
        progress=progress,
    )
    return play(pipe, heard, latents, list(old), num_samples, known=known)
