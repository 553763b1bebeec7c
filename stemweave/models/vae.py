"""The bundled model's autoencoder: log-mel (N, 1, F, M) ↔ latents (N, C, F / 4, M / 4).

It patches first: a strided convolution to the latent grid, then all residual blocks there, then
pixel shuffle back. About three times faster than an autoencoder that starts at full resolution
(diffusers' ``AutoencoderKL``, which the paper uses and which shares this interface).
"""

from __future__ import annotations

from typing import cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with group norm around a skip connection; shape (N, C, H, W) kept."""

    def __init__(self, channels: int, num_groups: int = 8) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(num_groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.conv1(nn.functional.silu(self.norm1(hidden)))
        return hidden + self.conv2(nn.functional.silu(self.norm2(update)))


class PatchVAE(ModelMixin, ConfigMixin):
    """Variational autoencoder of log-mel patches.

    Args:
        latent_channels: C of the latents.
        hidden_channels: width of encoder and decoder at the latent grid.
        num_blocks: residual blocks in each of encoder and decoder.
        time_stride, mel_stride: mel frames and mel bands per latent position.
        mel_mean, mel_std: log-mels are normalised with these before the first convolution.
        scaling_factor: the denoiser works on encoded latents times this (unit variance).
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        hidden_channels: int = 128,
        num_blocks: int = 3,
        time_stride: int = 4,
        mel_stride: int = 4,
        mel_mean: float = -5.0,
        mel_std: float = 3.0,
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            PatchConv(1, hidden_channels, time_stride, mel_stride),
            *(ResidualBlock(hidden_channels) for _ in range(num_blocks)),
            nn.GroupNorm(8, hidden_channels),
            nn.SiLU(),
            nn.Conv2d(hidden_channels, 2 * latent_channels, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, hidden_channels, 3, padding=1),
            *(ResidualBlock(hidden_channels) for _ in range(num_blocks)),
            nn.GroupNorm(8, hidden_channels),
            nn.SiLU(),
            nn.Conv2d(hidden_channels, 16 * time_stride * mel_stride, 1),
        )
        self.refine = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 1, 3, padding=1)
        )

    def encode(self, log_mel: Tensor) -> AutoencoderKLOutput:
        """Posterior of the latents (N, C, F / time_stride, M / mel_stride).

        ``log_mel`` is (N, 1, F, M); F and M must be multiples of the strides (``ValueError``).
        """
        config = self.config
        frames, bands = log_mel.shape[-2:]
        if frames % config.time_stride or bands % config.mel_stride:
            raise ValueError(
                f"log-mel of {frames} frames × {bands} bands does not divide into patches of "
                f"{config.time_stride} × {config.mel_stride}"
            )
        moments = self.encoder((log_mel - config.mel_mean) / config.mel_std)
        posterior = DiagonalGaussianDistribution(moments.float())
        return AutoencoderKLOutput(latent_dist=posterior)

    def decode(self, latents: Tensor) -> DecoderOutput:
        """Log-mel (N, 1, F, M) of unscaled ``latents`` (N, C, H, W)."""
        config = self.config
        patches = self.decoder(latents)  # (N, 16 · time_stride · mel_stride, H, W)
        batch, _, height, width = patches.shape
        patches = patches.reshape(batch, 16, config.time_stride, config.mel_stride, height, width)
        image = patches.permute(0, 1, 4, 2, 5, 3).reshape(
            batch, 16, height * config.time_stride, width * config.mel_stride
        )
        log_mel = self.refine(image).float() * config.mel_std + config.mel_mean
        return DecoderOutput(sample=cast(torch.FloatTensor, log_mel))

    def forward(
        self, log_mel: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, DiagonalGaussianDistribution]:
        """Reconstruction of ``log_mel`` (N, 1, F, M) from a sampled latent, and its posterior."""
        posterior = self.encode(log_mel).latent_dist
        return self.decode(posterior.sample(generator)).sample, posterior


class PatchConv(nn.Conv2d):
    """Overlapping strided convolution that covers one patch and half of its neighbours."""

    def __init__(
        self, in_channels: int, out_channels: int, time_stride: int, mel_stride: int
    ) -> None:
        kernel = (2 * time_stride, 2 * mel_stride)
        padding = (time_stride // 2, mel_stride // 2)
        super().__init__(
            in_channels, out_channels, kernel, (time_stride, mel_stride), padding=padding
        )
