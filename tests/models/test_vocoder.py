"""Vocoders: lengths, and Griffin-Lim's spectrum."""

import torch

from stemweave.models.log_mel import LogMel
from stemweave.models.vocoder import SpectralVocoder, griffin_lim, matched, resampled, white_noise


def test_spectral_vocoder_makes_one_hop_per_frame():
    vocoder = SpectralVocoder(num_mels=16, coarse_channels=16, fine_channels=16)
    waveform = vocoder(torch.randn(2, 30, 16))
    assert waveform.shape == (2, 30 * 320)
    assert torch.isfinite(waveform).all()


def test_full_band_vocoder_tells_stems_apart_and_draws_the_same_noise_again():
    vocoder = SpectralVocoder(
        num_mels=16, hop_length=882, sample_rate=44100, upsampling=3, n_fft=1176, num_stems=4,
        coarse_channels=16, fine_channels=16, noise_channels=2, frame_norm=True,
    )  # fmt: skip
    log_mel = torch.randn(2, 30, 16)
    mixtures = vocoder(log_mel)
    assert mixtures.shape == (2, 30 * 882)
    assert torch.equal(mixtures, vocoder(log_mel, torch.tensor([4, 4])))
    bass = vocoder(log_mel, torch.tensor([0, 4]))
    assert torch.equal(bass[1], mixtures[1]) and not torch.equal(bass[0], mixtures[0])
    noise = white_noise(vocoder.config, 2, 30, torch.Generator().manual_seed(1))
    assert not torch.equal(vocoder(log_mel, None, noise), mixtures)


def test_matching_brings_the_log_mel_nearer_and_leaves_what_is_above_its_band():
    log_mel = LogMel(n_fft=2048, win_length=2048, hop_length=320, num_mels=128, log_floor=1e-3)
    noise = torch.randn(1, 50 * 882, generator=torch.Generator().manual_seed(0)) * 0.05
    frames = torch.linspace(-6, -2, 50)[:, None]
    wanted = frames + torch.linspace(1, -1, 128) + torch.zeros(1, 50, 128)

    def error(waveform: torch.Tensor) -> float:
        in_band = resampled(waveform, 50 * 320)
        return (log_mel(in_band) - wanted).abs().mean().item()

    once, thrice = (matched(noise, wanted, log_mel, times) for times in (1, 3))
    assert error(thrice) < error(once) < 0.3 * error(noise)
    above = torch.fft.rfft(once - noise)[:, 8200:]  # Hz, of one second
    assert above.abs().max() < 0.02 * torch.fft.rfft(noise).abs().max()


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
