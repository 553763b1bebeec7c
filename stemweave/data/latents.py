"""Training crops as latents of the autoencoder, for the denoiser."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.data.mixing import Crops, mix_mels
from stemweave.data.shards import Arrays, Shards, digest_of
from stemweave.data.song_conditions import read_song_conditions
from stemweave.data.songs import Song
from stemweave.models.conditions import Conditions, conditions_of, nothing_known
from stemweave.music.rolls import WIDTHS, roll_columns

CONDITION = "condition_"
"""Before the names of ``Conditions`` in a shard."""
EXTRA = "extra_"
"""Before the names of what users' functions say."""
LAYOUT = 2
"""Of their tensors: shards of another one are made anew."""

ExtraCondition = Callable[[Song, float, float], Any]


@dataclass
class LatentBatch:
    """Scaled latents of stems (N, S, C, H, W) and of mixtures (N, C, H, W); coherence (N,) bool.

    In stereo, C holds the latents of the left channel, then those of the right. ``conditions`` are
    all that is known of the crops, None for a denoiser that has none; ``extra`` (N, …) is what
    users' own functions say of them.
    """

    stems: Tensor
    mixture: Tensor
    coherent: Tensor
    conditions: Conditions | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> LatentBatch:
        """Latents on ``device``; the rest stays: it decides what is drawn, or is drawn from."""
        extra = {name: tensor.to(device) for name, tensor in self.extra.items()}
        return replace(
            self, stems=self.stems.to(device), mixture=self.mixture.to(device), extra=extra
        )

    def part(self, samples: slice) -> LatentBatch:
        conditions = self.conditions.part(samples) if self.conditions is not None else None
        extra = {name: tensor[samples] for name, tensor in self.extra.items()}
        tensors = self.stems[samples], self.mixture[samples], self.coherent[samples]
        return LatentBatch(*tensors, conditions, extra)


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

    Args:
        denoiser_config: of a denoiser with conditions; without one, crops have none.
        extra: functions of (song, start_s, duration_s) that make tensors of one shape. What
            they say is kept with a crop; of incoherent ones and of other speeds it is zeros.
    """

    def __init__(
        self,
        *arguments: Any,
        vae: Any,
        denoiser_config: Mapping[str, Any] | None = None,
        extra: Mapping[str, ExtraCondition] = {},
        **options: Any,
    ) -> None:
        self.vae, self.denoiser_config, self.extra = vae, denoiser_config, extra
        super().__init__(*arguments, networks=[vae], **options)

    def _own_description(self) -> dict[str, Any]:
        own = {name: inspect.getsource(function) for name, function in self.extra.items()}
        extra = {"extra": own} if own else {}
        if self.denoiser_config is None:
            return extra
        words = self.denoiser_config["vocabulary"]
        sounds = {stem: list(names) for stem, names in words["sounds"].items()}
        named = {"styles": words["styles"], "instruments": words["instruments"], "sounds": sounds}
        return {"conditions": Conditions._fields, "layout": LAYOUT, **named, **extra}

    def meaning(self) -> dict[str, Any]:
        """What a network must know to be trained on these crops, wherever they come from."""
        front_end = {k: v for k, v in self.log_mel.config.items() if not k.startswith("_")}
        return {
            "log_mel": front_end,
            "stems": self.stems,
            "channels": self.channels,
            "crop_frames": self.plan.crop_frames,
            "autoencoder": digest_of(None, [self.vae]),
            **self._own_description(),
        }

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        log_mels, crops = self._log_mels(count, rng)
        latents = self._side_by_side(encode_mels(self.vae, log_mels, self.bfloat16))
        own = {"stems": latents[:, :-1], "mixture": latents[:, -1], "coherent": crops.coherent}
        return own | self._known(crops, latents.shape[-2])

    def _known(self, crops: Crops, height: int) -> Arrays:
        """Conditions and what users' functions say of ``crops``, as a shard holds them."""
        duration_s = crops.waveforms.shape[-1] / self.log_mel.config.sample_rate
        known: Arrays = {}
        if (conditions := self.conditions(crops, height)) is not None:
            small = conditions._replace(rows=conditions.rows.half())
            known = {CONDITION + name: tensor for name, tensor in small._asdict().items()}
        for name, function in self.extra.items():
            rows = []
            for coherent, (song, start_s, speed) in zip(crops.coherent, crops.places, strict=True):
                said = torch.as_tensor(function(song, start_s, duration_s)).float()
                rows.append(said if coherent and speed == 1 else said * 0)
            known[EXTRA + name] = torch.stack(rows)
        return known

    def conditions(self, crops: Crops, height: int) -> Conditions | None:
        """What is known of ``crops`` of H positions, nothing of incoherent ones; None without
        ``denoiser_config``.
        """
        if self.denoiser_config is None:
            return None
        position_s = crops.waveforms.shape[-1] / height / self.log_mel.config.sample_rate
        known = []
        for waveforms, coherent, (song, start_s, speed) in zip(
            crops.waveforms, crops.coherent, crops.places, strict=True
        ):
            if not coherent or speed != 1:
                known.append(nothing_known(1, len(self.stems), height))
                continue
            of_song = read_song_conditions(song.folder)
            where = (start_s, height, position_s)
            known_of_song = (of_song.sheet, of_song.notes, *where, of_song.sounds)
            one = conditions_of(self.denoiser_config, *known_of_song)
            for stem, waveform in zip(self.stems, waveforms, strict=True):
                if stem in WIDTHS and not waveform.any():  # left out of the mixture
                    one.roll[..., roll_columns(stem)] = 0
            known.append(one)
        return Conditions(*(torch.cat(parts) for parts in zip(*known, strict=True)))

    def _log_mels(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Crops]:
        """Log-mels (N, S + 1, F, M), in stereo (N, S + 1, 2, F, M), and the crops."""
        crops = self.draw(count, rng)
        stem_mels, mixture_mel = mix_mels(self.log_mel, crops.waveforms, self.settings, rng)
        log_mels = torch.cat([stem_mels, mixture_mel[:, None]], dim=1)
        return log_mels, crops

    def _side_by_side(self, latents: Tensor) -> Tensor:
        """Half precision for the disk; in stereo (N, S + 1, 2, C, H, W) both channels on C."""
        return (latents.flatten(2, 3) if self.channels > 1 else latents).half()

    def stem_means(self) -> Tensor:
        """The stems' mean latents (N, S, C, H, W) in the first shard, in half precision."""
        return self.shard(0)["stems"]

    def latents(self, step: int, batch_size: int, rng: np.random.Generator) -> LatentBatch:
        """``batch`` as a ``LatentBatch``."""
        batch = self.batch(step, batch_size, rng)
        return LatentBatch(batch["stems"], batch["mixture"], batch["coherent"], *_known_in(batch))


def _known_in(batch: Arrays) -> tuple[Conditions | None, dict[str, Tensor]]:
    def named(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in batch.items() if k.startswith(prefix)}

    conditions = named(CONDITION)
    return Conditions(**conditions) if conditions else None, named(EXTRA)


class PosteriorShards(LatentShards):
    """As ``LatentShards``, with the posteriors' standard deviations: latents are drawn anew at
    every use (the paper draws them, the mixture's too)."""

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        log_mels, crops = self._log_mels(count, rng)
        mean, std = map(self._side_by_side, encode_posterior(self.vae, log_mels, self.bfloat16))
        own = {"mean": mean, "std": std, "coherent": crops.coherent}
        return own | self._known(crops, mean.shape[-2])

    def stem_means(self) -> Tensor:
        return self.shard(0)["mean"][:, :-1]

    def latents(self, step: int, batch_size: int, rng: np.random.Generator) -> LatentBatch:
        batch = self.batch(step, batch_size, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(batch["mean"].shape, generator=generator)
        latents = batch["mean"] + batch["std"] * noise
        return LatentBatch(latents[:, :-1], latents[:, -1], batch["coherent"], *_known_in(batch))
