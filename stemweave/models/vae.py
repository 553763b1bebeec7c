"""The bundled model's autoencoder: log-mel (N, 1, F, M) ↔ latents (N, C, F / 4, M / 4).

Overlapping patches go to the latent grid, where all residual blocks work, and are added up again:
three times faster than diffusers' ``AutoencoderKL``, the paper's, which shares this interface.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.convolution import ResidualBlock
from stemweave.models.part import Part


def strides_of(config: Any) -> tuple[int, int]:
    """Mel frames and mel bands a latent position, of a ``PatchVAE``'s or ``AutoencoderKL``'s."""
    if "time_stride" in config:
        return config.time_stride, config.mel_stride
    stride = 2 ** (len(config.block_out_channels) - 1)
    return stride, stride


def channels_last(hidden: Tensor) -> Tensor:
    """``hidden`` (N, C, H, W) in the order of memory in which a CPU's convolutions are faster."""
    return hidden.contiguous(memory_format=torch.channels_last)


class Posterior:
    """Independent normal distributions of latents (N, C, H, W), from their moments (N, 2 C, H, W).

    The interface is diffusers' ``DiagonalGaussianDistribution``'s, whose import is slow.
    """

    def __init__(self, moments: Tensor) -> None:
        self.mean, log_variance = moments.chunk(2, dim=1)
        self.log_variance = log_variance.clamp(-30.0, 20.0)

    @property
    def std(self) -> Tensor:
        """Standard deviations."""
        return (0.5 * self.log_variance).exp()

    def mode(self) -> Tensor:
        """The most probable latents."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Latents drawn from the posterior; the noise comes from the generator's device."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(
            self.mean.shape, generator=generator, device=device, dtype=self.mean.dtype
        )
        return self.mean + self.std * noise.to(self.mean.device)

    def kl(self) -> Tensor:
        """Divergence (N,) from the standard normal distribution, in nats, summed over latents."""
        variance = self.log_variance.exp()
        terms = self.mean.square() + variance - 1.0 - self.log_variance
        return 0.5 * terms.flatten(1).sum(1)


class Encoded(NamedTuple):
    """What ``encode`` returns, named as in diffusers."""

    latent_dist: Posterior


class Decoded(NamedTuple):
    """What ``decode`` returns, named as in diffusers."""

    sample: Tensor


class PatchVAE(Part):
    """Variational autoencoder of log-mel patches.

    Args:
        latent_channels: C of the latents.
        hidden_channels: width of encoder and decoder at the latent grid.
        num_blocks: residual blocks in each of encoder and decoder.
        time_stride, mel_stride: mel frames and mel bands per latent position.
        mel_mean, mel_std: log-mels are normalised with these before the first convolution.
        scaling_factor: the denoiser works on encoded latents times this (unit variance).
    """

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
            nn.Conv2d(4 * time_stride * mel_stride, hidden_channels, 1),
            *(ResidualBlock(hidden_channels, 8) for _ in range(num_blocks)),
            nn.GroupNorm(8, hidden_channels),
            nn.SiLU(),
            nn.Conv2d(hidden_channels, 2 * latent_channels, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, hidden_channels, 3, padding=1),
            *(ResidualBlock(hidden_channels, 8) for _ in range(num_blocks)),
            nn.GroupNorm(8, hidden_channels),
            nn.SiLU(),
            nn.Conv2d(hidden_channels, 4 * time_stride * mel_stride, 1),
        )

    @property
    def _patches(self) -> dict[str, tuple[int, int]]:
        """Each latent position sees its patch and half of the neighbours on every side."""
        time_stride, mel_stride = self.config.time_stride, self.config.mel_stride
        return {
            "kernel_size": (2 * time_stride, 2 * mel_stride),
            "stride": (time_stride, mel_stride),
            "padding": (time_stride // 2, mel_stride // 2),
        }

    def encode(self, log_mel: Tensor) -> Encoded:
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
        patches = functional.unfold((log_mel - config.mel_mean) / config.mel_std, **self._patches)
        grid = (frames // config.time_stride, bands // config.mel_stride)
        moments = self.encoder(channels_last(patches.unflatten(-1, grid)))
        return Encoded(Posterior(moments.float()))

    def decode(self, latents: Tensor) -> Decoded:
        """Log-mel (N, 1, F, M) of unscaled ``latents`` (N, C, H, W)."""
        config = self.config
        patches = self.decoder(channels_last(latents)).float()
        size = (latents.shape[-2] * config.time_stride, latents.shape[-1] * config.mel_stride)
        # patches are (N, 4 · time_stride · mel_stride, H, W)
        image = functional.fold(patches.flatten(-2), size, **self._patches)
        return Decoded(image * config.mel_std + config.mel_mean)

    def forward(
        self, log_mel: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Posterior]:
        """Reconstruction of ``log_mel`` (N, 1, F, M) from a sampled latent, and its posterior."""
        posterior = self.encode(log_mel).latent_dist
        return self.decode(posterior.sample(generator)).sample, posterior
