"""The analyser: beats, bars and harmony of music, frame by frame.

Spectra with long windows for pitches and short ones for attacks go through dilated convolutions
over time (Davies and Böck, "Temporal convolutional networks for musical audio beat tracking",
2019). Shapes: B pieces, N samples, F frames, E channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.part import Part

RMS = 0.1
"""Level that every piece is brought to."""
LOG_FACTOR = 300.0
PITCH_CLASSES = 12
NO_PITCH = 12
"""Root and bass where no chord sounds."""
BANDS_PER_SEMITONE = 2


class Analysis(NamedTuple):
    """Logits of each frame.

    Attributes:
        beat, downbeat: (B, F).
        metre: (B, F, metres).
        root, bass: (B, F, 13), the last for none.
        tones: (B, F, 12), of each pitch class by itself.
    """

    beat: Tensor
    downbeat: Tensor
    metre: Tensor
    root: Tensor
    bass: Tensor
    tones: Tensor


class Spectrum:
    """Waveforms (B, N) → log magnitudes (B, bands, F) in bands of equal ratio."""

    def __init__(
        self, sample_rate: int, n_fft: int, hop_length: int, bands_per_octave: int, lowest_hz: float
    ) -> None:
        self.n_fft, self.hop_length = n_fft, hop_length
        bins_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
        steps = np.arange(int(math.log2(sample_rate / 2 / lowest_hz) * bands_per_octave))
        centres_hz = lowest_hz * 2 ** (steps / bands_per_octave)
        half_widths_hz = centres_hz * (2 ** (1 / bands_per_octave) - 1)
        half_widths_hz = np.maximum(half_widths_hz, sample_rate / n_fft)
        weights = 1 - np.abs(bins_hz - centres_hz[:, None]) / half_widths_hz[:, None]
        weights = np.maximum(weights, 0)
        self._filters = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    @property
    def num_bands(self) -> int:
        return len(self._filters)

    def __call__(self, waveforms: Tensor) -> Tensor:
        window = torch.hann_window(self.n_fft, device=waveforms.device)
        spectra = torch.stft(
            waveforms,
            self.n_fft,
            self.hop_length,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        magnitudes = torch.from_numpy(self._filters).to(waveforms.device) @ spectra.abs()
        return torch.log1p(LOG_FACTOR * magnitudes / window.sum())


class SongAnalyser(Part):
    """Mono waveforms in, an ``Analysis`` out.

    Args:
        metres: names, in the order of their logits.
        sample_rate: Hz.
        hop_length: samples from frame to frame; frame i is centred on sample i · hop_length.
        channels: E.
        dilations: of each block.
    """

    def __init__(
        self,
        metres: Sequence[str] = ("4/4", "3/4", "6/8", "12/8", "5/4"),
        sample_rate: int = 16000,
        hop_length: int = 320,
        channels: int = 128,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128),
    ) -> None:
        super().__init__()
        self.pitches = Spectrum(sample_rate, 4096, hop_length, 12 * BANDS_PER_SEMITONE, 40.0)
        self.attacks = Spectrum(sample_rate, 1024, hop_length, 6, 60.0)
        bands = self.pitches.num_bands + self.attacks.num_bands
        self.conv_in = nn.Conv1d(bands, channels, 5, padding=2)
        self.blocks = nn.ModuleList(Block(channels, dilation) for dilation in dilations)
        self.widths = (1, 1, len(metres), PITCH_CLASSES + 1, PITCH_CLASSES + 1, PITCH_CLASSES)
        self.norm_out = nn.GroupNorm(8, channels)
        self.conv_out = nn.Conv1d(channels, sum(self.widths), 1)

    def forward(self, waveforms: Tensor, semitones: Sequence[int] = ()) -> Analysis:
        """Analyse (B, N) samples; ``semitones`` moves each piece's pitches up first (training)."""
        loudness = waveforms.square().mean(dim=1, keepdim=True).sqrt()
        waveforms = RMS * waveforms / loudness.clamp(min=1e-9)
        pitches = self.pitches(waveforms)
        if semitones:
            moved = [
                torch.roll(one, BANDS_PER_SEMITONE * by, dims=0)
                for one, by in zip(pitches, semitones, strict=True)
            ]
            pitches = torch.stack(moved)
        hidden = self.conv_in(torch.cat([pitches, self.attacks(waveforms)], dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        logits = self.conv_out(functional.gelu(self.norm_out(hidden))).transpose(1, 2).float()
        beat, downbeat, *others = logits.split(self.widths, dim=2)
        return Analysis(beat[..., 0], downbeat[..., 0], *others)


class Block(nn.Module):
    """A dilated convolution over time with a residual connection."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv = nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.conv(functional.gelu(self.norm(hidden)))
        return hidden + self.mix(functional.gelu(update))
