"""Editing: some stems of a piece renewed in time ranges, everything else left as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.audio.limiter import limited, peak_of
from stemweave.audio.waveforms import checked
from stemweave.audio.windows import splice
from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.context import FADE_S, from_nothing, hear, is_silent, play
from stemweave.tasks.piece import heard_bars, piece_latents

if TYPE_CHECKING:
    from stemweave.model import StemModel


def edit(
    pipe: StemModel,
    piece: Mapping[str, Tensor],
    sample_rate: int,
    *,
    renew: Mapping[str, tuple[int, int]],
    steps: int | None,
    inpainting: str | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """``piece`` (stems and their ``mixture``) with samples [start, stop) of ``renew``'s stems new.

    Cross-fades of ``FADE_S`` lie inside the ranges. A stem of ``renew`` that the piece lacks is
    silent outside its range. The mixture changes by what the stems change. New samples are turned
    down where the mixture would be above full scale and above what it was.
    """
    mixture = piece[MIXTURE]
    old = {name: waveform for name, waveform in piece.items() if name != MIXTURE}
    part = excerpt_around(pipe, list(renew.values()), mixture.shape[-1], sample_rate)
    excerpt = {name: waveform[:, part] for name, waveform in old.items()}
    if conditioning is not None:
        conditioning = conditioning.beginning_at(part.start / sample_rate)
    ranges = {
        name: (start - part.start, stop - part.start) for name, (start, stop) in renew.items()
    }
    new = _drawn(
        pipe, excerpt, sample_rate, ranges, steps, inpainting, conditioning, generator, progress
    )
    before = {name: old.get(name, torch.zeros_like(mixture)) for name in renew}
    places = [slice(start - part.start, stop - part.start) for start, stop in renew.values()]
    replaced = [before[name][:, part] for name in renew]
    drawn = [new[name] for name in renew]
    inside = fitting(drawn, replaced, places, mixture[:, part], sample_rate)
    stems, mixture = dict(old), mixture.clone()
    for (name, (start, stop)), samples in zip(renew.items(), inside, strict=True):
        stems[name] = splice(before[name], samples, start, round(FADE_S * sample_rate))
        mixture[:, start:stop] += stems[name][:, start:stop] - before[name][:, start:stop]
    ordered = {name: stems[name] for name in pipe.stems if name in stems}
    return checked({**ordered, MIXTURE: mixture}, mixture.shape[-1])


def _drawn(
    pipe: StemModel,
    excerpt: Mapping[str, Tensor],
    sample_rate: int,
    renew: Mapping[str, tuple[int, int]],
    steps: int | None,
    inpainting: str | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """The stems of ``renew`` in ``excerpt``, drawn in their ranges of samples [start, stop)."""
    channels, num_samples = next(iter(excerpt.values())).shape
    if is_silent(excerpt):
        return from_nothing(
            pipe,
            list(renew),
            (channels, num_samples),
            sample_rate,
            steps=steps,
            conditioning=conditioning,
            generator=generator,
            progress=progress,
        )
    heard = hear(
        pipe,
        excerpt,
        sample_rate,
        sounding=len(set(excerpt) | set(renew)),
        generator=generator,
    )
    known = torch.ones(len(pipe.stems), heard.latents.shape[-2], dtype=torch.bool)
    positions_per_sample = pipe.sample_rate / (sample_rate * pipe.position_samples)
    for name, (start, stop) in renew.items():
        first = math.floor(start * positions_per_sample)
        last = math.ceil(stop * positions_per_sample)
        known[pipe.stems.index(name), first:last] = False
    latents = piece_latents(
        pipe,
        heard.latents,
        known,
        steps=steps,
        inpainting=inpainting,
        bars=None if conditioning else heard_bars(pipe),
        conditioning=conditioning,
        generator=generator,
        progress=progress,
    )
    return play(pipe, heard, latents, list(renew), num_samples, known=known)


def fitting(
    new: Sequence[Tensor],
    old: Sequence[Tensor],
    places: Sequence[slice],
    mixture: Tensor,
    sample_rate: int,
) -> list[Tensor]:
    """What of ``new`` stems lies in ``places``, turned down where it is too loud for the rest of
    ``mixture`` once it takes the place of ``old``; all (channels, T). Too loud is above full scale
    and above what ``mixture`` peaks at.
    """
    kept, stack = mixture.clone(), mixture.new_zeros(len(new), *mixture.shape)
    for inside, stem, before, place in zip(stack, new, old, places, strict=True):
        inside[:, place] = stem[:, place]
        kept[:, place] -= before[:, place]
    stack = limited(stack, sample_rate, kept, ceiling=peak_of(mixture))
    return [inside[:, place] for inside, place in zip(stack, places, strict=True)]


def excerpt_around(
    pipe: StemModel, ranges: list[tuple[int, int]], num_samples: int, sample_rate: int
) -> slice:
    """Samples that the model needs to hear: all ``ranges``, in the middle of at least a window.

    An eighth of a window or more lies on both sides, except at the ends of the piece. The length is
    a whole number of latent positions, except for the whole piece.
    """
    first, last = min(start for start, _ in ranges), max(stop for _, stop in ranges)
    window = round(pipe.segment_s * sample_rate)
    wanted = max(window, last - first + window // 4)
    positions = pipe.positions_for(-(-wanted * pipe.sample_rate // sample_rate))
    length = positions * pipe.position_samples * sample_rate // pipe.sample_rate
    if length >= num_samples:
        return slice(0, num_samples)
    start = min(max((first + last - length) // 2, 0), num_samples - length)
    return slice(start, start + length)
