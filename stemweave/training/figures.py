"""What is logged: means over micro-batches, steps and processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class Means:
    """Means of figures, each over the times that it was there."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, figures: Mapping[str, float]) -> None:
        """Figures of one more time."""
        for name, value in figures.items():
            self._values.setdefault(name, []).append(value)

    def take(self, processes: int = 1) -> dict[str, float]:
        """The means since the last call; of several processes, in each, those of all."""
        gathered: list[Any] = [self._values]
        if processes > 1:
            gathered = [None] * processes
            torch.distributed.all_gather_object(gathered, self._values)
        self._values = {}
        names = dict.fromkeys(name for values in gathered for name in values)
        of_all = {n: [v for values in gathered for v in values.get(n, ())] for n in names}
        return {name: sum(values) / len(values) for name, values in of_all.items()}
