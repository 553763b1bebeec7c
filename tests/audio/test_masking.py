"""Masks: they add up to one, and stems to the mixture, at every rate and channel count."""

import pytest
import torch

from stemweave.audio.masking import MaskSeparator, mel_masks, separate_with_masks
from stemweave.models.log_mel import LogMel

LOG_MEL = LogMel(n_fft=2048, win_length=2048, hop_length=320, num_mels=128)


def noise(*shape: int) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_masks_add_up_to_one_and_follow_magnitude_or_power():
    log_mels = torch.tensor([0.0, 1.0]).log().clamp(min=-20)[:, None, None].expand(2, 3, 5)
    masks = mel_masks(noise(4, 10, 128))
    assert torch.allclose(masks.sum(0), torch.ones(10, 128), atol=1e-6)
    assert torch.allclose(mel_masks(log_mels)[1], torch.ones(3, 5), atol=1e-6)
    doubled = mel_masks(torch.tensor([2.0, 1.0]).log()[:, None, None])
    assert doubled[0].item() == pytest.approx(2 / 3)
    doubled = mel_masks(torch.tensor([2.0, 1.0]).log()[:, None, None], exponent=2)
    assert doubled[0].item() == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("sample_rate", "channels", "num_samples"),
    [
        (16000, 1, 32000),
        (44100, 2, 100_001),
        (8000, 1, 9000),
        (192_000, 2, 200_000),
        (44100, 6, 50),
    ],
)
def test_stems_add_up_to_the_mixture(sample_rate: int, channels: int, num_samples: int):
    mixture = noise(channels, num_samples)
    masks = mel_masks(noise(4, 512, 128) * 10)
    stems = MaskSeparator(LOG_MEL, sample_rate).separate(mixture, masks)
    assert stems.shape == (4, channels, num_samples)
    assert (stems.sum(0) - mixture).abs().max() < 1e-6
    assert stems.std(dim=(1, 2)).min() > 1e-3  # no stem got everything


def test_true_spectra_separate_tones_and_keep_the_stereo_image():
    seconds = torch.arange(96000) / 48000
    low = torch.sin(2 * torch.pi * 200 * seconds) * torch.tensor([[0.4], [0.1]])
    high = torch.sin(2 * torch.pi * 3000 * seconds) * torch.tensor([[0.1], [0.4]])
    mono = [stem.mean(0)[::3] for stem in (low, high)]  # 16 kHz, tones far below 8 kHz
    masks = mel_masks(LOG_MEL(torch.stack(mono)), exponent=2)
    ours = MaskSeparator(LOG_MEL, 48000).separate(low + high, masks)
    middle = slice(9600, 86400)
    for estimate, true in zip(ours, (low, high), strict=True):
        error = (estimate - true)[:, middle].square().mean() / true[:, middle].square().mean()
        assert error < 1e-3


def test_separate_with_masks_works_at_the_models_rate():
    waveforms = noise(4, 16000)
    stems = separate_with_masks(LOG_MEL, waveforms.sum(0, keepdim=True), LOG_MEL(waveforms))
    assert stems.shape == (4, 1, 16000)
    assert torch.allclose(stems.sum(0)[0], waveforms.sum(0), atol=1e-6)


def test_stereo_stems_are_told_apart_by_where_they_are():
    """Two players in turns, left and right, and masks that hardly know whose turn it is."""
    sounds = noise(2, 1, 32000)
    turns = (torch.arange(32000) // 4000 % 2).float()
    sounds = sounds * torch.stack([turns, 1 - turns])[:, None]
    stems = sounds * torch.tensor([[1.0, 0.3], [0.3, 1.0]])[:, :, None]
    mixture = stems.sum(0)
    turn = (turns[::320] * 0.2 + 0.4)[:, None].expand(-1, 128)
    masks = torch.stack([turn, 1 - turn])
    separator = MaskSeparator(LOG_MEL, 16000)

    def error(estimates: torch.Tensor) -> float:
        return (estimates - stems).square().mean().item()

    spectrum = separator.spectrum(mixture)
    by_masks = spectrum * separator.bin_masks(masks[None], spectrum[:1])[0][:, None]
    of_mono = separator.waveform(by_masks, 32000)
    assert error(separator.separate(mixture, masks)) < 0.5 * error(of_mono)
