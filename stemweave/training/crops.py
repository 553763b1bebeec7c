"""Cached crops of a stage: of the training songs and of the validation songs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from stemweave.data.mixing import PLAIN, MixSettings
from stemweave.data.shards import ShardPlan, Shards
from stemweave.data.tar_songs import Songs
from stemweave.models.log_mel import LogMel
from stemweave.training.settings import RunSettings
from stemweave.training.stage_settings import ShardedSettings

VALIDATION_CROPS, VALIDATION_SEED = 64, 1

AnyShards = TypeVar("AnyShards", bound=Shards)


def train_and_validation(
    kind: type[AnyShards],
    run: RunSettings,
    stage: ShardedSettings,
    songs: tuple[Songs, Songs],
    **own: Any,
) -> tuple[AnyShards, AnyShards]:
    """Shards of a ``kind`` for both, with arguments of its ``own``.

    Validation has one shard, of crops that depend on nothing that a run may vary: at the level of
    training, unmixed and unfiltered, with a seed of their own. Equal weights give equal figures.
    """
    log_mel = LogMel(**run.log_mel.model_dump())
    mixing = MixSettings(**run.mixing.model_dump())
    plan = ShardPlan(
        stage.crop_frames,
        stage.shard_size,
        stage.window_shards,
        stage.first_shards,
        stage.steps_per_shard,
    )
    plain = replace(PLAIN, reference_rms=mixing.reference_rms, clip_mixture=mixing.clip_mixture)
    one_shard = replace(plan, first_window=1, shard_size=VALIDATION_CROPS)

    def shards(some: Songs, mixed: MixSettings, planned: ShardPlan, seed: int) -> AnyShards:
        about = (run.cache, some, log_mel, run.stems, mixed, planned)
        return kind(*about, seed=seed, channels=run.channels, **own)

    train, validation = songs
    return (
        shards(train, mixing, plan, run.seed),
        shards(validation, plain, one_shard, VALIDATION_SEED),
    )
