"""The STFT distance is zero for equal waveforms only."""

import pytest
import torch

from stemweave.training.losses import multi_resolution_stft_distance


def test_stft_distance():
    waveform = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    assert multi_resolution_stft_distance(waveform, waveform) == 0
    half = multi_resolution_stft_distance(0.5 * waveform, waveform).item()
    # spectral convergence 0.5 and a log-magnitude difference of ln 2
    assert half == pytest.approx(0.5 + 0.693, abs=0.01)
