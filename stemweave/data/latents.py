"""A cache of encoded crops in shards, made on demand and the same for every seed.

Encoding (STFT, mel, autoencoder) costs as much as a training step, so each encoded crop is used
several times: training draws from a sliding window of shards that moves on with the step number.
Shard k is a function of (songs, settings, autoencoder, seed, k) alone, whoever makes it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stemweave.audio.log_mel import LogMel
from stemweave.data.mixing import MixSettings, draw_crops, mix_mels
from stemweave.data.songs import Song
from stemweave.models.vae import PatchVAE


@dataclass
class LatentBatch:
    """Scaled latents of stems (N, S, C, H, W) and of mixtures (N, C, H, W); coherence (N,) bool."""

    stems: Tensor
    mixture: Tensor
    coherent: Tensor


def encode_mels(vae: PatchVAE, log_mels: Tensor, bfloat16: bool = True) -> Tensor:
    """Posterior means times the scaling factor (..., C, H, W) of log-mels (..., F, M)."""
    flat = log_mels.reshape(-1, 1, *log_mels.shape[-2:])
    with torch.inference_mode(), torch.autocast(flat.device.type, torch.bfloat16, bfloat16):
        latents = vae.encode(flat).latent_dist.mean * vae.config.scaling_factor
    return latents.float().reshape(*log_mels.shape[:-2], *latents.shape[1:])


class LatentShards:
    """Encoded crops of ``songs``, on disk below ``folder`` and in memory as far as needed.

    Args:
        folder: cache root; a sub-folder is named after everything the content depends on.
        crop_frames: mel frames of one crop.
        shard_size: crops in a shard.
        window: training draws from this many newest shards.
        first_window: shards that exist before the first step.
        steps_per_shard: the window moves on by one shard after this many steps.
    """

    def __init__(
        self,
        folder: Path,
        songs: Sequence[Song],
        log_mel: LogMel,
        vae: PatchVAE,
        stems: Sequence[str],
        settings: MixSettings,
        *,
        crop_frames: int,
        seed: int = 0,
        shard_size: int = 256,
        window: int = 64,
        first_window: int = 8,
        steps_per_shard: int = 64,
    ) -> None:
        self.songs, self.log_mel, self.vae, self.stems = list(songs), log_mel, vae, tuple(stems)
        self.settings, self.crop_frames, self.seed = settings, crop_frames, seed
        self.shard_size, self.window = shard_size, window
        self.first_window, self.steps_per_shard = first_window, steps_per_shard
        self.folder = folder / self._fingerprint()
        self._loaded: OrderedDict[int, LatentBatch] = OrderedDict()

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        description = {
            "songs": [str(song.folder.resolve()) for song in self.songs],
            "log_mel": {k: v for k, v in self.log_mel.config.items() if not k.startswith("_")},
            "stems": self.stems,
            "settings": asdict(self.settings),
            "crop_frames": self.crop_frames,
            "seed": self.seed,
            "shard_size": self.shard_size,
        }
        digest.update(json.dumps(description, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.vae.state_dict().items()):
            digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def build(self, index: int) -> LatentBatch:
        """Encode shard ``index`` from audio; the same bits at every call."""
        rng = np.random.default_rng([self.seed, index])
        num_samples = self.crop_frames * self.log_mel.config.hop_length
        sample_rate = self.log_mel.config.sample_rate
        parts: list[LatentBatch] = []
        for start in range(0, self.shard_size, 16):
            count = min(16, self.shard_size - start)
            crops = draw_crops(
                self.songs, self.stems, count, num_samples, sample_rate, self.settings, rng
            )
            stem_mels, mixture_mel = mix_mels(self.log_mel, crops.waveforms, self.settings, rng)
            mels = torch.cat([stem_mels, mixture_mel[:, None]], dim=1)
            latents = encode_mels(self.vae, mels).half()
            parts.append(LatentBatch(latents[:, :-1], latents[:, -1], crops.coherent))
        return _concatenate(parts)

    def shard(self, index: int) -> LatentBatch:
        """Shard ``index`` from memory, disk, or made now and kept on disk."""
        if index in self._loaded:
            self._loaded.move_to_end(index)
            return self._loaded[index]
        path = self.folder / f"shard_{index:06d}.safetensors"
        if path.exists():
            arrays = load_file(path)
            batch = LatentBatch(arrays["stems"], arrays["mixture"], arrays["coherent"].bool())
        else:
            batch = self.build(index)
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            arrays = {
                "stems": batch.stems.contiguous(),
                "mixture": batch.mixture.contiguous(),
                "coherent": batch.coherent.to(torch.uint8),
            }
            save_file(arrays, partial)
            partial.rename(path)
        self._loaded[index] = batch
        while len(self._loaded) > self.window:
            self._loaded.popitem(last=False)
        return batch

    def batch(self, step: int, batch_size: int, rng: np.random.Generator) -> LatentBatch:
        """Crops for ``step``, drawn from the shards whose turn it is, as float32."""
        newest = self.first_window + step // self.steps_per_shard
        oldest = max(0, newest - self.window)
        picks = rng.integers(oldest * self.shard_size, newest * self.shard_size, batch_size)
        rows = []
        for pick in picks:
            shard, row = self.shard(int(pick) // self.shard_size), int(pick) % self.shard_size
            rows.append(
                LatentBatch(
                    shard.stems[row : row + 1].float(),
                    shard.mixture[row : row + 1].float(),
                    shard.coherent[row : row + 1],
                )
            )
        return _concatenate(rows)


def _concatenate(batches: Sequence[LatentBatch]) -> LatentBatch:
    return LatentBatch(
        torch.cat([batch.stems for batch in batches]),
        torch.cat([batch.mixture for batch in batches]),
        torch.cat([batch.coherent for batch in batches]),
    )
