"""Stems of a piece to latents for the model, and its latents back to the piece's own sound.

Every task that starts from stems goes through ``encode_stems`` (rate, level, latents) and
``decode_stems`` (level, channels, rate, length).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.stereo import SILENCE_RMS, drawn_side, placed, placed_like
from stemweave.audio.waveforms import exact_scale, rms
from stemweave.models.parts import Parts
from stemweave.models.vocoder import resampled
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.dynamics import dynamics_fit
from stemweave.tasks.generate import new_piece
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.spectra import bounded, decode, encode, from_model_rate, to_model_rate, vocode
from stemweave.tasks.steadiness import steady

logger = logging.getLogger(__name__)

FADE_S = 0.02
"""Seconds over which old and new material are cross-faded."""
SILENCE_PEAK = 2.0**-14
"""Stems that stay below are silent: two steps of 16 bits, the noise that silence is stored with."""
MIN_SUM = 0.01
"""Stems that cancel each other are taken to be as loud as this much of the loudest one."""
MIN_LEVEL = 1e-9
"""Of what the model's rate leaves of a piece: nothing may be left."""
MAX_VOCODER_CORRECTION_DB = 6.0
"""Most that the vocoder's own error of level is taken to be."""
LEVEL_SPAN_S = 2.0
LEVEL_STEP_DB = 1.5
"""Difference in level between old and new spans that is left as the model says: nine of ten bars of
real songs differ by less from the one before (``stemweave evaluate editing``)."""
MAX_LEVEL_CORRECTION_DB = 20.0
"""Most that is taken off a larger difference; beyond, the model means a stem to pause."""


@dataclass(frozen=True)
class EncodedStems:
    """Stems of a piece at the model's rate and level, and their latents.

    Attributes:
        stems: what was given, (channels, T) each at ``sample_rate`` Hz, times ``scale``.
        scale: the ``exact_scale`` of what was given.
        mono: (S, T) at the model's rate and the level of ``stems``, silence for absent stems.
        gain: factor from the level of ``stems`` to the model's.
        latents: (S, C, H, W) of ``gain · mono``, padded with silence to H positions.
    """

    stems: Mapping[str, Tensor]
    sample_rate: int
    scale: float
    mono: Tensor
    gain: float
    latents: Tensor


def encode_stems(
    parts: Parts,
    stems: Mapping[str, Tensor],
    sample_rate: int,
    *,
    sounding: int | None = None,
    min_positions: int = 0,
    generator: torch.Generator | None = None,
) -> EncodedStems:
    """``stems`` (channels, T), at least one and of equal shape, for the model.

    ``sounding`` is the number of stems that will sound together in the result (those given if
    None): the model expects the whole at ``reference_rms``.
    """
    model_rate = parts.sample_rate
    scale = exact_scale(*stems.values())
    stems = {name: waveform * scale for name, waveform in stems.items()}
    played = {
        name: to_model_rate(waveform, sample_rate, model_rate) for name, waveform in stems.items()
    }
    length = len(next(iter(played.values())))
    rows = torch.stack([played.get(name, torch.zeros(length)) for name in parts.stems])
    gain = 1.0
    if parts.config.reference_rms is not None:
        share = len(stems) / (sounding or len(stems))
        gain = parts.config.reference_rms * math.sqrt(share) / _level(rows)
    height = max(parts.positions_for(length), min_positions)
    padding = height * parts.position_samples - length
    latents = encode(parts, parts.log_mel(functional.pad(rows * gain, (0, padding))), generator)
    return EncodedStems(stems, sample_rate, scale, rows, gain, latents)


def is_silent(stems: Mapping[str, Tensor]) -> bool:
    """Whether all are silent of ``stems`` (channels, T)."""
    return all(waveform.abs().max() < SILENCE_PEAK for waveform in stems.values())


def from_nothing(
    parts: Parts,
    names: Sequence[str],
    shape: tuple[int, int],
    sample_rate: int,
    sampling: Sampling,
    conditioning: Conditioning | None,
) -> dict[str, Tensor]:
    """Stems ``names`` of a new piece, of ``shape`` (channels, samples), where all given are silent.

    The model continues silence with silence; so it gets no given stems, which a warning says.
    """
    logger.warning(
        "what is given is silent (below -84 dB): the new stems are made as if nothing was given"
    )
    channels, num_samples = shape
    seconds = max(num_samples / sample_rate, parts.position_s)
    piece = new_piece(parts, seconds, sample_rate, sampling, conditioning, mono=channels != 2)
    return {name: piece[name][:, :num_samples].expand(channels, -1) for name in names}


def _level(stems: Tensor) -> float:
    """RMS of the sum of ``stems`` (S, T), above zero."""
    loudest = rms(stems).max().item()
    return max(rms(stems.sum(dim=0)).item(), MIN_SUM * loudest, MIN_LEVEL)


