"""Is a joint audible? Level, spectrum, click and beat phase on both sides of it.

Takes mono waveforms (T,) that end and begin at the joint. Read every figure beside that of real
songs at a place where nothing was joined.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stemweave.evaluation.coherence import EDGE_FRAMES, HOP_LENGTH, onset_envelope
from stemweave.evaluation.signal_measures import is_silent, rms_dbfs
from stemweave.models.log_mel import LogMel

LEVEL = "level step (dB)"
SPECTRUM = "spectral step (dB)"
CLICK = "click (dB)"
BEAT = "beat phase step (beats)"
MEASURES = (LEVEL, SPECTRUM, CLICK, BEAT)

BAR_S = 2.0
"""Level and spectrum are compared over this long on each side: a bar at 120 beats a minute."""
BEAT_SPAN_S = 5.12
SLOWEST_BEAT_S, FASTEST_BEAT_S = 1.0, 0.3
CLICK_S = 0.005


def seam(before: Tensor, after: Tensor, sample_rate: int) -> dict[str, float]:
    """Every measure of the joint between ``before`` (T,) and ``after`` (T,); NaN in silence.

    Level and spectrum compare ``BAR_S``, beats ``BEAT_SPAN_S`` on each side, or what there is.
    """
    bar = round(BAR_S * sample_rate)
    last, first = before[-bar:], after[:bar]
    if bool(is_silent(last)) or bool(is_silent(first)):
        return dict.fromkeys(MEASURES, float("nan"))
    span = round(BEAT_SPAN_S * sample_rate)
    return {
        LEVEL: abs((rms_dbfs(first) - rms_dbfs(last)).item()),
        SPECTRUM: spectral_step_db(last, first, sample_rate),
        CLICK: click_db(last, first, sample_rate),
        BEAT: beat_phase_step(before[-span:].numpy(), after[:span].numpy(), sample_rate),
    }


def spectral_step_db(last: Tensor, first: Tensor, sample_rate: int) -> float:
    """Mean absolute difference in dB of the two mean mel spectra, their levels made equal."""
    front_end = _front_end(sample_rate)
    before, after = (
        10 * front_end(waveform).exp().square().mean(dim=0).log10() for waveform in (last, first)
    )
    difference = after - before
    return float((difference - difference.mean()).abs().mean())


@cache
def _front_end(sample_rate: int) -> LogMel:
    return LogMel(sample_rate=sample_rate, f_max=sample_rate / 2)


def click_db(last: Tensor, first: Tensor, sample_rate: int) -> float:
    """Largest sharp change of the waveform at the joint against those around it, in dB.

    Second differences within ``CLICK_S`` of the joint, over the 99.9th percentile elsewhere: a
    click stands out by far, an unbroken waveform lies at or below 0.
    """
    joined = torch.cat([last, first]).double()
    sharpness = joined.diff(n=2).abs()
    reach = round(CLICK_S * sample_rate)
    joint = len(last) - 1
    at_joint = sharpness[max(0, joint - reach) : joint + reach].max()
    around = torch.cat([sharpness[: max(0, joint - reach)], sharpness[joint + reach :]])
    usual = torch.quantile(around, 0.999)
    return float(20 * torch.log10(at_joint.clamp(min=1e-9) / usual.clamp(min=1e-9)))


def beat_phase_step(before: NDArray, after: NDArray, sample_rate: int) -> float:
    """By how much the pulse of ``after`` is off that of ``before``, in beats: 0 to 0.5.

    The beat is the strongest period of the onset envelope before the joint; the phase of the
    envelope at that period is taken on both sides. Music that does not know of each other gives
    0.25 on average. NaN without any onset.
    """
    rate = sample_rate / HOP_LENGTH
    envelopes = [onset_envelope(part, sample_rate) for part in (before, after)]
    if any(len(envelope) < rate or envelope.std() == 0 for envelope in envelopes):
        return float("nan")
    start_frames = (EDGE_FRAMES - len(before) / HOP_LENGTH, float(EDGE_FRAMES))
    times_s = [
        (start + np.arange(len(envelope))) / rate
        for start, envelope in zip(start_frames, envelopes, strict=True)
    ]
    frequencies_hz = np.arange(1 / SLOWEST_BEAT_S, 1 / FASTEST_BEAT_S, 0.005)
    pulses = np.exp(-2j * np.pi * frequencies_hz[:, None] * times_s[0]) @ _centred(envelopes[0])
    best = int(np.abs(pulses).argmax())
    other = np.exp(-2j * np.pi * frequencies_hz[best] * times_s[1]) @ _centred(envelopes[1])
    return float(abs(np.angle(other * np.conj(pulses[best]))) / (2 * np.pi))


def _centred(envelope: NDArray) -> NDArray:
    """Without its mean, faded at both ends."""
    return (envelope - envelope.mean()) * np.hanning(len(envelope))
