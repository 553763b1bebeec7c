"""What is logged: means over micro-batches, steps and processes, pace and memory."""

from __future__ import annotations

import resource
import time
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


class Clock:
    """Time that a run has taken in all, and its pace.

    Args:
        seconds: it had taken before.
        step: it goes on from.
    """

    def __init__(self, seconds: float, step: int) -> None:
        self._began = self._line_at = time.monotonic()
        self._before, self._step = seconds, step

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def figures(self, step: int, steps: int) -> dict[str, float]:
        """Of a line at ``step`` of ``steps``: what went by since the last one is the pace."""
        now = time.monotonic()
        rate = (step - self._step) / max(now - self._line_at, 1e-9)
        self._line_at, self._step = now, step
        return {
            "minutes": self.seconds / 60,
            "steps_per_second": rate,
            "minutes_to_go": (steps - step) / max(rate, 1e-9) / 60,
        }


def peak_memory_gb(device: torch.device) -> float:
    """The most that was used so far, of 2³⁰ bytes: of a GPU's memory, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
