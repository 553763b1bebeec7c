"""Vocoders: lengths, and Griffin-Lim's spectrum."""

import torch

from stemweave.models.log_mel import LogMel
from stemweave.models.vocoder import SpectralVocoder, griffin_lim


def test_spectral_vocoder_makes_one_hop_per_frame():
    vocoder = SpectralVocoder(num_mels=16, coarse_channels=16, fine_channels=16)
    waveform = vocoder(torch.randn(2, 30, 16))
    assert waveform.shape == (2, 30 * 320)
    assert torch.isfinite(waveform).all()


def test_griffin_lim_brings_the_spectrum_nearer():
    log_mel = LogMel(n_fft=1024, win_length=1024, hop_length=256, num_mels=80)
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(16384) / 16000)[None]
    spectrum = log_mel(tone)
    loud = spectrum > spectrum.max() - 3

    def error(iterations: int) -> float:
        again = griffin_lim(log_mel, spectrum, iterations)
        assert again.shape == (1, 64 * 256)
        return (log_mel(again) - spectrum)[loud].abs().mean().item()

    assert error(60) < 0.6 * error(0)
