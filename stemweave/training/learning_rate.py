"""How the learning rate rises and falls."""

from __future__ import annotations

import math
from collections.abc import Callable

from stemweave.training.stage_settings import OptimiserSettings


def learning_rate_factor(settings: OptimiserSettings, num_steps: int) -> Callable[[int], float]:
    """Step → factor of the learning rate: linear warm-up, then constant or cosine."""

    def factor(step: int) -> float:
        done = step if settings.warmup_from_zero else step + 1
        warm = min(1.0, done / max(settings.warmup_steps, 1))
        if settings.schedule == "constant":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(step / num_steps, 1.0)))

    return factor
