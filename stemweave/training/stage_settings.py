"""What a stage of training is to the loop, and settings that several have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn

MOST = 1e9
"""No number of the settings is larger that has no bound of its own."""

MOST_OF_A_NETWORK = 1e6
"""No number that describes a network is larger; whole ones are not negative."""


class Strict(BaseModel):
    """Settings without surprises: unknown keys, negative, endless and repeated values are errors.

    A field with bounds of its own has those instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _is_bounded(self) -> Strict:
        for name, field in type(self).model_fields.items():
            value, bounds = getattr(self, name), {type(one).__name__ for one in field.metadata}
            least = float("-inf") if bounds & {"Ge", "Gt"} else 0
            most = float("inf") if bounds & {"Le", "Lt"} or name == "clip_norm" else MOST
            values = value if isinstance(value, list | tuple) else [value]
            for one in values:
                if isinstance(one, int | float) and not least <= one <= most:
                    raise ValueError(f"{name} must be {least:g} to {most:g}, not {one:g}")
            if values is not value:
                continue
            names = [str(one) for one in values if isinstance(one, str | Path)]
            if len(set(names)) < len(names) or "" in names:
                raise ValueError(f"{name} must be different names, not {', '.join(names)}")
        return self


Share = Annotated[float, Field(ge=0, lt=1)]


class OptimiserSettings(Strict):
    """Adam, AdamW or Muon with linear warm-up, then constant or cosine to zero at ``steps``."""

    kind: Literal["adam", "adamw", "muon"] = "adamw"
    learning_rate: float = 3e-4
    learning_rates: dict[str, Annotated[float, Field(ge=0, le=MOST)]] = Field(
        {}, description="of parts of the network by name that have their own, e.g. conditions"
    )
    betas: tuple[Share, Share] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0, le=100)
    warmup_steps: int = 200
    warmup_from_zero: bool = Field(
        False, description="the first step's learning rate is 0, not a share of the full one"
    )
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_norm: float = Field(1.0, gt=0, description="of the gradient; .inf clips nothing")
    ema_decay: float = Field(0.999, ge=0, lt=1)
    first_share: Share = Field(
        0.0, description="of the weights that training begins with in what is exported"
    )


class StageSettings(Strict):
    """What every stage has."""

    model: dict[str, Any] = {}
    optimiser: OptimiserSettings = OptimiserSettings()
    crop_frames: int = Field(256, ge=1)
    batch_size: int = Field(16, ge=1, description="per process and accumulation step")
    accumulation_steps: int = Field(1, ge=1)
    steps: int = Field(10_000, ge=0, description="0 exports the weights it begins with")
    save_every_minutes: float = 10.0
    keep_every_steps: int = Field(0, description="exports in kept/ for good; 0 keeps none")
    keep_last: int = Field(0, description="of the exports at every save, in kept/")
    keep_best: str = Field(
        "",
        description="figure of validation whose least value's export is in kept/best; -NAME: most",
    )
    validate_every_steps: int = Field(500, ge=1)
    log_every_steps: int = Field(20, ge=1)
    examples: int = Field(2, ge=0, description="to listen to, logged at every validation")

    @field_validator("model")
    @classmethod
    def _is_bounded_throughout(cls, model: dict[str, Any]) -> dict[str, Any]:
        for name, value in model.items():
            for one in value if isinstance(value, list | tuple) else [value]:
                least = 0 if isinstance(one, int) else -MOST_OF_A_NETWORK
                if isinstance(one, int | float) and not least <= one <= MOST_OF_A_NETWORK:
                    bounds = f"{least:g} to {MOST_OF_A_NETWORK:g}"
                    raise ValueError(f"{name} must be {bounds}, not {one:g}")
        return model


class ShardedSettings(StageSettings):
    """A stage that trains on cached crops; see ``data.shards.ShardPlan``."""

    window_shards: int = Field(64, ge=1)
    first_shards: int = Field(8, ge=1)
    steps_per_shard: int = Field(64, ge=1)
    shard_size: int = Field(256, ge=1)


class Stage(Protocol):
    """What the loop needs to know of a stage.

    A stage may also have ``examples(network) -> dict[str, Example]`` with averaged weights;
    ``keep_start(folder)``, which writes what it begins with and a resumed run needs; and
    ``is_spent``, whether what it may take is used up: the run ends after the current step.
    """

    network: Any

    @property
    def settings(self) -> StageSettings:
        """Steps, batch, optimiser."""
        ...

    def loss(
        self, network: nn.Module, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss of one micro-batch and figures for the log."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on held-out data, with averaged weights."""
        ...

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the averaged weights as a model component."""
        ...
