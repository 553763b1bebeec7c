"""What a stage of training is to the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from stemweave.training.stage_settings import StageSettings


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
