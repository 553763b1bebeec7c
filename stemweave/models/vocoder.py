"""Log-mel → waveform: the bundled model's vocoder, and Griffin-Lim as the floor to beat.

Shapes: log-mel (N, F, M) → waveform (N, F · hop_length).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.log_mel import LogMel
from stemweave.models.part import Part


class ResidualConv(nn.Module):
    """Group norm, SiLU and two convolutions over time around a skip connection: (N, C, F)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.conv1(functional.silu(self.norm1(hidden)))
        return hidden + self.conv2(functional.silu(self.norm2(update)))


class SpectralVocoder(Part):
    """Predicts a short-time spectrum, magnitude and phase, and inverts it (as Vocos does,
    arXiv 2306.00814), on a finer time grid than the mel frames so that drum hits stay sharp.

    Args:
        num_mels: bands M of the log-mel.
        hop_length: samples per mel frame.
        sample_rate: Hz of the waveform.
        upsampling: spectrum frames per mel frame; the inverse STFT's hop is
            ``hop_length / upsampling``.
        n_fft: FFT size of the inverse STFT in samples.
        coarse_channels, coarse_blocks: residual blocks at the mel frame rate.
        fine_channels, fine_blocks: residual blocks at the spectrum's frame rate.
        mel_mean, mel_std: log-mels are normalised with these.
    """

    window: Tensor

    def __init__(
        self,
        num_mels: int = 128,
        hop_length: int = 320,
        sample_rate: int = 16000,
        upsampling: int = 4,
        n_fft: int = 512,
        coarse_channels: int = 320,
        coarse_blocks: int = 4,
        fine_channels: int = 192,
        fine_blocks: int = 3,
        mel_mean: float = -4.7,
        mel_std: float = 2.1,
    ) -> None:
        super().__init__()
        if hop_length % upsampling:
            raise ValueError(f"hop_length {hop_length} is not a multiple of {upsampling}")
        self.conv_in = nn.Conv1d(num_mels, coarse_channels, 5, padding=2)
        self.coarse = nn.Sequential(
            *(ResidualConv(coarse_channels, 3 ** (i % 3)) for i in range(coarse_blocks))
        )
        self.upsample = nn.Conv1d(coarse_channels, fine_channels * upsampling, 3, padding=1)
        self.fine = nn.Sequential(
            *(ResidualConv(fine_channels, 3 ** (i % 3)) for i in range(fine_blocks)),
            nn.GroupNorm(8, fine_channels),
            nn.SiLU(),
        )
        self.head = nn.Conv1d(fine_channels, 2 * (n_fft // 2 + 1), 3, padding=1)
        window = torch.hann_window(n_fft, periodic=True, device="cpu")  # see ``LogMel``
        self.register_buffer("window", window)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Waveform (N, F · hop_length) of ``log_mel`` (N, F, M)."""
        config = self.config
        log_magnitude, phase = self.predict(log_mel)
        spectrum = torch.polar(log_magnitude.clamp(max=8.0).exp(), phase)
        # one more frame, a copy of the last, so that the centred inverse covers every sample
        spectrum = torch.cat([spectrum, spectrum[..., -1:]], dim=-1)
        return torch.istft(
            spectrum,
            config.n_fft,
            config.hop_length // config.upsampling,
            window=self.window,
            center=True,
            length=log_mel.shape[1] * config.hop_length,
        )

    def predict(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Log-magnitude and phase (N, n_fft // 2 + 1, F · upsampling) of the spectrum."""
        config = self.config
        hidden = self.conv_in(((log_mel - config.mel_mean) / config.mel_std).transpose(1, 2))
        hidden = self.upsample(self.coarse(hidden))  # (N, fine_channels · upsampling, F)
        batch, _, frames = hidden.shape
        hidden = hidden.reshape(batch, -1, config.upsampling, frames).transpose(2, 3)
        hidden = hidden.reshape(batch, -1, frames * config.upsampling)
        log_magnitude, phase = self.head(self.fine(hidden)).float().chunk(2, dim=1)
        return log_magnitude, phase


def hop_length_of(config: Any) -> int:
    """Samples per mel frame, from a ``SpectralVocoder``'s or ``SpeechT5HifiGan``'s settings."""
    return int(getattr(config, "hop_length", None) or math.prod(config.upsample_rates))


def griffin_lim(log_mel_front_end: LogMel, log_mel: Tensor, iterations: int = 60) -> Tensor:
    """Waveform (N, F · hop_length) by Griffin and Lim's iteration from log-mels (N, F, M).

    Magnitudes come from the filter bank's pseudo-inverse. Needs no weights.
    """
    config = log_mel_front_end.config
    inverse = torch.linalg.pinv(log_mel_front_end.mel_basis)
    magnitude = (log_mel.exp() @ inverse).clamp(min=0).transpose(1, 2)
    magnitude = torch.cat([magnitude, magnitude[..., -1:]], dim=-1)
    length = log_mel.shape[1] * config.hop_length
    generator = torch.Generator().manual_seed(0)
    phase = torch.rand(magnitude.shape, generator=generator) * 2 * torch.pi

    def invert(phase: Tensor) -> Tensor:
        spectrum = torch.polar(magnitude, phase)
        return torch.istft(
            spectrum,
            config.n_fft,
            config.hop_length,
            config.win_length,
            log_mel_front_end.window,
            length=length,
        )

    for _ in range(iterations):
        phase = log_mel_front_end.stft(invert(phase)).angle().transpose(1, 2)
    return cast(Tensor, invert(phase))
