"""Cached crops of a stage: of the training songs and of the validation songs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from stemweave.data.mixing import PLAIN, MixSettings
from stemweave.data.shards import ShardPlan, Shards
from stemweave.data.tar_songs import Songs
from stemweave.training.settings import RunSettings
from stemweave.training.stage_settings import ShardedSettings

VALIDATION_CROPS, VALIDATION_SEED = 64, 1

AnyShards = TypeVar("AnyShards", bound=Shards)


def train_and_validation(
    make: Callable[[Songs, MixSettings, ShardPlan, int], AnyShards],
    settings: RunSettings,
    stage: ShardedSettings,
    train: Songs,
    validation: Songs,
) -> tuple[AnyShards, AnyShards]:
    """``make(songs, mixing, plan, seed)`` for both.

    Validation has one shard, of crops that depend on nothing that a run may vary: at the level of
    training, unmixed and unfiltered, with a seed of their own. Equal weights give equal figures.
    """
    mixing = MixSettings(**settings.mixing.model_dump())
    plan = ShardPlan(
        stage.crop_frames,
        stage.shard_size,
        stage.window_shards,
        stage.first_shards,
        stage.steps_per_shard,
    )
    plain = replace(PLAIN, reference_rms=mixing.reference_rms, clip_mixture=mixing.clip_mixture)
    one_shard = replace(plan, first_window=1, shard_size=VALIDATION_CROPS)
    return (
        make(train, mixing, plan, settings.seed),
        make(validation, plain, one_shard, VALIDATION_SEED),
    )
