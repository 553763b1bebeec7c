"""Discriminators of waveforms (N, T) and of log-mels (N, 1, F, M).

Each returns scores, one for every place that it sees, and the features of its layers. Waveforms are
judged folded by several periods (HiFi-GAN, arXiv 2010.05646) and as spectra of several resolutions
(UnivNet, arXiv 2106.07889); log-mels by overlapping patches (arXiv 1611.07004).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from stemweave.training.losses import stft_magnitude

Judgement = tuple[Tensor, list[Tensor]]
"""Scores of places, and features of each layer."""


class Discriminators(nn.Module):
    """Several discriminators that judge the same input: a list of ``Judgement``."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, data: Tensor) -> list[Judgement]:
        return [member(data) for member in self.members]


class PeriodDiscriminator(nn.Module):
    """Every ``period``-th sample as a row of a picture; convolutions along the rows.

    Args:
        channels: of the first layer; the following have 4, 16, 32 and 32 times as many.
    """

    def __init__(self, period: int, channels: int = 32) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(channels * multiple for multiple in (1, 4, 16, 32, 32))]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(widths[i], widths[i + 1], (5, 1), (3 if i < 4 else 1, 1), (2, 0)))
            for i in range(5)
        )
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, waveform: Tensor) -> Judgement:
        missing = -waveform.shape[-1] % self.period
        padded = functional.pad(waveform[:, None], (0, missing), mode="reflect")
        return _judge(padded.unflatten(-1, (-1, self.period)), self.layers, self.score, 0.1)


class SpectrogramDiscriminator(nn.Module):
    """The magnitude spectrum at one resolution, (N, 1, frames, bins)."""

    def __init__(self, n_fft: int, channels: int = 32) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(1 if i == 0 else channels, channels, (3, width), (1, stride),
                                  (1, width // 2)))
            for i, (width, stride) in enumerate(((9, 1), (9, 2), (9, 2), (9, 2), (3, 1)))
        )  # fmt: skip
        self.score = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> Judgement:
        # the window's sum grows with its length: after division, noise has one level at all sizes
        magnitude = stft_magnitude(waveform, self.n_fft) / math.sqrt(self.n_fft)
        return _judge(magnitude.transpose(1, 2)[:, None], self.layers, self.score, 0.2)


class PatchDiscriminator(nn.Module):
    """Overlapping patches of log-mels; each of ``num_layers`` halves the resolution.

    Args:
        channels: of the first layer, doubled from layer to layer up to 8 times as many.
        mel_mean, mel_std: log-mels are normalised with these.
    """

    def __init__(
        self,
        channels: int = 64,
        num_layers: int = 3,
        mel_mean: float = -5.0,
        mel_std: float = 3.0,
    ) -> None:
        super().__init__()
        self.mel_mean, self.mel_std = mel_mean, mel_std
        widths = [1, *(channels * min(2**i, 8) for i in range(num_layers + 1))]
        self.layers = nn.ModuleList(
            # no batch statistics: a sample's score depends on neither its company nor the processes
            nn.Sequential(
                nn.Conv2d(widths[i], widths[i + 1], 4, 2 if i < num_layers else 1, 1),
                nn.GroupNorm(math.gcd(8, widths[i + 1]), widths[i + 1]) if i else nn.Identity(),
            )
            for i in range(num_layers + 1)
        )
        self.score = nn.Conv2d(widths[-1], 1, 4, padding=1)

    def forward(self, log_mel: Tensor) -> Judgement:
        normalised = (log_mel - self.mel_mean) / self.mel_std
        return _judge(normalised, self.layers, self.score, 0.2)


def _judge(hidden: Tensor, layers: nn.ModuleList, score: nn.Module, slope: float) -> Judgement:
    features = []
    for layer in layers:
        hidden = functional.leaky_relu(layer(hidden), slope)
        features.append(hidden)
    return score(hidden), features


def waveform_discriminators(
    periods: Sequence[int], n_ffts: Sequence[int], channels: int
) -> Discriminators:
    """For the vocoder: one discriminator for every period and every FFT size."""
    members: list[nn.Module] = [PeriodDiscriminator(period, channels) for period in periods]
    members += [SpectrogramDiscriminator(n_fft, channels) for n_fft in n_ffts]
    return Discriminators(members)


def discriminator_loss(real: Sequence[Judgement], fake: Sequence[Judgement], kind: str) -> Tensor:
    """What the discriminators minimise: "hinge", or "least_squares" with targets 1 and 0."""
    total = real[0][0].new_zeros(())
    for (real_score, _), (fake_score, _) in zip(real, fake, strict=True):
        if kind == "hinge":
            total = total + functional.relu(1 - real_score).mean()
            total = total + functional.relu(1 + fake_score).mean()
        else:
            total = total + (1 - real_score).square().mean() + fake_score.square().mean()
    return total


def generator_loss(fake: Sequence[Judgement], kind: str) -> Tensor:
    """What the network minimises: fakes that are scored as real."""
    scores = [score for score, _ in fake]
    if kind == "hinge":
        return -torch.stack([score.mean() for score in scores]).sum()
    return torch.stack([(1 - score).square().mean() for score in scores]).sum()


def feature_distance(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Mean absolute difference of every layer's features, summed; real ones are targets."""
    pairs = [
        (ours, theirs.detach())
        for (_, fake_features), (_, real_features) in zip(fake, real, strict=True)
        for ours, theirs in zip(fake_features, real_features, strict=True)
    ]
    return torch.stack([(ours - theirs).abs().mean() for ours, theirs in pairs]).sum()
