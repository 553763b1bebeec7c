"""Open-Unmix (Stöter et al., "Open-Unmix - A Reference Implementation for Music Source Separation",
JOSS 4(41), 2019): a three-layer BLSTM that masks the mixture's magnitudes, one network per stem.

Shapes: waveforms (..., T), spectra (..., F, K) with K = n_fft // 2 + 1 bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from baselines.baseline import Baseline

EPSILON = 1e-10


class StemNetwork(nn.Module):
    """Magnitudes of the mixture (B, F, K) → magnitudes of one stem (B, F, K).

    As published: standardised input, linear encoder with batch norm and tanh, BLSTM, its input
    beside its output, two linear layers with batch norm, a learnt scale and offset per bin, and a
    ReLU whose result multiplies the mixture. Scales and offsets of input and output are trained.
    """

    def __init__(self, num_bins: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.input_mean = nn.Parameter(torch.zeros(num_bins))
        self.input_scale = nn.Parameter(torch.ones(num_bins))
        self.encoder = nn.Linear(num_bins, hidden_size, bias=False)
        self.encoder_norm = nn.BatchNorm1d(hidden_size)
        self.lstm = nn.LSTM(
            hidden_size,
            hidden_size // 2,
            num_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.decoder = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.decoder_norm = nn.BatchNorm1d(hidden_size)
        self.output = nn.Linear(hidden_size, num_bins, bias=False)
        self.output_norm = nn.BatchNorm1d(num_bins)
        self.output_scale = nn.Parameter(torch.ones(num_bins))
        self.output_mean = nn.Parameter(torch.ones(num_bins))

    def forward(self, mixture: Tensor) -> Tensor:
        hidden = (mixture - self.input_mean) * self.input_scale
        hidden = torch.tanh(over_frames(self.encoder_norm, self.encoder(hidden)))
        hidden = torch.cat([hidden, self.lstm(hidden)[0]], dim=-1)
        hidden = functional.relu(over_frames(self.decoder_norm, self.decoder(hidden)))
        hidden = over_frames(self.output_norm, self.output(hidden))
        return functional.relu(hidden * self.output_scale + self.output_mean) * mixture


def over_frames(norm: nn.BatchNorm1d, hidden: Tensor) -> Tensor:
    """Batch norm of (B, F, C) over all frames of the batch."""
    return norm(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])


class OpenUnmix(Baseline):
    """A ``StemNetwork`` for each stem, and the soft masks that join them.

    Args:
        stems: names of the stems.
        sample_rate: Hz.
        reference_rms: level of mixtures in training.
        n_fft: samples; the hop is a quarter. Published: 4096 at 44.1 kHz (93 ms). 1536 at 16 kHz
            is 96 ms.
        hidden_size: width; each LSTM direction has half of it. Published: 512.
        num_layers: of the BLSTM. Published: 3.
        dropout: between LSTM layers. Published: 0.4.
    """

    title: ClassVar[str] = "Open-Unmix"
    window: Tensor

    @register_to_config
    def __init__(
        self,
        stems: Sequence[str],
        sample_rate: int = 16000,
        reference_rms: float | None = 0.1,
        n_fft: int = 1536,
        hidden_size: int = 512,
        num_layers: int = 3,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(
            StemNetwork(n_fft // 2 + 1, hidden_size, num_layers, dropout) for _ in stems
        )
        self.register_buffer("window", torch.hann_window(n_fft))

    def spectrum(self, waveform: Tensor) -> Tensor:
        """Complex STFT (..., F, K) of ``waveform`` (..., T)."""
        n_fft = self.config.n_fft
        spectrum = torch.stft(
            waveform.reshape(-1, waveform.shape[-1]),
            n_fft,
            n_fft // 4,
            window=self.window,
            return_complex=True,
        )
        return spectrum.transpose(-1, -2).unflatten(0, waveform.shape[:-1])

    def observe(self, stems: Tensor) -> None:
        """Standardise the input by mean and deviation of each bin over ``stems``' mixtures.

        Deviations are at least 1e-4 of the largest one, as published.
        """
        magnitude = self.spectrum(stems.sum(1)).abs().flatten(0, 1)
        deviation, mean = torch.std_mean(magnitude, dim=0)
        deviation = deviation.clamp(min=1e-4 * deviation.max())
        for network in self.networks:
            assert isinstance(network, StemNetwork)
            network.input_mean.data.copy_(mean)
            network.input_scale.data.copy_(1 / deviation)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Stems' magnitudes (B, S, F, K) from the mixture's (B, F, K)."""
        return torch.stack([network(magnitude) for network in self.networks], dim=1)

    def loss(self, network: nn.Module, stems: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of magnitudes, as published."""
        spectra = self.spectrum(stems)
        estimates = network(spectra.sum(1).abs())
        return functional.mse_loss(estimates.float(), spectra.abs())

    def separate(self, mixture: Tensor, generator: torch.Generator, method: str = "") -> Tensor:
        """Soft masks of squared magnitudes on the mixture's spectrum.

        The published separator ends with one step of a multichannel Wiener filter; with a single
        channel that step is this ratio of powers.
        """
        spectrum = self.spectrum(mixture[None])
        masks = power_masks(self(spectrum.abs()))[0]
        n_fft = self.config.n_fft
        return torch.istft(
            (masks * spectrum).transpose(-1, -2),
            n_fft,
            n_fft // 4,
            window=self.window,
            length=mixture.shape[-1],
        )


def power_masks(magnitudes: Tensor) -> Tensor:
    """Masks (B, S, F, K) that add up to one over S; equal shares where no stem is estimated."""
    power = magnitudes.square() + EPSILON
    return power / power.sum(1, keepdim=True)
