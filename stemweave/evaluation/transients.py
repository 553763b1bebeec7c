"""What spectra of long windows do not show: attacks, decays, peaks and the highest bands of stems.

Takes waveforms (T,), the true one and one that was made of its log-mel.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

SLOPE = "attack slope (dB per ms, true − made)"
DECAY = "decay (dB per ms, true − made)"
CREST = "crest factor of an onset (dB, true − made)"
MEASURES = (SLOPE, DECAY, CREST)

ATTACK_MS, DECAY_MS, CREST_MS = 5, 50, 100
TOLERANCE_MS = 20
"""By which what was made may be early or late."""
ONSET_DB = 10.0
"""An onset is where the level, ``ATTACK_MS`` later, is so much above all of the ``TOLERANCE_MS``
before, which is more than a period of any tone. The next is ``DECAY_MS`` away."""
RANGE_DB = 60.0
"""Below the loudest moment of the true waveform it is silent."""
THIRDS_HZ = [8000 * 2 ** (third / 3) for third in range(5)]
"""Limits of the thirds of an octave from 8 to 20.2 kHz."""
SILENCE_DB = -90.0


def onset_differences(true: Tensor, made: Tensor, sample_rate: int) -> dict[str, float]:
    """Median over the true onsets of each of ``MEASURES``; NaN without one."""
    true_db, made_db = (_level_db(one, sample_rate) for one in (true, made))
    floor_db = true_db.max().item() - RANGE_DB
    true_db, made_db = true_db.clamp(min=floor_db), made_db.clamp(min=floor_db)
    found = [
        [
            theirs - ours
            for theirs, ours in zip(
                _shape(true, true_db, onset, sample_rate),
                _shape(made, made_db, onset, sample_rate),
                strict=True,
            )
        ]
        for onset in _onsets_ms(true_db)
    ]
    if not found:
        return dict.fromkeys(MEASURES, math.nan)
    return dict(zip(MEASURES, torch.tensor(found).median(dim=0).values.tolist(), strict=True))


def _level_db(waveform: Tensor, sample_rate: int) -> Tensor:
    """RMS of the envelope over 2 ms, every ms, in dB."""
    spectrum = torch.fft.fft(waveform.double())
    spectrum[1 : (len(waveform) + 1) // 2] *= 2
    spectrum[len(waveform) // 2 + 1 :] = 0  # which leaves the analytic signal
    energy = functional.pad(torch.fft.ifft(spectrum).abs().square().cumsum(dim=0), (1, 0))
    count = (len(waveform) - 1) * 1000 // sample_rate
    edges = (torch.arange(count + 1) * (sample_rate / 1000)).round().long()
    power = (energy[edges[2:]] - energy[edges[:-2]]) / (edges[2:] - edges[:-2])
    return 10 * power.clamp(min=1e-20).log10()


def _onsets_ms(level_db: Tensor) -> list[int]:
    """Where the steepest rises begin, with room around them for what is measured."""
    before = functional.max_pool1d(level_db[None], TOLERANCE_MS, 1)[0]  # of as much from each ms on
    rise = torch.full_like(level_db, -math.inf)
    rise[TOLERANCE_MS:-ATTACK_MS] = level_db[TOLERANCE_MS + ATTACK_MS :] - before[: -ATTACK_MS - 1]
    highest = functional.max_pool1d(rise[None], 2 * DECAY_MS + 1, 1, DECAY_MS)[0]
    places = ((rise == highest) & (rise >= ONSET_DB)).nonzero()[:, 0].tolist()
    last = len(level_db) - TOLERANCE_MS - ATTACK_MS - max(DECAY_MS, CREST_MS)
    return [place for place in places if place < last]


def _shape(waveform: Tensor, level_db: Tensor, onset_ms: int, sample_rate: int) -> list[float]:
    """Slope and decay in dB per ms and crest factor in dB of what begins near ``onset_ms``."""
    around = level_db[onset_ms - TOLERANCE_MS : onset_ms + TOLERANCE_MS + ATTACK_MS]
    slope = (around[ATTACK_MS:] - around[:-ATTACK_MS]).max().item() / ATTACK_MS
    peak = onset_ms + int(level_db[onset_ms : onset_ms + TOLERANCE_MS + ATTACK_MS].argmax())
    decay = (level_db[peak + DECAY_MS] - level_db[peak]).item() / DECAY_MS
    first, last = ((onset_ms + ms) * sample_rate // 1000 for ms in (0, CREST_MS))
    moment = waveform[first:last].double()
    crest = moment.abs().max().clamp(min=1e-10) / moment.square().mean().sqrt().clamp(min=1e-10)
    return [slope, decay, 20 * crest.log10().item()]


def third_name(low_hz: float, high_hz: float) -> str:
    """Of the measure of one third of an octave."""
    return f"level from {low_hz / 1000:.1f} to {high_hz / 1000:.1f} kHz (dB, true − made)"


def third_differences(true: Tensor, made: Tensor, sample_rate: int) -> dict[str, float]:
    """Difference in level of each third of an octave; NaN where the true one is silent."""
    frequency_hz = torch.fft.rfftfreq(len(true), 1 / sample_rate)
    powers = [torch.fft.rfft(one.double()).abs().square() for one in (true, made)]
    found = {}
    for low_hz, high_hz in pairwise(THIRDS_HZ):
        band = (frequency_hz >= low_hz) & (frequency_hz < high_hz)
        levels_db = [
            10 * math.log10(max(2 * power[band].sum().item() / len(true) ** 2, 1e-20))
            for power in powers
        ]
        sounds = levels_db[0] > SILENCE_DB
        found[third_name(low_hz, high_hz)] = levels_db[0] - levels_db[1] if sounds else math.nan
    return found
