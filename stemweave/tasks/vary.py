"""Variation: a similar piece, by as much as is asked for (the paper's soft conditioning)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stemweave.audio.limiter import limited_stems, peak_of
from stemweave.audio.waveforms import checked
from stemweave.models.parts import Parts
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score
from stemweave.stems import MIXTURE
from stemweave.tasks import requests
from stemweave.tasks.conditioning import Conditioning, conditioning_of
from stemweave.tasks.context import decode_stems, encode_stems, from_nothing, is_silent
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.separate import with_stems


def vary(
    parts: Parts,
    piece: Mapping[str, Tensor] | Tensor,
    sample_rate: int,
    sampling: Sampling,
    *,
    strength: float = 0.5,
    sheet: LeadSheet | None = None,
    score: Score | None = None,
) -> dict[str, Tensor]:
    """A piece as long as ``piece``, its stems and their sum.

    Sampling starts from the piece's latents with the more noise the larger ``strength`` is: 1 keeps
    nothing of the piece but its stems' levels, 0 returns it. Stems that it lacks stay silent; the
    others are turned down where their sum would be above full scale and the old mixture's peak.
    """
    requests.check_strength(strength)
    given = requests.as_piece(parts, piece, sample_rate)
    sampling = sampling.checked(parts, "vary")
    num_samples = next(iter(given.values())).shape[-1]
    conditioning = conditioning_of(parts, sheet, score, sampling, num_samples / sample_rate)
    old, kept, mixture = with_stems(parts, given, sample_rate, sampling)
    if strength == 0:
        return checked({**old, **kept, MIXTURE: mixture}, num_samples)
    played = _varied(parts, old, sample_rate, strength, sampling, conditioning)
    rest = sum(kept.values(), torch.zeros_like(mixture))
    stems = {**limited_stems(played, sample_rate, rest, ceiling=peak_of(mixture)), **kept}
    total = torch.stack(list(stems.values())).sum(dim=0)
    return checked({**stems, MIXTURE: total}, num_samples)


def _varied(
    parts: Parts,
    old: Mapping[str, Tensor],
    sample_rate: int,
    strength: float,
    sampling: Sampling,
    conditioning: Conditioning | None,
) -> dict[str, Tensor]:
    channels, num_samples = next(iter(old.values())).shape
    if is_silent(old):
        shape = (channels, num_samples)
        return from_nothing(parts, list(old), shape, sample_rate, sampling, conditioning)
    encoded = encode_stems(
        parts, old, sample_rate, min_positions=parts.window_positions, generator=sampling.generator
    )
    absent = torch.tensor([name not in old for name in parts.stems])
    known = absent[:, None].repeat(1, encoded.latents.shape[-2])
    latents = piece_latents(
        parts, encoded.latents, known, sampling, strength=strength, conditioning=conditioning
    )
    return decode_stems(
        parts, encoded, latents, list(old), num_samples, generator=sampling.generator, known=known
    )
