"""Stems between left and right: places for new ones by a rule, the own image of those that exist.

A mono waveform m is played as m ± side, side = balance · m + width · d, where d is m above
``SIDE_FROM_HZ``, decorrelated by a few echoes of either sign (velvet noise: Alary, Politis and
Välimäki, "Velvet-Noise Decorrelator", DAFx 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stemweave.audio.waveforms import mono, polarity, rms

PLACES = {"bass": (0.0, 0.0), "drums": (0.0, 0.25), "guitar": (0.25, 0.15), "piano": (-0.25, 0.15)}
"""Balance (1: left alone) and width of new stems, of pieces whose guitar is on the left; the powers
of the channels exceed that of their mean by at most 0.4 dB."""
ELSEWHERE = (0.0, 0.15)
"""Of all other stems."""
SIDE_FROM_HZ = 250.0
ECHOES = (
    (1.7, 1), (4.1, -1), (6.2, -1), (9.8, 1), (12.4, -1), (15.1, 1), (19.3, 1), (22.8, -1),
)  # fmt: skip
"""Milliseconds and sign."""
DECAY_MS = 10.0
"""In which echoes fall to 1 / e."""
SILENCE_RMS = 1e-4
MAX_CHANNEL_GAIN = 4.0
"""Limit of a channel's level relative to the mono sum (12 dB): channels may cancel each other."""
MIN_BALANCE = 0.05
"""A stem that is nearer to the middle is on neither side."""


def placed(waveform: Tensor, stem: str, side: int, sample_rate: int) -> Tensor:
    """``waveform`` (T,) of a new stem in its place, (2, T); ``side`` is ``drawn_side``."""
    balance, width = PLACES.get(stem, ELSEWHERE)
    return _spread(waveform, side * balance, width, sample_rate)


def drawn_side(given: Mapping[str, Tensor], generator: torch.Generator | None) -> int:
    """1 for a piece with the places of ``PLACES``, -1 for one with left and right changed.

    Drawn, unless one of the stems that are ``given``, (2, T), is on a side already.
    """
    drawn = 1 if torch.rand((), generator=generator) < 0.5 else -1
    for stem, (balance, _) in PLACES.items():
        own = _balance(given[stem]) if balance and stem in given else 0.0
        if abs(own) > MIN_BALANCE:
            return 1 if own * balance > 0 else -1
    return drawn


def placed_like(original: Tensor, waveform: Tensor, sample_rate: int) -> Tensor:
    """``waveform`` (T,) with balance and width of the stem ``original``, (channels, ...) like it.

    More than two channels, and two that cancel each other, have its levels alone.
    """
    middle = original.mean(dim=0)
    if len(original) != 2 or polarity(original) is not None or rms(middle) < SILENCE_RMS:
        return channel_gains(original)[:, None] * waveform
    balance = _balance(original)
    rest = (original[0] - original[1]) / 2 - balance * middle
    width = rms(rest) / max(rms(_decorrelated(middle, sample_rate)).item(), SILENCE_RMS)
    return _spread(waveform, balance, min(width.item(), 1.0), sample_rate)


def channel_gains(waveform: Tensor) -> Tensor:
    """RMS of each channel of (channels, T) relative to their sum in ``mono``; 1 in silence.

    Those that are turned over in the sum have it with a minus.
    """
    levels = rms(waveform)
    if levels.max() < SILENCE_RMS:
        return torch.ones(len(waveform))
    gains = (levels / rms(mono(waveform)).clamp(min=1e-9)).clamp(max=MAX_CHANNEL_GAIN)
    signs = polarity(waveform)
    return gains if signs is None else signs * gains


def _balance(stem: Tensor) -> float:
    """What of the side signal of (2, T) is the middle: 1 on the left, -1 on the right."""
    middle, side = stem.mean(dim=0), (stem[0] - stem[1]) / 2
    limit = MAX_CHANNEL_GAIN - 1
    balance = (side @ middle).item() / max((middle @ middle).item(), 1e-12)
    return min(max(balance, -limit), limit)


def _spread(waveform: Tensor, balance: float, width: float, sample_rate: int) -> Tensor:
    side = balance * waveform
    if width:
        side = side + width * _decorrelated(waveform, sample_rate)
    return torch.stack([waveform + side, waveform - side])


def _decorrelated(waveform: Tensor, sample_rate: int) -> Tensor:
    """``waveform`` (T,) above ``SIDE_FROM_HZ``, by its echoes alone."""
    num_samples = len(waveform) + sample_rate // 10  # no echo of the end at the start
    echoes = torch.zeros(num_samples)
    for delay_ms, sign in ECHOES:
        echoes[round(delay_ms * sample_rate / 1000)] = sign * math.exp(-delay_ms / DECAY_MS)
    above = (torch.fft.rfftfreq(num_samples, SIDE_FROM_HZ / sample_rate)) ** 4
    response = torch.fft.rfft(echoes / echoes.norm()) * (above / (1 + above))
    spectrum = torch.fft.rfft(waveform, n=num_samples) * response
    return torch.fft.irfft(spectrum, n=num_samples)[: len(waveform)]
