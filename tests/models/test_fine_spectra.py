"""Fine spectra: their grid, and that they see what the model's window does not."""

import torch

from stemweave.models.fine_spectra import FINE_CHANNELS, FineSpectra

SAMPLE_RATE = 16000
FINE = FineSpectra(SAMPLE_RATE, 320, 128, 2048, 1e-3)


def test_a_place_is_two_frames_and_two_bands():
    fine = FINE(torch.randn(2, 64 * 320))
    assert fine.shape == (2, FINE_CHANNELS, 32, 64)


def test_the_short_window_places_a_click_within_a_frame():
    waveform = torch.zeros(1, 64 * 320)
    waveform[0, 10 * 640 + 3 * 160] = 1  # the last quarter of place 10
    short = FINE(waveform)[0, :4, :, 32]
    assert short.flatten().argmax() == 3 * short.shape[1] + 10
    assert short[3, 10] - short[:, 12].max() > 3


def test_the_long_window_tells_close_tones_apart():
    time_s = torch.arange(128 * 320) / SAMPLE_RATE
    tones = sum(torch.sin(2 * torch.pi * hz * time_s) for hz in (440.0, 452.0))
    long = FINE(tones[None])[0, 4:, 32].transpose(0, 1).flatten()  # bands of one frame
    peak = int(long[: len(long) // 4].argmax())
    neighbours = long[peak - 2 : peak + 3]
    assert (neighbours.diff().sign().diff() != 0).any()  # not one broad hill
