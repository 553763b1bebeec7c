"""Waiting for what another process does."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """What ``condition`` returns as soon as it is true; fails after ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{condition.__name__}: not within {seconds} s")


def is_being_written(folder: Path, stem: str) -> bool:
    """Whether a file of ``stem`` is half-written anywhere below ``folder``.

    ``glob`` fails on folders that come and go beneath it; ``os.walk`` passes over them.
    """
    return any(
        name.startswith(stem)
        for inside, _, names in os.walk(folder)
        for name in names
        if ".partial" in Path(inside).parts
    )
