"""Exports that a run keeps beside the last one, each a part to assemble: ``kept/step_…``, ``best``.

Every process must call these functions with its ``loop.TrainingRun``.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemweave.errors import InputError
from stemweave.training.placement import agreed


def keep_every(run: Any) -> None:
    """Keep this step's export if it is one of every so many."""
    wanted = run.stage.settings.keep_every_steps
    if wanted and run.step % wanted == 0:
        run.export(_name(run.step))


def keep_last(run: Any) -> None:
    """Keep this export and the last ones before it."""
    settings = run.stage.settings
    if settings.keep_last:
        run.export(_name(run.step))
        if run.accelerator.is_main_process:
            _forget_older(run.folder / "kept", settings.keep_last, settings.keep_every_steps)


def keep_best(run: Any, figures: Mapping[str, float]) -> None:
    """Keep this export if its figure of validation is the best so far.

    Raises:
        InputError: if validation has no such figure.
    """
    wanted = run.stage.settings.keep_best
    if not wanted:
        return
    name, sign = wanted.removeprefix("-"), -1 if wanted.startswith("-") else 1
    is_main = run.accelerator.is_main_process
    value = sign * figures.get(name, math.nan)
    absent, better = agreed(
        run.accelerator, is_main and name not in figures, is_main and value < run.best
    )
    if absent:
        raise InputError(
            f"keep_best is {wanted}, but validation has {', '.join(figures) or 'no such figure'}"
        )
    if better:
        run.best = value
        run.export("kept/best")


def _name(step: int) -> str:
    return f"kept/step_{step:08d}"


def _forget_older(kept: Path, number: int, forever: int) -> None:
    for path in sorted(kept.glob("step_*[0-9]"))[:-number]:
        if not forever or int(path.name.removeprefix("step_")) % forever:
            shutil.rmtree(path)
