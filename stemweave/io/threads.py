"""How many threads compute and how they wait, decided before torch is loaded.

Must import nothing that loads torch: its OpenMP reads the environment once, when it is loaded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

SPINS = "1000"
"""Turns of a loop in which a thread waits for the others before it sleeps.

GNU OpenMP's own 300,000 take a core from whoever needs it, e.g. from the thread that is waited for.
"""
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def prepare_threads() -> None:
    """Set OpenMP's environment for this process and those that it starts.

    Threads that wait go to sleep early, and a container's share of the processors limits their
    number. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if usable_cores() < _allowed_cores():  # OpenMP knows the allowed ones
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


def usable_cores() -> int:
    """Cores of this machine that this process may use, by affinity and by its control groups.

    Part of a core counts as one.
    """
    quotas = list(_quotas())
    return max(1, min([_allowed_cores(), *(math.ceil(quota) for quota in quotas)]))


def _allowed_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas() -> Iterator[float]:
    """Cores' worth of time that each control group of this process, or above it, may use."""
    try:
        memberships = MEMBERSHIP.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for folder in _upwards(CGROUPS, path):
                yield from _quota_of((folder / "cpu.max",))
        elif "cpu" in controllers.split(","):
            for name in ("cpu", controllers):
                for folder in _upwards(CGROUPS / name, path):
                    files = folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"
                    yield from _quota_of(files)


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """The folder of a control group and those above it; in a container ``path`` may be absent."""
    folder = root / path.strip("/")
    yield folder
    while folder != root:
        folder = folder.parent
        yield folder


def _quota_of(files: tuple[Path, ...]) -> Iterator[float]:
    """Microseconds of processor time over the period's; nothing if there is no limit."""
    try:
        quota_us, period_us = " ".join(file.read_text() for file in files).split()
        if int(quota_us) > 0 and int(period_us) > 0:
            yield int(quota_us) / int(period_us)
    except (OSError, ValueError):  # "max 100000" is no limit
        return
