"""Where a run lies: in a given folder, or in one that is named by its stage and its settings."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from stemweave.errors import InputError
from stemweave.training.checkpoint import CHECKPOINT
from stemweave.training.identity import settings_of
from stemweave.training.settings import RunSettings

RUNS = Path("runs")
NOT_IN_THE_NAME = {
    "steps", "save_every_minutes", "keep_every_steps", "keep_last", "keep_best",
    "validate_every_steps", "log_every_steps", "examples",
}  # fmt: skip
"""Settings of a stage with which a run goes on as the same one."""
NAMED = re.compile(r"([a-z_]+)-[0-9a-f]{8}")


def run_folder(part: str, settings: RunSettings, given: Path | None = None) -> Path:
    """``given``, or ``runs/<part>-<hash>``: other settings, another run.

    A folder ``runs/<part>`` of an earlier version goes on where it is.
    """
    plain = RUNS / part
    if given is not None or (plain.is_dir() and not plain.is_symlink()):
        return given or plain
    named = {key: value for key, value in settings_of(settings, part).items() if key != "cache"}
    named[part] = {k: v for k, v in named[part].items() if k not in NOT_IN_THE_NAME}
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
    return RUNS / f"{part}-{digest[:8]}"


def name_last(folder: Path) -> None:
    """Let ``runs/<part>`` be a link to ``folder``, where it has such a name: it began last."""
    named = NAMED.fullmatch(folder.name)
    link = folder.with_name(named[1]) if named else folder
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)


def require_new(folder: Path, init: object) -> None:
    """Raise ``InputError`` if the run in ``folder``, to begin from ``init``, has begun before."""
    if init is not None and (folder / CHECKPOINT).exists():
        raise InputError(
            f"{folder} holds a training that goes on from its own checkpoint: give no weights to "
            "start from, or choose another run folder"
        )
