"""Editing: some stems of a piece renewed in time ranges, everything else left as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stemweave.audio.limiter import limited, peak_of
from stemweave.audio.waveforms import checked
from stemweave.audio.windows import splice
from stemweave.models.parts import Parts
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score
from stemweave.stems import MIXTURE
from stemweave.tasks import requests
from stemweave.tasks.conditioning import Conditioning, conditioning_of
from stemweave.tasks.context import FADE_S, decode_stems, encode_stems, from_nothing, is_silent
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.separate import with_stems


def edit(
    parts: Parts,
    piece: Mapping[str, Tensor] | Tensor,
    sample_rate: int,
    sampling: Sampling,
    *,
    renew: Mapping[str, tuple[float, float | None]],
    sheet: LeadSheet | None = None,
    score: Score | None = None,
) -> dict[str, Tensor]:
    """``piece`` with seconds (start, end) of ``renew``'s stems new; all its stems and the mixture.

    Cross-fades of ``FADE_S`` lie inside the ranges. A stem of ``renew`` that the piece lacks is
    silent outside its range. The mixture changes by what the stems change. New samples are turned
    down where the mixture would be above full scale and above what it was.
    """
    given = requests.as_piece(parts, piece, sample_rate)
    sampling = sampling.checked(parts, "edit")
    places = requests.ranges_in_samples(parts.stems, given, sample_rate, renew)
    num_samples = next(iter(given.values())).shape[-1]
    conditioning = conditioning_of(parts, sheet, score, sampling, num_samples / sample_rate)
    old, kept, mixture = with_stems(parts, given, sample_rate, sampling)
    part = excerpt_around(parts, list(places.values()), num_samples, sample_rate)
    excerpt = {name: waveform[:, part] for name, waveform in old.items()}
    if conditioning is not None:
        conditioning = conditioning.beginning_at(part.start / sample_rate)
    inner = {
        name: (start - part.start, stop - part.start) for name, (start, stop) in places.items()
    }
    new = _drawn(parts, excerpt, sample_rate, inner, sampling, conditioning)
    before = {name: old.get(name, torch.zeros_like(mixture)) for name in places}
    replaced = [before[name][:, part] for name in places]
    inside = fitting(
        [new[name] for name in places],
        replaced,
        [slice(*ends) for ends in inner.values()],
        mixture[:, part],
        sample_rate,
    )
    stems, mixture = dict(old), mixture.clone()
    for (name, (start, stop)), samples in zip(places.items(), inside, strict=True):
        stems[name] = splice(before[name], samples, start, round(FADE_S * sample_rate))
        mixture[:, start:stop] += stems[name][:, start:stop] - before[name][:, start:stop]
    ordered = {name: stems[name] for name in parts.stems if name in stems}
    return checked({**ordered, **kept, MIXTURE: mixture}, num_samples)


def _drawn(
    parts: Parts,
    excerpt: Mapping[str, Tensor],
    sample_rate: int,
    renew: Mapping[str, tuple[int, int]],
    sampling: Sampling,
    conditioning: Conditioning | None,
) -> dict[str, Tensor]:
    """The stems of ``renew`` in ``excerpt``, drawn in their ranges of samples [start, stop)."""
    channels, num_samples = next(iter(excerpt.values())).shape
    if is_silent(excerpt):
        shape = (channels, num_samples)
        return from_nothing(parts, list(renew), shape, sample_rate, sampling, conditioning)
    sounding = len(set(excerpt) | set(renew))
    encoded = encode_stems(
        parts, excerpt, sample_rate, sounding=sounding, generator=sampling.generator
    )
    known = torch.ones(len(parts.stems), encoded.latents.shape[-2], dtype=torch.bool)
    positions_per_sample = parts.sample_rate / (sample_rate * parts.position_samples)
    for name, (start, stop) in renew.items():
        first = math.floor(start * positions_per_sample)
        last = math.ceil(stop * positions_per_sample)
        known[parts.stems.index(name), first:last] = False
    latents = piece_latents(
        parts,
        encoded.latents,
        known,
        sampling,
        conditioning=conditioning,
    )
    return decode_stems(
        parts,
        encoded,
        latents,
        list(renew),
        num_samples,
        generator=sampling.generator,
        known=known,
        conditioning=conditioning,
        in_gap=True,
    )


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
    parts: Parts, ranges: list[tuple[int, int]], num_samples: int, sample_rate: int
) -> slice:
    """Samples that the model needs: all ``ranges``, in the middle of at least a window.

    An eighth of a window or more lies on both sides, except at the ends of the piece. The length is
    a whole number of latent positions, except for the whole piece.
    """
    first, last = min(start for start, _ in ranges), max(stop for _, stop in ranges)
    window = round(parts.segment_s * sample_rate)
    wanted = max(window, last - first + window // 4)
    positions = parts.positions_for(-(-wanted * parts.sample_rate // sample_rate))
    length = positions * parts.position_samples * sample_rate // parts.sample_rate
    if length >= num_samples:
        return slice(0, num_samples)
    start = min(max((first + last - length) // 2, 0), num_samples - length)
    return slice(start, start + length)
