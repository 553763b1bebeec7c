"""Arrangement: some stems in, the missing ones out, in time and in tune with what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.audio.limiter import limited_stems
from stemweave.audio.waveforms import checked
from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.context import from_nothing, hear, is_silent, play
from stemweave.tasks.piece import heard_bars, piece_latents

if TYPE_CHECKING:
    from stemweave.model import StemModel


def arrange(
    pipe: StemModel,
    given: Mapping[str, Tensor],
    sample_rate: int,
    *,
    add: Sequence[str],
    steps: int | None,
    inpainting: str | None,
    guidance: float | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """The given stems as they are, the added ones, and the sum, (channels, samples) each.

    Stems that are neither given nor added are drawn too (the model needs them to play along with)
    but not returned. Added stems are turned down where the sum would be above full scale. Given
    stems that are all silent are not told to the model.
    """
    channels, num_samples = next(iter(given.values())).shape
    if is_silent(given):
        added = from_nothing(
            pipe,
            add,
            (channels, num_samples),
            sample_rate,
            steps=steps,
            conditioning=conditioning,
            generator=generator,
            progress=progress,
        )
        return _together(pipe, given, added, sample_rate)
    heard = hear(pipe, given, sample_rate, sounding=len(pipe.stems), generator=generator)
    is_given = torch.tensor([name in given for name in pipe.stems])
    latents = piece_latents(
        pipe,
        heard.latents,
        is_given[:, None].repeat(1, heard.latents.shape[-2]),
        steps=steps,
        inpainting=inpainting,
        bars=None if conditioning else heard_bars(pipe),
        guidance=pipe.config.arrangement_guidance if guidance is None else guidance,
        conditioning=conditioning,
        generator=generator,
        progress=progress,
    )
    return _together(pipe, given, play(pipe, heard, latents, add, num_samples), sample_rate)


def _together(
    pipe: StemModel, given: Mapping[str, Tensor], added: Mapping[str, Tensor], sample_rate: int
) -> dict[str, Tensor]:
    before = torch.stack(list(given.values())).sum(dim=0)
    stems = {**given, **limited_stems(added, sample_rate, before)}
    ordered = {name: stems[name] for name in pipe.stems if name in stems}
    mixture = torch.stack(list(ordered.values())).sum(dim=0)
    return checked({**ordered, MIXTURE: mixture}, before.shape[-1])
