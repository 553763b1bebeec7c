"""Speed without pitch, pitch without speed: where sounds lie, how high, and how long files are."""

import numpy as np
import pytest
import torch

from stemweave.audio import stretching
from stemweave.audio.stretching import Stretch, stretched_blocks
from stemweave.errors import InputError

RATE = 16_000


def stretched(waveform: torch.Tensor, stretch: Stretch) -> torch.Tensor:
    def read(start: int, length: int) -> torch.Tensor:
        assert start >= 0 and start + length <= waveform.shape[-1]
        return waveform[:, start : start + length]

    blocks = list(stretched_blocks(read, waveform.shape[-1], RATE, stretch))
    return torch.cat(blocks, dim=-1)


@pytest.mark.parametrize("block_s", [2.0, 120.0])
@pytest.mark.parametrize("speed", [0.5, 0.8, 1.5])
def test_sounds_lie_where_the_speed_puts_them(monkeypatch, speed, block_s):
    monkeypatch.setattr(stretching, "BLOCK_S", block_s)
    clicks_s = [0.5, 1.9, 3.3, 5.95]
    waveform = torch.zeros(2, 6 * RATE + 7)
    for at in clicks_s:
        waveform[:, round(at * RATE) : round(at * RATE) + 64] = torch.hann_window(64)
    result = stretched(waveform, Stretch(speed))
    assert result.shape == (2, round((6 * RATE + 7) / speed))
    for at in clicks_s:
        first = max(0, round((at / speed - 0.1) * RATE))
        near = result[0, first : first + round(0.2 * RATE)].abs()
        found_s = (first + int(near.argmax())) / RATE
        assert found_s == pytest.approx((at + 32 / RATE) / speed, abs=0.005)


def test_pitch_changes_alone(monkeypatch):
    monkeypatch.setattr(stretching, "BLOCK_S", 1.0)
    time_s = torch.arange(4 * RATE) / RATE
    tone = torch.sin(2 * torch.pi * 440 * time_s)[None]
    higher = stretched(tone, Stretch(semitones=3))
    assert higher.shape == tone.shape
    middle = higher[0, RATE : 3 * RATE].numpy() * np.hanning(2 * RATE)
    peak_hz = np.abs(np.fft.rfft(middle)).argmax() / 2
    assert peak_hz == pytest.approx(440 * 2 ** (3 / 12), abs=2)


@pytest.mark.parametrize("wrong", [{"speed": 0.4}, {"speed": np.nan}, {"semitones": -6.5}])
def test_limits(wrong):
    with pytest.raises(InputError, match="must be"):
        Stretch(**wrong)


def test_of_a_single_sample():
    assert stretched(torch.ones(1, 1), Stretch(0.5)).shape == (1, 2)
    assert stretched(torch.ones(1, 1), Stretch(0.8)).isfinite().all()


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**66, 2.0**120])
def test_of_any_level(scale):
    waveform = torch.sin(torch.arange(RATE) / 9)[None]
    expected = stretched(waveform, Stretch(0.8))
    assert torch.allclose(stretched(scale * waveform, Stretch(0.8)) / scale, expected, atol=1e-4)
