"""The one file from which a run goes on: always a whole state, the last or the one before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from stemweave.errors import InputError

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

    Raises:
        InputError: if the file is damaged or is no checkpoint.
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
