"""Variation: a similar piece, by as much as is asked for (the paper's soft conditioning)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.audio.limiter import limited_stems
from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.context import hear, play
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
    others are turned down where their sum would be above full scale.
    """
    if strength == 0:
        return dict(piece)
    old = {name: waveform for name, waveform in piece.items() if name != MIXTURE}
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
    played = play(pipe, heard, latents, list(old), piece[MIXTURE].shape[-1], known=known)
    stems = limited_stems(played, sample_rate)
    return {**stems, MIXTURE: torch.stack(list(stems.values())).sum(dim=0)}
