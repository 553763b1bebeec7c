"""Scales, mono sums and what is refused of waveforms."""

import math

import pytest
import torch

from stemweave.audio.waveforms import (
    ResultError,
    check_waveform,
    checked,
    exact_scale,
    in_mono,
    mono,
    polarity,
)
from stemweave.errors import InputError

NOISE = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("peak", [1e-45, 1e-40, 1e-30, 1e-7, 2e6, 1e20, 3.4e38])
def test_extreme_levels_are_scaled_exactly_to_ordinary_ones(peak: float):
    waveform = peak * (NOISE / NOISE.abs().max()).clamp(-1, 1)
    scale = exact_scale(waveform)
    assert math.frexp(scale)[0] == 0.5  # a power of two
    assert 1e-8 < (waveform * scale).abs().max() <= 4
    assert torch.equal(waveform * scale / scale, waveform)


@pytest.mark.parametrize("peak", [0.0, 1e-6, 0.1, 1.0, 1e6])
def test_ordinary_levels_and_silence_stay(peak: float):
    assert exact_scale(peak * torch.ones(1, 9), torch.zeros(1, 9)) == 1.0


def test_channels_that_cancel_are_added_in_phase():
    left = NOISE[:1]
    assert torch.equal(mono(left), left[0])
    assert torch.equal(mono(NOISE), NOISE.mean(dim=0))
    assert torch.equal(mono(torch.cat([left, -left])), left[0])
    assert torch.allclose(mono(torch.cat([left, -0.999 * left])), 0.9995 * left[0])
    assert torch.equal(mono(torch.cat([left, 0 * left])), left[0] / 2)
    three = torch.cat([2 * left, -left, -left])
    assert torch.allclose(mono(three), 4 / 3 * left[0])
    assert mono(torch.zeros(2, 9)).abs().max() == 0
    spectra = torch.fft.rfft(three)
    assert torch.allclose(in_mono(spectra, polarity(three)), torch.fft.rfft(mono(three)), atol=1e-4)


def test_what_is_not_finite_or_of_another_length_is_refused():
    good = {"bass": NOISE, "drums": NOISE}
    assert checked(good, 1000) is good
    assert checked({"bass": NOISE[:, :0]}, 0)["bass"].shape == (2, 0)
    with pytest.raises(ResultError, match=r"bass has 1000 samples, not 1001"):
        checked(good, 1001)
    for value in (math.nan, math.inf, -math.inf):
        bad = NOISE.clone()
        bad[1, 500] = value
        with pytest.raises(ResultError, match=r"drums would have samples that are not numbers"):
            checked({"bass": NOISE, "drums": bad}, 1000)
        with pytest.raises(InputError, match="song has samples that are not numbers"):
            check_waveform(bad, "song")
    with pytest.raises(InputError, match="empty"):
        check_waveform(NOISE[:, :0], "song")
