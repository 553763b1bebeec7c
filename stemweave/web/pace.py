"""How far a job is and how long it will still take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Pace:
    """Steps done, of how many.

    Attributes:
        part_began_s: when the present count of steps began; a job that separates a mixture before
            it edits it counts twice, each time at its own speed.
        last_s: when the last step ended.
    """

    part_began_s: float = 0.0
    last_s: float = 0.0
    step: int = 0
    steps: int | None = None

    def reach(self, step: int, steps: int, now_s: float) -> None:
        """Note progress."""
        if self.steps is not None and (steps != self.steps or step < self.step):
            self.part_began_s = self.last_s
        self.step, self.steps, self.last_s = step, steps, now_s

    def seconds_left(self, now_s: float) -> float | None:
        """From the mean speed of the present part; None before its first step has ended."""
        if not self.step or self.steps is None:
            return None
        per_step = (self.last_s - self.part_began_s) / self.step
        left_s = per_step * (self.steps - self.step) - (now_s - self.last_s)
        return round(max(left_s, 0.0), 1)
