"""How time and memory of ``stemweave separate`` grow with a file's length, files and processes.

Every run is the whole command. One hour and three are measured with ``--full`` alone, added to an
earlier result (all else is measured if there is none) and kept for later runs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import run_python, table
from benchmarks.results import RESULTS, load
from benchmarks.songs import WINDOW_S, write_song

SECONDS = (10.0, 60.0, 600.0)
LONG_SECONDS = (3600.0, 3 * 3600.0)
FILES = (1, 4, 16, 64)
WORKERS = (1, 2)
MOST_MB = 1.2 * 1024
"""Resident memory that is wanted for a file of any length."""
PICTURE = RESULTS / "growth.png"


def run(
    full: bool = False,
    seconds: Sequence[float] = SECONDS,
    files: Sequence[int] = FILES,
    workers: Sequence[int] = WORKERS,
    picture: Path = PICTURE,
) -> dict[str, Any]:
    """Seconds and peak MB of every run; also writes ``picture``."""
    earlier = load("growth")
    if full:
        result = with_long(earlier or run(False, seconds, files, workers, picture))
        draw(result, picture)
        return result
    lengths: list[dict[str, Any]] = [
        {"audio_s": length_s, **separate_one(length_s)} for length_s in seconds
    ]
    kept = [
        {**row, "kept": True}
        for row in (earlier or {}).get("lengths", [])
        if row["audio_s"] > lengths[-1]["audio_s"]
    ]
    counts = [
        {"files": count, "workers": processes, **separate_many(count, processes)}
        for processes in workers
        for count in files
    ]
    result = {"lengths": lengths + kept, "counts": counts, "file_s": WINDOW_S}
    draw(result, picture)
    return result


def with_long(earlier: dict[str, Any]) -> dict[str, Any]:
    """An earlier result with hours of audio measured now."""
    shortest = min(LONG_SECONDS)
    kept = [{**row, "kept": True} for row in earlier["lengths"] if row["audio_s"] < shortest]
    measured_now = [{"audio_s": length_s, **separate_one(length_s)} for length_s in LONG_SECONDS]
    return {**earlier, "lengths": [*kept, *measured_now]}


def separate_one(length_s: float) -> dict[str, float]:
    """The command on one file of stereo at 44.1 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        song = write_song(Path(folder) / "song.flac", length_s)
        return measured(song, "-o", Path(folder) / "out", "--format", "flac")


def separate_many(count: int, processes: int) -> dict[str, float]:
    """The command on a folder of ``count`` files of one window each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "songs"
        folder.mkdir()
        for number in range(count):
            write_song(folder / f"{number:03d}.flac", WINDOW_S)
        shared = ("--workers", str(processes)) if processes > 1 else ()
        return measured(folder, "-o", Path(name) / "out", "--format", "flac", *shared)


def measured(*arguments: str | Path) -> dict[str, float]:
    """``stemweave separate ARGUMENTS``."""
    done = run_python("-m", "stemweave", "separate", *arguments)
    return {"seconds": done.seconds, "peak_mb": done.peak_mb}


def draw(result: dict[str, Any], picture: Path) -> None:
    """Time over length and files, on logarithmic axes, and memory over length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    time_axis, memory_axis, files_axis = figure.subplots(1, 3)
    lengths = result["lengths"]
    audio_s = [row["audio_s"] for row in lengths]
    time_axis.loglog(audio_s, [row["seconds"] for row in lengths], "o-")
    time_axis.set(xlabel="seconds of audio", ylabel="seconds", title="time")
    memory_axis.semilogx(audio_s, [row["peak_mb"] for row in lengths], "o-")
    memory_axis.set(xlabel="seconds of audio", ylabel="MB", title="peak memory", ylim=(0, None))
    for processes in sorted({row["workers"] for row in result["counts"]}):
        rows = [row for row in result["counts"] if row["workers"] == processes]
        label = "1 process" if processes == 1 else f"{processes} processes"
        files_axis.loglog(
            [row["files"] for row in rows], [row["seconds"] for row in rows], "o-", label=label
        )
    files_axis.set(xlabel=f"files of {WINDOW_S} s", ylabel="seconds", title="many files")
    files_axis.legend()
    for axis in (time_axis, memory_axis, files_axis):
        axis.grid(alpha=0.3)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=80)


def as_markdown(result: dict[str, Any]) -> str:
    """Two tables and the picture."""
    lengths = [
        (
            span(row["audio_s"]) + (" (an earlier run)" if row.get("kept") else ""),
            f"{row['seconds']:.1f}",
            f"{1000 * row['seconds'] / row['audio_s']:.0f}",
            f"{row['peak_mb']:.0f}",
        )
        for row in result["lengths"]
    ]
    counts = [
        (
            row["files"],
            row["workers"],
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / row['files']:.2f}",
            f"{row['peak_mb']:.0f}",
        )
        for row in result["counts"]
    ]
    peak = max(row["peak_mb"] for row in result["lengths"])
    verdict = "reached" if peak <= MOST_MB else "missed"
    return "\n\n".join(
        (
            "The whole command, start included. Stereo at 44.1 kHz, FLAC in and out.",
            table(("audio", "seconds", "ms per second of audio", "peak MB"), lengths),
            f"At most {peak:.0f} MB (wanted: {MOST_MB:.0f}, {verdict}).",
            f"Files of {result['file_s']} s each; memory is that of the largest process.",
            table(("files", "processes", "seconds", "seconds per file", "peak MB"), counts),
            "![growth of time and memory](results/growth.png)",
        )
    )


def summary(result: dict[str, Any]) -> str:
    """What docs/speed.md says of it."""
    rows = result["lengths"]
    parts = [f"{span(row['audio_s'])} in {row['seconds']:.0f} s" for row in rows]
    peaks = [row["peak_mb"] for row in rows]
    sentences = [f"{', '.join(parts)}; peak memory {min(peaks):.0f} to {max(peaks):.0f} MB."]
    most = max(row["files"] for row in result["counts"])
    for row in result["counts"]:
        if row["files"] == most:
            words = "one process" if row["workers"] == 1 else f"{row['workers']} processes"
            sentences.append(
                f"{most} files of {result['file_s']} s by {words}: {row['seconds']:.0f} s."
            )
    return " ".join(sentences)


def span(seconds: float) -> str:
    """10 s, 1 min, 3 h."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def main() -> None:
    """Measure and print; ``python -m benchmarks growth`` also keeps the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="one hour of audio and three")
    result = run(full=parser.parse_args().full)
    print(as_markdown(result))


if __name__ == "__main__":
    main()
