"""Attacks, decays, peaks and high bands: differences of sounds whose own are known."""

import math

import pytest
import torch

from stemweave.evaluation import transients

RATE = 44100


def hits(attack_ms: float, decay_db_per_ms: float) -> torch.Tensor:
    """Bursts of 3 kHz every 0.5 s that rise by 60 dB and fall again, in dB evenly."""
    time_ms = torch.arange(2 * RATE) / RATE * 1000
    since_ms = (time_ms - 100) % 500
    rise_db = 60 * (since_ms - 500) / attack_ms  # up to the next one
    level_db = torch.maximum(-decay_db_per_ms * since_ms, rise_db).clamp(min=-60)
    return 0.1 * torch.sin(6 * torch.pi * time_ms) * 10 ** (level_db / 20)


def test_duller_hits_lose_slope_and_longer_ones_decay():
    true, dull = hits(10, 0.5), hits(20, 0.3)
    found = transients.onset_differences(true, dull, RATE)
    assert found[transients.SLOPE] == pytest.approx(60 / 10 - 60 / 20, abs=0.3)
    assert found[transients.DECAY] == pytest.approx(-0.2, abs=0.05)
    assert found[transients.CREST] > 1
    same = transients.onset_differences(true, 0.1 * true, RATE)
    assert same[transients.CREST] == pytest.approx(0, abs=1e-6)
    assert transients.onset_differences(true, true, RATE) == dict.fromkeys(transients.MEASURES, 0.0)


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_steady_tone_has_no_onset(sample_rate: int):
    time_s = torch.arange(2 * sample_rate) / sample_rate
    saw = sum(torch.sin(2 * torch.pi * 55 * n * time_s) / n for n in range(1, 40))
    found = transients.onset_differences(0.1 * saw, 0.1 * saw, sample_rate)
    assert all(math.isnan(value) for value in found.values())


def test_thirds_of_an_octave_are_compared_one_by_one():
    time_s = torch.arange(RATE).double() / RATE
    low, high = (torch.sin(2 * torch.pi * hertz * time_s) for hertz in (9000, 14_000))
    found = transients.third_differences(0.1 * (low + high), 0.05 * low + 0.1 * high, RATE)
    assert list(found.values()) == pytest.approx(
        [6.02, math.nan, 0, math.nan], abs=0.02, nan_ok=True
    )
