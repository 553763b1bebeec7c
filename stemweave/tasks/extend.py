"""Extension: a piece goes on after its end, for any length."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.limiter import limited_stems, peak_of
from stemweave.audio.waveforms import checked
from stemweave.audio.windows import continue_with
from stemweave.models.parts import Parts
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score
from stemweave.stems import MIXTURE
from stemweave.tasks import requests
from stemweave.tasks.conditioning import Conditioning, conditioning_of
from stemweave.tasks.context import (
    FADE_S,
    EncodedStems,
    decode_stems,
    encode_stems,
    from_nothing,
    is_silent,
)
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.separate import with_stems
from stemweave.tasks.steadiness import levels_of_piece

MIRRORED_POSITIONS = 16
"""The encoder gets this much of the end played backwards after it, instead of a sudden silence."""


def extend(
    parts: Parts,
    piece: Mapping[str, Tensor] | Tensor,
    sample_rate: int,
    sampling: Sampling,
    *,
    seconds: float,
    sheet: LeadSheet | None = None,
    score: Score | None = None,
) -> dict[str, Tensor]:
    """``piece`` followed by ``seconds`` of new samples; its stems and their mixture.

    All of its own samples stay. The model is given the last half of a window, or more if a shorter
    continuation leaves room for it. Stems that the piece lacks stay silent, and those that the
    model does not make end. New samples are turned down where their sum would be above full scale
    and the piece's own peak.
    """
    given = requests.as_piece(parts, piece, sample_rate)
    sampling = sampling.checked(parts, "extend")
    num_samples = next(iter(given.values())).shape[-1]
    begun_s = num_samples / sample_rate
    requests.check_seconds(seconds, begun_s)
    requests.check_long_enough(given, parts.position_s, sample_rate)
    conditioning = conditioning_of(parts, sheet, score, sampling, begun_s + seconds)
    old, kept, mixture = with_stems(parts, given, sample_rate, sampling)
    added_samples = max(1, round(seconds * sample_rate))
    samples_per_position = parts.position_samples * sample_rate / parts.sample_rate
    new_positions = math.ceil(added_samples / samples_per_position)
    window = parts.window_positions
    context_positions = min(
        max(window // 2, window - new_positions), int(num_samples // samples_per_position)
    )
    context = int(context_positions * samples_per_position)
    end = {name: waveform[:, num_samples - context :] for name, waveform in old.items()}
    silent = is_silent(end)
    if conditioning is not None:
        begun = num_samples if silent else num_samples - context
        conditioning = conditioning.beginning_at(begun / sample_rate)
    if silent:
        shape = (len(mixture), added_samples)
        added = from_nothing(parts, list(end), shape, sample_rate, sampling, conditioning)
    else:
        added = _continued(
            parts, old, end, sample_rate, context_positions, added_samples, sampling, conditioning
        )
    added = limited_stems(added, sample_rate, ceiling=peak_of(mixture))
    added |= {name: mixture.new_zeros(len(mixture), added_samples) for name in kept}
    return _appended({**old, **kept, MIXTURE: mixture}, added, sample_rate)


def _appended(
    piece: Mapping[str, Tensor], added: dict[str, Tensor], sample_rate: int
) -> dict[str, Tensor]:
    """``piece``, and after it the ``added`` stems and their sum."""
    added[MIXTURE] = torch.stack(list(added.values())).sum(dim=0)
    fade = round(FADE_S * sample_rate)
    longer = {name: continue_with(piece[name], added[name], fade) for name in added}
    return checked(longer, piece[MIXTURE].shape[-1] + added[MIXTURE].shape[-1])


def _continued(
    parts: Parts,
    old: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
    sample_rate: int,
    context_positions: int,
    added_samples: int,
    sampling: Sampling,
    conditioning: Conditioning | None,
) -> dict[str, Tensor]:
    """``added_samples`` that follow ``end``, ``context_positions`` of the ``old`` stems.

    What is longer than a window has its level and colour from all of it, not from its end alone:
    small differences would add up from one extension to the next.
    """
    samples_per_position = parts.position_samples * sample_rate / parts.sample_rate
    context = next(iter(end.values())).shape[-1]
    mirrored = min(context - 1, int(MIRRORED_POSITIONS * samples_per_position))
    reflected = {
        name: functional.pad(part, (0, mirrored), mode="reflect") for name, part in end.items()
    }
    encoded = encode_stems(parts, reflected, sample_rate, generator=sampling.generator)
    clean, known = _with_room(
        parts, encoded, context_positions, math.ceil(added_samples / samples_per_position)
    )
    latents = piece_latents(parts, clean, known, sampling, conditioning=conditioning)
    num_old, references = next(iter(old.values())).shape[-1], None
    if (num_old + added_samples) / sample_rate > parts.segment_s:
        gain = encoded.scale * encoded.gain
        found = {
            name: levels_of_piece(parts, stem, sample_rate, gain) for name, stem in old.items()
        }
        references = {name: levels for name, levels in found.items() if levels is not None}
    new = decode_stems(
        parts,
        encoded,
        latents,
        list(end),
        context + added_samples,
        generator=sampling.generator,
        known=known,
        conditioning=conditioning,
        first=None if references is None else context_positions,
        references=references,
    )
    return {name: waveform[:, context:] for name, waveform in new.items()}


def _with_room(parts: Parts, encoded: EncodedStems, given: int, new: int) -> tuple[Tensor, Tensor]:
    """Latents (S, C, H, W) of ``given`` positions and room for ``new`` ones; which are known."""
    height = parts.positions_for((given + new) * parts.position_samples)
    clean = functional.pad(encoded.latents[:, :, :given], (0, 0, 0, height - given))
    known = torch.zeros(len(parts.stems), height, dtype=torch.bool)
    known[:, :given] = True
    for index, name in enumerate(parts.stems):
        if name not in encoded.stems:
            known[index] = True
            clean[index, :, given:] = encoded.latents[index, :, given // 2, None]
    return clean, known
