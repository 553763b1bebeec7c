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

MAX_LOG_GAIN = 4.0
"""Of one iteration of ``matched``, in nepers."""

FIRST_LOG_MAGNITUDE = -4.0
"""Of the spectrum before training: about as quiet as most of music's."""


class FrameNorm(nn.Module):
    """Every frame of (N, C, F) over the root of its mean square, times a learnt gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * torch.rsqrt(hidden.square().mean(dim=1, keepdim=True) + 1e-5) * self.gain


class ResidualConv(nn.Module):
    """Norm, SiLU and two convolutions over time around a skip connection: (N, C, F)."""

    def __init__(self, channels: int, dilation: int, frame_norm: bool) -> None:
        super().__init__()
        self.norm1 = _norm(channels, frame_norm)
        self.conv1 = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm2 = _norm(channels, frame_norm)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.conv1(functional.silu(self.norm1(hidden)))
        return hidden + self.conv2(functional.silu(self.norm2(update)))


def _norm(channels: int, frame_norm: bool) -> nn.Module:
    return FrameNorm(channels) if frame_norm else nn.GroupNorm(8, channels)


class SpectralVocoder(Part):
    """Predicts a short-time spectrum, magnitude and phase, and inverts it (as Vocos does,
    arXiv 2306.00814), on a finer time grid than the mel frames so that drum hits stay sharp.

    Args:
        num_mels: bands M of the log-mel.
        hop_length: samples of the waveform per mel frame.
        sample_rate: Hz of the waveform, which may be above the log-mel's.
        upsampling: spectrum frames per mel frame; the inverse STFT's hop is
            ``hop_length / upsampling``.
        n_fft: FFT size of the inverse STFT in samples.
        coarse_channels, coarse_blocks: residual blocks at the mel frame rate.
        fine_channels, fine_blocks: residual blocks at the spectrum's frame rate.
        mel_mean, mel_std: log-mels are normalised with these.
        num_stems: classes of stems that it distinguishes, beside the mixture; 0: none.
        noise_channels: of white noise at the spectrum's frame rate, for what a log-mel leaves open.
        frame_norm: normalise each frame by itself, not over time.
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
        num_stems: int = 0,
        noise_channels: int = 0,
        frame_norm: bool = False,
    ) -> None:
        super().__init__()
        if hop_length % upsampling:
            raise ValueError(f"hop_length {hop_length} is not a multiple of {upsampling}")
        self.conv_in = nn.Conv1d(num_mels, coarse_channels, 5, padding=2)
        self.coarse = nn.Sequential(
            *(ResidualConv(coarse_channels, 3 ** (i % 3), frame_norm) for i in range(coarse_blocks))
        )
        self.stem = nn.Embedding(num_stems + 1, coarse_channels) if num_stems else None
        self.noise = (
            nn.Conv1d(noise_channels, fine_channels, 1, bias=False) if noise_channels else None
        )
        self.upsample = nn.Conv1d(coarse_channels, fine_channels * upsampling, 3, padding=1)
        self.fine = nn.Sequential(
            *(ResidualConv(fine_channels, 3 ** (i % 3), frame_norm) for i in range(fine_blocks)),
            _norm(fine_channels, frame_norm),
            nn.SiLU(),
        )
        self.head = nn.Conv1d(fine_channels, 2 * (n_fft // 2 + 1), 3, padding=1)
        nn.init.constant_(cast(Tensor, self.head.bias)[: n_fft // 2 + 1], FIRST_LOG_MAGNITUDE)
        window = torch.hann_window(n_fft, periodic=True, device="cpu")  # see ``LogMel``
        self.register_buffer("window", window)

    def forward(
        self, log_mel: Tensor, stems: Tensor | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Waveform (N, F · hop_length) of ``log_mel`` (N, F, M).

        ``stems`` (N,) are the indices of their classes, ``num_stems`` for a mixture (None: all are
        mixtures). ``noise`` is ``white_noise``, by default the same at every call.
        """
        config = self.config
        log_magnitude, phase = self.predict(log_mel, stems, noise)
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

    def predict(
        self, log_mel: Tensor, stems: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-magnitude and phase (N, n_fft // 2 + 1, F · upsampling) of the spectrum."""
        config = self.config
        hidden = self.conv_in(((log_mel - config.mel_mean) / config.mel_std).transpose(1, 2))
        if self.stem is not None:
            if stems is None:
                stems = torch.full((len(log_mel),), config.num_stems, device=log_mel.device)
            hidden = hidden + self.stem(stems)[..., None]
        hidden = self.upsample(self.coarse(hidden))  # (N, fine_channels · upsampling, F)
        batch, _, frames = hidden.shape
        hidden = hidden.reshape(batch, -1, config.upsampling, frames).transpose(2, 3)
        hidden = hidden.reshape(batch, -1, frames * config.upsampling)
        if self.noise is not None:
            drawn = white_noise(config, batch, frames) if noise is None else noise
            hidden = hidden + self.noise(cast(Tensor, drawn).to(hidden))
        log_magnitude, phase = self.head(self.fine(hidden)).float().chunk(2, dim=1)
        return log_magnitude, phase


def white_noise(
    config: Any, rows: int, frames: int, generator: torch.Generator | None = None
) -> Tensor | None:
    """(rows, noise_channels, frames · upsampling), the same at every call without a generator;
    None for a vocoder that takes none.
    """
    channels = getattr(config, "noise_channels", 0)
    if not channels:
        return None
    generator = generator or torch.Generator().manual_seed(0)
    return torch.randn(rows, channels, frames * config.upsampling, generator=generator)


def hop_length_of(config: Any) -> int:
    """Samples per mel frame, from a ``SpectralVocoder``'s or ``SpeechT5HifiGan``'s settings."""
    return int(getattr(config, "hop_length", None) or math.prod(config.upsample_rates))


def rate_of(config: Any) -> int:
    """Hz of the waveform, from the same settings."""
    return int(getattr(config, "sample_rate", None) or config.sampling_rate)


def frame_rate_of(config: Any) -> float:
    """Mel frames a second, from the same settings."""
    return rate_of(config) / hop_length_of(config)


def resampled(waveform: Tensor, num_samples: int) -> Tensor:
    """``waveform`` (N, T), taken as periodic, in ``num_samples`` samples of the same duration."""
    if num_samples == waveform.shape[-1]:
        return waveform
    spectrum = torch.fft.rfft(waveform)
    return torch.fft.irfft(spectrum, n=num_samples) * (num_samples / waveform.shape[-1])


def matched(waveform: Tensor, log_mel: Tensor, front_end: LogMel, iterations: int) -> Tensor:
    """``waveform`` (N, T) with gains in time and frequency that bring its log-mel to ``log_mel``.

    Args:
        waveform: at any rate, as long as ``log_mel``'s frames.
        log_mel: (N, F, M) as ``front_end`` gives it. Above its band nothing changes.
        iterations: each lessens the error; a vocoder's of 0.21 falls to 0.14, 0.12, 0.10.
    """
    if not iterations:
        return waveform
    config, frames = front_end.config, log_mel.shape[1] + 2
    frame = waveform.shape[-1] // log_mel.shape[1]
    # mirrored ends, because the resampling takes the waveform for periodic
    padded = functional.pad(waveform, (frame, frame), mode="reflect")
    target = functional.pad(log_mel.transpose(1, 2), (1, 2), mode="replicate").transpose(1, 2)
    before = after = resampled(padded, frames * config.hop_length)
    per_band = front_end.mel_basis / front_end.mel_basis.sum(1, keepdim=True).clamp(min=1e-8)
    for _ in range(iterations):
        spectrum = front_end.stft(after)
        log_gain = target - front_end.mel_of_magnitude(spectrum.abs())
        spectrum = spectrum * (log_gain.clamp(-MAX_LOG_GAIN, MAX_LOG_GAIN) @ per_band.T).exp()
        after = torch.istft(
            spectrum.transpose(1, 2),
            config.n_fft,
            config.hop_length,
            config.win_length,
            front_end.window,
            length=before.shape[-1],
        )
    change = resampled(after - before, padded.shape[-1])
    return waveform + change[:, frame:-frame]


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
    settings = config.n_fft, config.hop_length, config.win_length, log_mel_front_end.window

    def invert(phase: Tensor) -> Tensor:
        return torch.istft(torch.polar(magnitude, phase), *settings, length=length)

    for _ in range(iterations):
        phase = log_mel_front_end.stft(invert(phase)).angle().transpose(1, 2)
    return cast(Tensor, invert(phase))
