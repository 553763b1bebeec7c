"""The music tagger musicnn (Pons and Serra 2019, arXiv 1909.06654) as an embedding of 3 seconds.

Log-mel patches (N, 187, 96) → penultimate layer (N, 200) and tag logits (N, 50). The weights are
the published MSD_musicnn checkpoint (ISC licence, beside the weights).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

WEIGHTS = Path(__file__).parent / "weights" / "msd_musicnn.safetensors"
SAMPLE_RATE = 16_000
N_FFT = 512
HOP_LENGTH = 256
NUM_MELS = 96
PATCH_FRAMES = 187
TIMBRAL_KERNELS = ((7, 38), (7, 67))
TEMPORAL_KERNELS = (128, 64, 32)


class ConvReluNorm(nn.Module):
    """Convolution → ReLU → batch norm, on (N, 1, time, frequency), ``padding`` frames in time."""

    def __init__(self, channels: int, kernel: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(1, channels, kernel)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, patch: Tensor) -> Tensor:
        """(N, 1, time, bands) → (N, channels, time), the loudest band of each frame."""
        padded = functional.pad(patch, (0, 0, *self.padding))
        return self.norm(functional.relu(self.conv(padded))).amax(-1)


class Musicnn(nn.Module):
    """The published MSD_musicnn network; build it with ``Musicnn.from_bundled()``."""

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm2d(1, eps=1e-3)
        self.front = nn.ModuleList(
            [ConvReluNorm(204, kernel, (3, 3)) for kernel in TIMBRAL_KERNELS]
            + [ConvReluNorm(51, (k, 1), ((k - 1) // 2, k // 2)) for k in TEMPORAL_KERNELS]
        )
        num_front = 204 * len(TIMBRAL_KERNELS) + 51 * len(TEMPORAL_KERNELS)
        self.middle = nn.ModuleList(
            ConvReluNorm(64, (7, features), (3, 3)) for features in (num_front, 64, 64)
        )
        pooled = 2 * (num_front + 3 * 64)
        self.pooled_norm = nn.BatchNorm1d(pooled, eps=1e-3)
        self.dense = nn.Linear(pooled, 200)
        self.dense_norm = nn.BatchNorm1d(200, eps=1e-3)
        self.tags = nn.Linear(200, 50)

    @classmethod
    def from_bundled(cls) -> Musicnn:
        """The network with the shipped weights, in evaluation mode."""
        network = cls()
        network.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS).items()})
        return network.eval()

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (N, 187, 96) of ``musicnn_log_mel`` → (penultimate (N, 200), logits (N, 50)).

        Raises ``ValueError`` for patches of another size.
        """
        if log_mel.shape[1:] != (PATCH_FRAMES, NUM_MELS):
            raise ValueError(
                f"musicnn takes patches (N, {PATCH_FRAMES}, {NUM_MELS}), got {tuple(log_mel.shape)}"
            )
        patch = self.input_norm(log_mel[:, None])
        features = torch.cat([branch(patch) for branch in self.front], 1)  # (N, 561, time)
        collected = [features]
        hidden = features
        for index, layer in enumerate(self.middle):
            update = layer(hidden.transpose(1, 2)[:, None])
            hidden = update if index == 0 else hidden + update
            collected.append(hidden)
        stacked = torch.cat(collected, 1)
        pooled = torch.stack([stacked.amax(-1), stacked.mean(-1)], -1).flatten(1)
        penultimate = self.dense_norm(functional.relu(self.dense(self.pooled_norm(pooled))))
        return penultimate, self.tags(penultimate)


def musicnn_log_mel(waveform: Tensor) -> Tensor:
    """Log-mel (…, 1 + T // 256, 96) of ``waveform`` (…, T) at 16 kHz as musicnn was trained on.

    Power spectrogram, Slaney mel bands, log10(10000 · mel + 1).
    """
    spectrum = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        N_FFT,
        HOP_LENGTH,
        window=torch.hann_window(N_FFT, device=waveform.device),
        pad_mode="reflect",
        return_complex=True,
    )
    basis = mel_filter_bank(
        num_frequency_bins=N_FFT // 2 + 1,
        num_mel_filters=NUM_MELS,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    power = spectrum.abs().square().transpose(-1, -2)
    mel = power @ torch.from_numpy(basis).to(power)
    return torch.log10(10_000 * mel + 1).reshape(*waveform.shape[:-1], *mel.shape[-2:])


def musicnn_patches(waveform: Tensor) -> Tensor:
    """All whole patches (P, 187, 96), without overlap, of one ``waveform`` (T,) at 16 kHz.

    A waveform shorter than one patch (2.99 s) is padded with silence to one.
    """
    missing = (PATCH_FRAMES - 1) * HOP_LENGTH - waveform.shape[-1]
    log_mel = musicnn_log_mel(functional.pad(waveform, (0, max(0, missing))))
    count = log_mel.shape[0] // PATCH_FRAMES
    return log_mel[: count * PATCH_FRAMES].reshape(count, PATCH_FRAMES, NUM_MELS)
