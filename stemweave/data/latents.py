"""Training crops as latents of the autoencoder, for the denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.data.mixing import mix_mels
from stemweave.data.shards import Arrays, Shards


@dataclass
class LatentBatch:
    """Scaled latents of stems (N, S, C, H, W) and of mixtures (N, C, H, W); coherence (N,) bool.

    In stereo, C holds the latents of the left channel, then those of the right.
    """

    stems: Tensor
    mixture: Tensor
    coherent: Tensor

    def to(self, device: torch.device) -> LatentBatch:
        """Latents on ``device``; ``coherent`` stays, it decides what is drawn."""
        return LatentBatch(self.stems.to(device), self.mixture.to(device), self.coherent)

    def part(self, samples: slice) -> LatentBatch:
        return LatentBatch(self.stems[samples], self.mixture[samples], self.coherent[samples])


def encode_mels(vae: Any, log_mels: Tensor, bfloat16: bool = False) -> Tensor:
    """Posterior means times the scaling factor (..., C, H, W) of log-mels (..., F, M)."""
    return encode_posterior(vae, log_mels, bfloat16)[0]


def encode_posterior(vae: Any, log_mels: Tensor, bfloat16: bool = False) -> tuple[Tensor, Tensor]:
    """The posterior's mean and standard deviation, each times the scaling factor, on the CPU."""
    device = next(vae.parameters()).device
    flat = log_mels.reshape(-1, 1, *log_mels.shape[-2:]).to(device)
    with torch.inference_mode(), torch.autocast(flat.device.type, torch.bfloat16, bfloat16):
        posterior = vae.encode(flat).latent_dist

    def scaled(part: Tensor) -> Tensor:
        latents = (part.float() * vae.config.scaling_factor).cpu()
        return latents.reshape(*log_mels.shape[:-2], *latents.shape[1:])

    return scaled(posterior.mean), scaled(posterior.std)


class LatentShards(Shards):
    """Encoded crops: ``stems``, ``mixture`` and ``coherent`` as in ``LatentBatch``.

    Arguments are those of ``Shards``, and the autoencoder.
    """

    def __init__(self, *arguments: Any, vae: Any, **options: Any) -> None:
        self.vae = vae
        super().__init__(*arguments, networks=[vae], **options)

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        log_mels, coherent = self._log_mels(count, rng)
        latents = self._side_by_side(encode_mels(self.vae, log_mels, self.bfloat16))
        return {"stems": latents[:, :-1], "mixture": latents[:, -1], "coherent": coherent}

    def _log_mels(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Log-mels (N, S + 1, F, M), in stereo (N, S + 1, 2, F, M), and coherence (N,)."""
        crops = self.draw(count, rng)
        stem_mels, mixture_mel = mix_mels(self.log_mel, crops.waveforms, self.settings, rng)
        log_mels = torch.cat([stem_mels, mixture_mel[:, None]], dim=1)
        return log_mels, crops.coherent

    def _side_by_side(self, latents: Tensor) -> Tensor:
        """Half precision for the disk; in stereo (N, S + 1, 2, C, H, W) both channels on C."""
        return (latents.flatten(2, 3) if self.channels > 1 else latents).half()

    def stem_means(self, index: int) -> Tensor:
        """The stems' mean latents (N, S, C, H, W) in shard ``index``, in half precision."""
        return self.shard(index)["stems"]

    def latents(self, step: int, batch_size: int, rng: np.random.Generator) -> LatentBatch:
        """``batch`` as a ``LatentBatch``."""
        return LatentBatch(**self.batch(step, batch_size, rng))


class PosteriorShards(LatentShards):
    """As ``LatentShards``, with the posteriors' standard deviations: latents are drawn anew at
    every use (the paper draws them, the mixture's too)."""

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        log_mels, coherent = self._log_mels(count, rng)
        mean, std = map(self._side_by_side, encode_posterior(self.vae, log_mels, self.bfloat16))
        return {"mean": mean, "std": std, "coherent": coherent}

    def stem_means(self, index: int) -> Tensor:
        return self.shard(index)["mean"][:, :-1]

    def latents(self, step: int, batch_size: int, rng: np.random.Generator) -> LatentBatch:
        batch = self.batch(step, batch_size, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(batch["mean"].shape, generator=generator)
        latents = batch["mean"] + batch["std"] * noise
        return LatentBatch(latents[:, :-1], latents[:, -1], batch["coherent"])
