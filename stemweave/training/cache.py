"""Crops prepared ahead of training, by many workers: what training would make on its way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from accelerate import init_empty_weights

from stemweave.data.shards import Shards
from stemweave.errors import InputError
from stemweave.io.jobs import Workers, map_jobs
from stemweave.training.finetune import load_base, resolved
from stemweave.training.identity import check_parts
from stemweave.training.networks import load_component
from stemweave.training.settings import load_settings
from stemweave.training.stage_denoiser import DenoiserStage
from stemweave.training.stage_refiner import RefinerStage
from stemweave.training.start import load_songs


@dataclass(frozen=True)
class CacheSource:
    """What prepared crops depend on.

    ``stage`` is denoiser or refiner. Without ``vae``, which the refiner's crops do not need, the
    autoencoder is that of the model which the settings train further. Relative paths, those in the
    configuration too, start from ``started_in``. ``changes`` are those of ``load_settings``.
    """

    config: Path
    stage: str
    vae: Path | None
    started_in: Path = Path()
    changes: tuple[str, ...] = ()

    def load(self) -> DenoiserStage | RefinerStage:
        """The stage that will train on the crops; its own network has no weights."""
        settings = load_settings(self.config, changes=self.changes)
        base = load_base(settings)
        if base is not None:
            settings = resolved(settings, base, masks=self.stage == "refiner")
        songs = load_songs(settings, quiet=True)
        if self.stage == "refiner":
            with init_empty_weights(include_buffers=False):
                return RefinerStage(settings, *songs)
        if self.vae is not None:
            vae = load_component("vae", self.vae)
        elif base is not None:
            vae = base.vae
        else:
            raise InputError(
                f"{self.config} trains no existing model further: give a trained autoencoder"
            )
        check_parts(settings, vae=vae)
        with init_empty_weights(include_buffers=False):
            return DenoiserStage(settings, *songs, vae)


@dataclass(frozen=True)
class ShardJob:
    """One shard of crops."""

    source: CacheSource
    of_validation: bool
    index: int


@lru_cache(maxsize=1)
def _worker_stage(source: CacheSource) -> DenoiserStage | RefinerStage:
    torch.set_num_threads(1)  # workers are many, each on one core
    os.chdir(source.started_in)
    return source.load()


def make_shard(job: ShardJob) -> Path:
    """Prepare one shard, if another worker has not."""
    stage = _worker_stage(job.source)
    shards: Shards = stage.validation_shards if job.of_validation else stage.shards
    return shards.prepare(job.index)


def cache_crops(
    source: CacheSource, num_shards: int | None, workers: Workers
) -> tuple[int, int, Path]:
    """Prepare the shards that training will draw from, and the validation shard.

    Args:
        num_shards: None for as many as the stage's number of steps needs.

    Returns:
        Shards made, shards that were there already, and the training shards' folder.

    Raises ``InputError`` as training would, for settings, songs and networks.
    """
    stage = source.load()
    count = num_shards or stage.shards.plan.num_shards(stage.settings.steps)
    wanted: list[tuple[Shards, bool, int]] = [(stage.validation_shards, True, 0)]
    wanted += [(stage.shards, False, index) for index in range(count)]
    missing = [
        ShardJob(source, own, index)
        for shards, own, index in wanted
        if not shards.path(index).exists()
    ]
    made = sum(1 for _ in map_jobs(make_shard, missing, workers, len(missing)))
    return made, len(wanted) - made, stage.shards.folder
