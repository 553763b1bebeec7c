"""Seconds of ``stemweave separate`` by length of audio, alone and beside programs that take cores.

Each program is a loop that keeps one core busy. The fair share of a command beside them is what an
ideal scheduler would leave it: with as many programs as cores, half of the machine. In memory means
without the start of Python, the import of torch and the loading of the model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import run_python, table
from benchmarks.songs import write_song
from stemweave.io.threads import usable_cores

SECONDS = (0.5, 1.0, 5.0, 10.24, 11.0, 60.0)
LONG_S = 30.0
"""Audio from here on is separated once."""
MOST = 1.25
"""Times its fair share that a command may take."""
IN_MEMORY = """
import sys, time
from pathlib import Path
from stemweave.io.threads import prepare_threads
prepare_threads()
from stemweave.io.batch import separate_file
from stemweave.io.mixtures import Separation
from stemweave.model import load_model
pipe = load_model()
out = Path(sys.argv[1])
for song in sys.argv[2:]:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        separate_file(pipe, Path(song), out, Separation(pipe.separated_stems, existing="replace"))
        times.append(time.perf_counter() - began)
    print(min(times))
"""


def run(
    seconds: Sequence[float] = SECONDS, loads: Sequence[int] | None = None, repeats: int = 2
) -> dict[str, Any]:
    """Seconds of every length beside every number of busy programs: none, half of the cores, all.

    Takes about four minutes on two cores.
    """
    cores = usable_cores()
    if loads is None:
        loads = sorted({0, max(1, cores // 2), cores})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        songs = {length: write_song(folder / f"{length:g}.flac", length) for length in seconds}
        short = [song for length, song in songs.items() if length < LONG_S]
        done = run_python("-c", IN_MEMORY, folder / "out", *short)
        in_memory = dict(zip(songs, map(float, done.output.split()), strict=False))
        rows = []
        for load in loads:
            with busy_programs(load):
                rows += [
                    {
                        "audio_s": length,
                        "busy": load,
                        "seconds": separate(song, folder, 1 if length >= LONG_S else repeats),
                    }
                    for length, song in songs.items()
                ]
    return {
        "cores": cores,
        "rows": rows,
        "in_memory": [{"audio_s": length, "seconds": took} for length, took in in_memory.items()],
    }


def separate(song: Path, folder: Path, repeats: int) -> float:
    """Seconds of the whole command, the fastest of ``repeats``."""
    runs = [
        run_python("-m", "stemweave", "separate", song, "-o", folder / "out", "--overwrite")
        for _ in range(repeats)
    ]
    return min(done.seconds for done in runs)


@contextmanager
def busy_programs(number: int) -> Iterator[None]:
    """In the block ``number`` other processes compute without end."""
    loop = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(loop) for _ in range(number)]
    try:
        time.sleep(0.1 * bool(number))
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def shares(result: dict[str, Any]) -> dict[tuple[float, int], float]:
    """Seconds over those of the fair share, for every length and number of busy programs."""
    cores = result["cores"]
    alone = {row["audio_s"]: row["seconds"] for row in result["rows"] if row["busy"] == 0}
    return {
        (row["audio_s"], row["busy"]): row["seconds"]
        / (alone[row["audio_s"]] * (cores + row["busy"]) / cores)
        for row in result["rows"]
    }


def as_markdown(result: dict[str, Any]) -> str:
    """The table, and whether a command keeps to its share."""
    loads = sorted({row["busy"] for row in result["rows"]})
    took = {(row["audio_s"], row["busy"]): row["seconds"] for row in result["rows"]}
    in_memory = {row["audio_s"]: f"{row['seconds']:.2f}" for row in result["in_memory"]}
    share = shares(result)
    lines = []
    for length in dict.fromkeys(row["audio_s"] for row in result["rows"]):
        cells = [f"{took[length, load]:.1f}" for load in loads]
        cells[1:] = [
            f"{cell} ({share[length, load]:.2f})"
            for cell, load in zip(cells[1:], loads[1:], strict=True)
        ]
        lines.append((f"{length:g} s", in_memory.get(length, ""), *cells))
    columns = ["audio", "in memory, s", "command alone, s"]
    columns += [f"beside {load} of {result['cores']} cores taken, s" for load in loads[1:]]
    worst = max(share.values())
    verdict = "reached" if worst <= MOST else "missed"
    return "\n\n".join(
        (
            "In brackets: times the fair share.",
            table(columns, lines),
            f"At most {worst:.2f} times the fair share (wanted: {MOST:g}, {verdict}).",
        )
    )


summary = as_markdown
"""What docs/speed.md says of it."""


def main() -> None:
    """Measure and print; ``python -m benchmarks busy`` also keeps the result."""
    print(as_markdown(run()))


if __name__ == "__main__":
    main()
