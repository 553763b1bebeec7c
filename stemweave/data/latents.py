"""Training crops as latents of the autoencoder, for the denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stemweave.audio.log_mel import LogMel
from stemweave.data.mixing import MixSettings, mix_mels
from stemweave.data.shards import Arrays, ShardPlan, Shards
from stemweave.data.songs import Song
from stemweave.models.vae import PatchVAE


@dataclass
class LatentBatch:
    """Scaled latents of stems (N, S, C, H, W) and of mixtures (N, C, H, W); coherence (N,) bool.

    In stereo, C holds the latents of the left channel, then those of the right.
    """

    stems: Tensor
    mixture: Tensor
    coherent: Tensor

    def part(self, samples: slice) -> LatentBatch:
        return LatentBatch(self.stems[samples], self.mixture[samples], self.coherent[samples])


def encode_mels(vae: PatchVAE, log_mels: Tensor, bfloat16: bool = True) -> Tensor:
    """Posterior means times the scaling factor (..., C, H, W) of log-mels (..., F, M)."""
    flat = log_mels.reshape(-1, 1, *log_mels.shape[-2:])
    with torch.inference_mode(), torch.autocast(flat.device.type, torch.bfloat16, bfloat16):
        latents = vae.encode(flat).latent_dist.mean * vae.config.scaling_factor
    return latents.float().reshape(*log_mels.shape[:-2], *latents.shape[1:])


class LatentShards(Shards):
    """Encoded crops: ``stems``, ``mixture`` and ``coherent`` as in ``LatentBatch``."""

    def __init__(
        self,
        folder: Path,
        songs: Sequence[Song],
        log_mel: LogMel,
        vae: PatchVAE,
        stems: Sequence[str],
        settings: MixSettings,
        plan: ShardPlan,
        *,
        seed: int = 0,
        channels: int = 1,
    ) -> None:
        super().__init__(
            folder,
            songs,
            log_mel,
            stems,
            settings,
            plan,
            seed=seed,
            networks=[vae],
            channels=channels,
        )
        self.vae = vae

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        crops = self.draw(count, rng)
        stem_mels, mixture_mel = mix_mels(self.log_mel, crops.waveforms, self.settings, rng)
        latents = encode_mels(self.vae, torch.cat([stem_mels, mixture_mel[:, None]], dim=1)).half()
        if self.channels > 1:
            latents = latents.flatten(2, 3)
        return {"stems": latents[:, :-1], "mixture": latents[:, -1], "coherent": crops.coherent}

    def latents(self, step: int, batch_size: int, rng: np.random.Generator) -> LatentBatch:
        """``batch`` as a ``LatentBatch``."""
        return LatentBatch(**self.batch(step, batch_size, rng))