def decode_stems(
    parts: Parts,
    encoded: EncodedStems,
    latents: Tensor,
    names: Sequence[str],
    num_samples: int,
    *,
    generator: torch.Generator | None,
    known: Tensor | None = None,
    conditioning: Conditioning | None = None,
    first: int | None = None,
    references: Mapping[str, Tensor] | None = None,
    in_gap: bool = False,
) -> dict[str, Tensor]:
    """Waveforms (channels, num_samples) of the stems ``names`` in ``latents`` (S, C, H, W).

    They come at the level, rate and channels of the encoded stems. A stem that the piece has keeps
    its place between the channels; another one has the same in all of them, or in ``stereo`` a
    place of its own, whose side ``generator`` draws. With the ``known`` positions (S, H) a stem
    also keeps its level (``level_fit``), and ``in_gap`` its dynamics (``dynamics_fit``). From
    position ``first`` on it is held to ``references``, and it rests where the score of
    ``conditioning`` does (``steady``).
    """
    chosen = [parts.stems.index(name) for name in names]
    log_mels = decode(parts, latents[chosen])
    held_from = log_mels.shape[1] if first is None else first * parts.time_stride
    log_mels = steady(parts, log_mels, names, conditioning, first=held_from, references=references)
    log_mels = bounded(parts, log_mels, chosen)
    waveforms = vocode(parts, log_mels, names) / encoded.gain
    if known is not None:
        gains = _level_gains(parts, encoded, waveforms, names, known, conditioning, in_gap=in_gap)
        length = waveforms.shape[-1]
        waveforms = waveforms * functional.interpolate(gains[None], length, mode="linear")[0]
    at_rate = from_model_rate(waveforms, parts.output_rate, encoded.sample_rate, num_samples)
    channels, rate = len(next(iter(encoded.stems.values()))), encoded.sample_rate
    in_stereo = parts.config.stereo and channels == 2
    side = drawn_side(encoded.stems, generator) if in_stereo else 0
    played = {}
    for name, waveform in zip(names, at_rate, strict=True):
        if name in encoded.stems:
            stem = placed_like(encoded.stems[name], waveform, rate)
        elif in_stereo:
            stem = placed(waveform, name, side, rate)
        else:
            stem = waveform.expand(channels, -1)
        played[name] = stem / encoded.scale
    return played


def _level_gains(
    parts: Parts,
    encoded: EncodedStems,
    waveforms: Tensor,
    names: Sequence[str],
    known: Tensor,
    conditioning: Conditioning | None,
    *,
    in_gap: bool,
) -> Tensor:
    """``level_fit`` (N, T) at the model's rate for ``waveforms`` of the stems ``names``."""
    chosen = [parts.stems.index(name) for name in names]
    samples = known[chosen].repeat_interleave(parts.position_samples, dim=1)
    sounds = torch.ones_like(samples)
    if conditioning is not None:
        written = conditioning.sounding(names, known.shape[1], parts.position_s)
        if written is not None:
            sounds = written.repeat_interleave(parts.position_samples, dim=1)
    at_model_rate = resampled(waveforms, samples.shape[-1])
    rows = zip(encoded.mono[chosen], at_model_rate, samples, sounds, strict=True)
    span = round(LEVEL_SPAN_S * parts.sample_rate)
    gains = torch.stack([level_fit(*row, span) for row in rows])
    if not in_gap:
        return gains
    for gain, true, made, own in zip(
        gains, encoded.mono[chosen], at_model_rate, samples, strict=True
    ):
        around = true[own[: len(true)]]
        gain[~own] *= dynamics_fit((gain * made)[~own], around, parts.sample_rate)
    return gains


def level_fit(
    true: Tensor, made: Tensor, known: Tensor, sounds: Tensor, span_samples: int
) -> Tensor:
    """Factors (T,) for a stem's ``made`` waveform, which has ``true`` samples where ``known`` (T,).

    First the level of known samples, as the vocoder plays them, is brought to the true one. Then,
    where a span of new samples is more than ``LEVEL_STEP_DB`` louder or quieter than the true known
    ones (without any, than all of ``true``), the excess is taken off, gliding from span to span.
    Only samples that are to have sound count, as ``sounds`` (T,) says: rests are left alone, and so
    is silence.
    """
    shared = min(len(true), len(made))
    true, kept = true[:shared], known[:shared]
    error_db = _difference_db(made[:shared][kept], true[kept])
    gain_db = torch.full(made.shape, -_limited(error_db, MAX_VOCODER_CORRECTION_DB))
    new, sounding = made[~known], sounds[~known]
    if len(new):
        measured = kept & sounds[:shared] if kept.any() else sounds[:shared]
        count = max(1, round(len(new) / span_samples))
        spans = zip(new.tensor_split(count), sounding.tensor_split(count), strict=True)
        steps_db = [
            _difference_db(span[inside], true[measured]) + gain_db[0].item()
            for span, inside in spans
        ]
        excess_db = [
            _limited(step - _limited(step, LEVEL_STEP_DB), MAX_LEVEL_CORRECTION_DB)
            for step in steps_db
        ]
        gain_db[~known] -= functional.interpolate(
            torch.tensor(excess_db)[None, None], len(new), mode="linear"
        )[0, 0]
    return 10 ** (gain_db / 20)


def _difference_db(waveform: Tensor, reference: Tensor) -> float:
    """Level of ``waveform`` over that of ``reference`` in dB; 0 if either is silent or empty."""
    if not len(waveform) or not len(reference):
        return 0.0
    levels = rms(waveform).item(), rms(reference).item()
    return 20 * math.log10(levels[0] / levels[1]) if min(levels) >= SILENCE_RMS else 0.0


def _limited(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
