"""What a run leaves: the one file from which it goes on, and exports beside the last one.

The file is always a whole state, the last or the one before. Kept exports are parts to assemble,
``kept/step_…`` and ``kept/best``; every process must call ``keep_…`` with its ``TrainingRun``.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stemweave.errors import InputError
from stemweave.training.placement import agreed

CHECKPOINT = "checkpoint.pt"
"""Its name in a run's folder."""


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` beside the old file, flush it to the disk, then rename over it.

    Killed at any moment, the process leaves the old file or the new one. A file that the disk has
    no room for is removed; raises ``InputError`` then.
    """
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch's writer wraps what the disk says
        partial.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, survives a power cut
    finally:
        os.close(folder)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """State that ``write_checkpoint`` wrote, on the CPU; nothing in the file is executed.

    Raises ``InputError`` if the file is damaged or is no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file raises depends on its bytes
        raise InputError(
            f"checkpoint {path} is damaged: restore it from a copy, or delete it to start anew"
        ) from error
    if not isinstance(state, dict) or "step" not in state:
        raise InputError(
            f"{path} is not a training checkpoint: delete it or choose another run folder"
        )
    return state


def not_finite(what: str, step: int, checkpoint: Path) -> str:
    """The sentence for a loss, gradient or weight that is not finite."""
    kept = f"the last good checkpoint is {checkpoint}"
    if not checkpoint.exists():
        kept = "there is no checkpoint yet"
    return (
        f"the {what} is not finite at step {step}; {kept}: lower the learning rate and start again"
    )


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
            for path in sorted((run.folder / "kept").glob("step_*[0-9]"))[: -settings.keep_last]:
                forever = settings.keep_every_steps
                if not forever or int(path.name.removeprefix("step_")) % forever:
                    shutil.rmtree(path)


def keep_best(run: Any, figures: Mapping[str, float]) -> None:
    """Keep this export if its figure of validation is the best so far.

    Raises ``InputError`` if validation has no such figure.
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
