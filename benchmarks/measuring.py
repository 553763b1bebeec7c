"""Wall-clock time and peak memory of calls and of whole processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class ProcessRun:
    """Seconds from start to end, the largest resident memory (MB, of one process), the output."""

    seconds: float
    peak_mb: float
    output: str


def run_python(*arguments: str | Path) -> ProcessRun:
    """``python ARGUMENTS`` in the repository, timed.

    Raises:
        RuntimeError: with what it wrote if it fails.
    """
    command = [sys.executable, *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {errors.read()[-2000:]}")
        return ProcessRun(seconds, usage.ru_maxrss / 1024, output.read())


def times_s(call: Callable[[], object], repeats: int, warm_up: int = 1) -> list[float]:
    """Seconds of each of ``repeats`` calls, after ``warm_up`` that are not counted."""
    for _ in range(warm_up):
        call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def median_s(call: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds of ``repeats`` calls after one that warms up."""
    return statistics.median(times_s(call, repeats))


def medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median of every key over ``rows``, in the first one's order."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def peak_mb() -> float:
    """Largest resident memory since the last ``forget_peak`` (Linux; 0 elsewhere)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def forget_peak() -> None:
    """Let ``peak_mb`` begin at what is resident now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; the first column is text, numbers stand right."""
    lines = [
        "| " + " | ".join(columns) + " |",
        "|---" + "|---:" * (len(columns) - 1) + "|",
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]
    return "\n".join(lines)
