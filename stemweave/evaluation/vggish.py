"""VGGish (Hershey et al. 2017), the embedding of the original Fréchet audio distance.

Log-mel patches (N, 96, 64) of 0.96 s → (N, 128). Reads the published torch state dict (keys
``features.*`` and ``embeddings.*``); no weights are shipped.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

SAMPLE_RATE = 16_000
N_FFT = 512
WIN_LENGTH = 400
HOP_LENGTH = 160
NUM_MELS = 64
PATCH_FRAMES = 96
CHANNELS = ((64,), (128,), (256, 256), (512, 512))


class Vggish(nn.Module):
    """The published network, up to the last linear layer (no ReLU, no PCA after it).

    ``hidden_channels`` is 4096 in the published weights.
    """

    def __init__(self, hidden_channels: int = 4096) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 1
        for group in CHANNELS:
            for channels in group:
                layers += [nn.Conv2d(previous, channels, 3, padding=1), nn.ReLU()]
                previous = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(previous * PATCH_FRAMES * NUM_MELS // 256, hidden_channels),
            nn.ReLU(),
            nn.Linear(hidden_channels, hidden_channels),
            nn.ReLU(),
            nn.Linear(hidden_channels, 128),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Patches (N, 96, 64) of ``vggish_patches`` → (N, 128)."""
        maps = self.features(log_mel[:, None])  # (N, channels, time, bands)
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))


def vggish_patches(waveform: Tensor) -> Tensor:
    """Whole patches (…, P, 96, 64) without overlap of ``waveform`` (…, T) at 16 kHz.

    Magnitudes of 25 ms frames every 10 ms (not centred), 64 mel bands between 125 and 7500 Hz,
    log(mel + 0.01). T below 0.975 s raises ``ValueError``.
    """
    shortest = WIN_LENGTH + (PATCH_FRAMES - 1) * HOP_LENGTH
    if waveform.shape[-1] < shortest:
        raise ValueError(f"VGGish needs at least {shortest} samples, got {waveform.shape[-1]}")
    frames = waveform.unfold(-1, WIN_LENGTH, HOP_LENGTH)
    windowed = frames * torch.hann_window(WIN_LENGTH, device=waveform.device)
    magnitude = torch.fft.rfft(functional.pad(windowed, (0, N_FFT - WIN_LENGTH))).abs()
    basis = mel_filter_bank(
        num_frequency_bins=N_FFT // 2 + 1,
        num_mel_filters=NUM_MELS,
        min_frequency=125.0,
        max_frequency=7500.0,
        sampling_rate=SAMPLE_RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    log_mel = torch.log(magnitude @ torch.from_numpy(basis).to(magnitude) + 0.01)
    count = log_mel.shape[-2] // PATCH_FRAMES
    whole = log_mel[..., : count * PATCH_FRAMES, :]
    return whole.reshape(*waveform.shape[:-1], count, PATCH_FRAMES, NUM_MELS)
