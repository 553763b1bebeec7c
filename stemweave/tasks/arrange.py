"""Arrangement: some stems in, the missing ones out, in time and in tune with what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stemweave.audio.limiter import limited_stems
from stemweave.audio.waveforms import checked
from stemweave.models.parts import Parts
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score
from stemweave.stems import MIXTURE
from stemweave.tasks import requests
from stemweave.tasks.conditioning import conditioning_of
from stemweave.tasks.context import decode_stems, encode_stems, from_nothing, is_silent
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.sampling import Sampling


def arrange(
    parts: Parts,
    given: Mapping[str, Tensor],
    sample_rate: int,
    sampling: Sampling,
    *,
    add: Sequence[str] | None = None,
    sheet: LeadSheet | None = None,
    score: Score | None = None,
) -> dict[str, Tensor]:
    """The given stems as they are, the added ones, and the sum, (channels, samples) each.

    Stems that are neither given nor added are drawn too (the model needs them to play along with)
    but not returned. Added stems are turned down where the sum would be above full scale. The model
    gets no given stems that it does not make, nor any if all are silent. See
    ``StemModel.arrange``.
    """
    added = requests.check_arrangement(parts, given, add, sample_rate)
    sampling = sampling.checked(parts, "arrange")
    channels, num_samples = next(iter(given.values())).shape
    duration_s = num_samples / sample_rate
    conditioning = conditioning_of(parts, sheet, score, sampling, duration_s, new_stems=added)
    known = {name: waveform for name, waveform in given.items() if name in parts.stems}
    if is_silent(known):
        shape = (channels, num_samples)
        new = from_nothing(parts, added, shape, sample_rate, sampling, conditioning)
        return _together(parts, given, new, sample_rate)
    encoded = encode_stems(
        parts, known, sample_rate, sounding=len(parts.stems), generator=sampling.generator
    )
    is_given = torch.tensor([name in given for name in parts.stems])
    latents = piece_latents(
        parts,
        encoded.latents,
        is_given[:, None].repeat(1, encoded.latents.shape[-2]),
        sampling,
        conditioning=conditioning,
    )
    new = decode_stems(
        parts,
        encoded,
        latents,
        added,
        num_samples,
        generator=sampling.generator,
        conditioning=conditioning,
        first=parts.window_positions,
    )
    return _together(parts, given, new, sample_rate)


def _together(
    parts: Parts, given: Mapping[str, Tensor], added: Mapping[str, Tensor], sample_rate: int
) -> dict[str, Tensor]:
    before = torch.stack(list(given.values())).sum(dim=0)
    stems = {**given, **limited_stems(added, sample_rate, before)}
    ordered = {name: stems[name] for name in parts.separated_stems if name in stems}
    mixture = torch.stack(list(ordered.values())).sum(dim=0)
    return checked({**ordered, MIXTURE: mixture}, before.shape[-1])
