"""Cached crops of a stage: of the training songs and of the validation songs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from stemweave.data.mixing import MixSettings
from stemweave.data.shards import ShardPlan, Shards
from stemweave.data.tar_songs import Songs
from stemweave.training.settings import RunSettings
from stemweave.training.stage_settings import ShardedSettings

AnyShards = TypeVar("AnyShards", bound=Shards)


def train_and_validation(
    make: Callable[[Songs, MixSettings, ShardPlan, int], AnyShards],
    settings: RunSettings,
    stage: ShardedSettings,
    train: Songs,
    validation: Songs,
) -> tuple[AnyShards, AnyShards]:
    """``make(songs, mixing, plan, seed)`` for both; validation needs one shard only."""
    mixing = MixSettings(**settings.mixing.model_dump())
    plan = ShardPlan(
        stage.crop_frames,
        stage.shard_size,
        stage.window_shards,
        stage.first_shards,
        stage.steps_per_shard,
    )
    one_shard = replace(plan, first_window=1)
    return (
        make(train, mixing, plan, settings.seed),
        make(validation, mixing, one_shard, settings.seed + 1),
    )
