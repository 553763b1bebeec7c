"""What the model hears of a piece, and how what it plays comes back to the piece's own sound.

Every task that starts from stems goes through ``hear`` (rate, level, latents) and ``play`` (level,
channels, rate, length).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.tasks.spectra import decode, encode, from_model_rate, to_model_rate, vocode

if TYPE_CHECKING:
    from stemweave.pipeline import StemweavePipeline

FADE_S = 0.02
"""Seconds over which old and new material are cross-faded."""
SILENCE_RMS = 1e-4
MAX_LEVEL_CORRECTION = 2.0
"""New material is made up to this factor (6 dB) louder or quieter than the vocoder plays it."""
MAX_CHANNEL_GAIN = 4.0
"""Limit of a channel's level relative to the mono sum (12 dB): channels may cancel each other."""


@dataclass(frozen=True)
class Heard:
    """Stems of a piece as the model hears them.

    Attributes:
        stems: what was given, (channels, T) each at ``sample_rate`` Hz.
        mono: (S, T) at the model's rate and the piece's own level, silence for absent stems.
        gain: factor from the piece's level to the model's.
        latents: (S, C, H, W) of ``gain · mono``, padded with silence to H positions.
    """

    stems: Mapping[str, Tensor]
    sample_rate: int
    mono: Tensor
    gain: float
    latents: Tensor


def hear(
    pipe: StemweavePipeline,
    stems: Mapping[str, Tensor],
    sample_rate: int,
    *,
    sounding: int | None = None,
    min_positions: int = 0,
    generator: torch.Generator | None = None,
) -> Heard:
    """``stems`` (channels, T), at least one and of equal shape, for the model.

    ``sounding`` is the number of stems that will sound together in the result (those given if
    None): the model expects the whole at ``reference_rms``.
    """
    model_rate = pipe.sample_rate
    played = {
        name: to_model_rate(waveform, sample_rate, model_rate) for name, waveform in stems.items()
    }
    length = len(next(iter(played.values())))
    mono = torch.stack([played.get(name, torch.zeros(length)) for name in pipe.stems])
    gain = 1.0
    if pipe.config.reference_rms is not None:
        share = len(stems) / (sounding or len(stems))
        level = max(_rms(mono.sum(dim=0)).item(), SILENCE_RMS)
        gain = pipe.config.reference_rms * math.sqrt(share) / level
    height = max(pipe.positions_for(length), min_positions)
    padding = height * pipe.position_samples - length
    latents = encode(pipe, pipe.log_mel(functional.pad(mono * gain, (0, padding))), generator)
    return Heard(stems, sample_rate, mono, gain, latents)


def play(
    pipe: StemweavePipeline,
    heard: Heard,
    latents: Tensor,
    names: Sequence[str],
    num_samples: int,
    *,
    known: Tensor | None = None,
) -> dict[str, Tensor]:
    """Waveforms (channels, num_samples) of the stems ``names`` in ``latents`` (S, C, H, W).

    They come at the level, rate and channels of what was heard. A stem that the piece has keeps its
    balance between the channels; another one is the same in all of them. Where a stem has ``known``
    (S, H) positions, the vocoder's version of these is compared with the true one and the
    difference in level is taken off the whole stem.
    """
    chosen = [pipe.stems.index(name) for name in names]
    waveforms = vocode(pipe, decode(pipe, latents[chosen])) / heard.gain
    if known is not None:
        shared = min(heard.mono.shape[-1], waveforms.shape[-1])
        samples = known[chosen].repeat_interleave(pipe.position_samples, dim=1)[:, :shared]
        pairs = zip(heard.mono[chosen, :shared], waveforms[:, :shared], samples, strict=True)
        correction = [level_ratio(true[place], made[place]) for true, made, place in pairs]
        waveforms = waveforms * torch.tensor(correction)[:, None]
    resampled = from_model_rate(waveforms, pipe.sample_rate, heard.sample_rate, num_samples)
    channels = len(next(iter(heard.stems.values())))
    played = {}
    for name, waveform in zip(names, resampled, strict=True):
        original = heard.stems.get(name)
        gains = torch.ones(channels) if original is None else channel_gains(original)
        played[name] = gains[:, None] * waveform
    return played


def level_ratio(true: Tensor, made: Tensor) -> float:
    """RMS of ``true`` (T,) over that of ``made``, within ``MAX_LEVEL_CORRECTION``; 1 in silence."""
    if not len(true) or min(_rms(true), _rms(made)) < SILENCE_RMS:
        return 1.0
    ratio = (_rms(true) / _rms(made)).item()
    return min(max(ratio, 1 / MAX_LEVEL_CORRECTION), MAX_LEVEL_CORRECTION)


def channel_gains(waveform: Tensor) -> Tensor:
    """RMS of each channel of (channels, T) relative to the mean of the channels; 1 in silence."""
    mono = _rms(waveform.mean(dim=0))
    if _rms(waveform).max() < SILENCE_RMS:
        return torch.ones(len(waveform))
    return (_rms(waveform) / mono.clamp(min=1e-9)).clamp(max=MAX_CHANNEL_GAIN)


def _rms(waveform: Tensor) -> Tensor:
    return waveform.square().mean(dim=-1).sqrt()
