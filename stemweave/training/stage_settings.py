"""Settings that several stages of training have: optimiser, steps, cached crops."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimiserSettings(Strict):
    """Adam, AdamW or Muon with linear warm-up, then constant or cosine to zero at ``steps``."""

    kind: Literal["adam", "adamw", "muon"] = "adamw"
    learning_rate: float = 3e-4
    learning_rates: dict[str, float] = Field(
        {}, description="of parts of the network by name that have their own, e.g. conditions"
    )
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup_steps: int = 200
    warmup_from_zero: bool = Field(
        False, description="the first step's learning rate is 0, not a share of the full one"
    )
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_norm: float = 1.0
    ema_decay: float = Field(0.999, ge=0, lt=1)


class StageSettings(Strict):
    """What every stage has."""

    model: dict[str, Any] = {}
    optimiser: OptimiserSettings = OptimiserSettings()
    crop_frames: int = 256
    batch_size: int = Field(16, ge=1, description="per process and accumulation step")
    accumulation_steps: int = Field(1, ge=1)
    steps: int = Field(10_000, ge=1)
    save_every_minutes: float = 10.0
    validate_every_steps: int = 500
    log_every_steps: int = 20
    examples: int = Field(2, ge=0, description="to hear and see, logged at every validation")


class ShardedSettings(StageSettings):
    """A stage that trains on cached crops; see ``data.shards.ShardPlan``."""

    window_shards: int = 64
    first_shards: int = 8
    steps_per_shard: int = 64
    shard_size: int = 256
