"""Where the milliseconds and megabytes of ``stemweave separate`` and ``generate`` go.

Cold: from the start of the process. Warm: the same call again in a process that has made it.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import median_s, medians, run_python, table
from benchmarks.songs import SAMPLE_RATE, WINDOW_S, read_song, write_song
from benchmarks.stopwatch import Part, Stopwatch
from stemweave.io.batch import separate_file
from stemweave.io.decode import AudioReader
from stemweave.io.encode import AudioWriter
from stemweave.io.mixtures import Separation
from stemweave.model import load_model

TARGETS_S = {
    "stemweave --help": 0.5,
    "stemweave separate, cold": 4.0,
    "separate, warm": 1.0,
    "generate, warm": 4.0,
}
"""Seconds that are wanted on two cores with nothing else running, for 10.24 s of stereo audio."""


def run(repeats: int = 5, steps: int | None = None) -> dict[str, Any]:
    """All tables, medians of ``repeats``; ``steps`` of generation are the model's if None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        song = write_song(folder / "song.flac", WINDOW_S)
        cold = {task: cold_laps(task, song, folder, repeats) for task in ("separate", "generate")}
        whole = {
            "stemweave --help": whole_command(repeats, "--help"),
            "stemweave separate, cold": whole_command(
                repeats, "separate", song, "-o", folder / "whole", "--overwrite"
            ),
        }
        warm = warm_stages(song, folder / "warm", repeats, steps)
    seconds = {name: entry["seconds"] for name, entry in whole.items()}
    seconds |= {f"{name}, warm": entry["whole_s"] for name, entry in warm.items()}
    return {"cold": cold, "commands": whole, "warm": warm, "seconds": seconds}


def whole_command(repeats: int, *arguments: str | Path) -> dict[str, float]:
    """Median seconds and peak memory of ``stemweave ARGUMENTS`` as users run it."""
    runs = [run_python("-m", "stemweave", *arguments) for _ in range(repeats)]
    return {
        "seconds": statistics.median(one.seconds for one in runs),
        "peak_mb": max(one.peak_mb for one in runs),
    }


def cold_laps(task: str, song: Path, folder: Path, repeats: int) -> dict[str, float]:
    """Median seconds of every lap of ``benchmarks.cold_start``."""
    rows = []
    for number in range(repeats):
        out = folder / f"cold-{task}-{number}"
        began = time.time()
        done = run_python("-m", "benchmarks.cold_start", task, str(began), song, out)
        laps = json.loads(done.output)
        laps["end of Python"] = max(0.0, done.seconds - sum(laps.values()))
        rows.append(laps)
    return medians(rows)


def warm_stages(
    song: Path, folder: Path, repeats: int, steps: int | None, model: str | None = None
) -> dict[str, dict[str, Any]]:
    """Seconds of each stage of both tasks, their median whole, and memory of each stage."""
    pipe = load_model(model)

    def separate() -> None:
        separate_file(pipe, song, folder, Separation(pipe.separated_stems, existing="replace"))

    def generate() -> None:
        generator = torch.Generator().manual_seed(0)
        piece = pipe.generate(WINDOW_S, steps=steps, generator=generator)
        piece.save(folder / "piece", overwrite=True)

    mixture = torch.from_numpy(read_song())
    calls = {
        "separate": lambda: pipe.separate(mixture, SAMPLE_RATE),
        "generate": lambda: pipe.generate(WINDOW_S, steps=steps),
    }
    found = {}
    for name, task in (("separate", separate), ("generate", generate)):
        task()
        found[name] = {
            "whole_s": median_s(calls[name], repeats),
            "stages_s": medians([stages_of(pipe, task) for _ in range(repeats)]),
            "peaks_mb": stages_of(pipe, task, memory=True),
        }
    return found


def stages_of(pipe: Any, task: Callable[[], None], memory: bool = False) -> dict[str, float]:
    """Seconds, or MB with ``memory``, of each stage of one call of ``task``."""
    watch = Stopwatch(memory)
    with watch.watching(parts_of(pipe), "everything else"):
        task()
    return dict(watch.peaks_mb if memory else watch.seconds)


def parts_of(pipe: Any) -> list[Part]:
    """The stages of both tasks and the functions that do them."""
    from stemweave.audio import masking
    from stemweave.tasks import separate

    parts: list[Part] = [
        (AudioReader, "__call__", "decode the file"),
        (separate, "to_model_rate", "resample"),
        (type(pipe.log_mel), "forward", "log-mel"),
        (type(pipe.vae), "encode", "autoencoder: encode"),
        (type(pipe.denoiser), "forward", "denoiser"),
        (type(pipe.vae), "decode", "autoencoder: decode"),
        (type(pipe.vocoder), "forward", "vocoder"),
        (masking, "mel_to_bins", "masks on the spectrum"),
        (masking.MaskSeparator, "separate", "masks on the spectrum"),
        (torch, "stft", "Fourier transforms"),
        (torch, "istft", "Fourier transforms"),
        (AudioWriter, "write", "write the files"),
        (AudioWriter, "close", "write the files"),
    ]
    if pipe.refiner is not None:
        parts.append((type(pipe.refiner), "forward", "mask refiner"))
    if pipe.sharpener is not None:
        parts.append((type(pipe.sharpener), "sharpen", "mask sharpener"))
    return parts


def as_markdown(result: dict[str, Any]) -> str:
    """Targets, cold laps, warm stages."""
    targets = [
        (name, f"{seconds:.2f}", f"{TARGETS_S[name]:.1f}", mark(seconds <= TARGETS_S[name]))
        for name, seconds in result["seconds"].items()
    ]
    loaders = result["cold"]
    laps = next(iter(loaders.values()))
    cold = [(lap, *(f"{times[lap]:.2f}" for times in loaders.values())) for lap in laps]
    cold.append(("**sum**", *(f"{sum(times.values()):.2f}" for times in loaders.values())))
    lines = [
        "10.24 s of stereo at 44.1 kHz; generation of four stems. Medians.",
        table(("", "seconds", "wanted", ""), targets),
        "Cold, in seconds from the start of the process:",
        table(("", *loaders), cold),
    ]
    for name, entry in result["warm"].items():
        whole = sum(entry["stages_s"].values())
        rows = [
            (
                stage,
                f"{1000 * seconds:.0f}",
                f"{100 * seconds / whole:.0f}%",
                f"{entry['peaks_mb'][stage]:.0f}",
            )
            for stage, seconds in entry["stages_s"].items()
        ]
        rows.append(("**sum**", f"{1000 * whole:.0f}", "", ""))
        lines += [f"`{name}`, warm:", table(("stage", "ms", "share", "peak MB"), rows)]
    peak = result["commands"]["stemweave separate, cold"]["peak_mb"]
    lines.append(f"Peak memory of the whole command: {peak:.0f} MB.")
    return "\n\n".join(lines)


def summary(result: dict[str, Any]) -> str:
    """What docs/speed.md says of it."""
    seconds, cold = result["seconds"], result["cold"]["separate"]
    stages = result["warm"]["separate"]["stages_s"]
    total = sum(stages.values())
    largest = sorted(stages, key=lambda stage: -stages[stage])[:3]
    shares = ", ".join(f"{stage} {100 * stages[stage] / total:.0f}%" for stage in largest)
    return (
        f"`stemweave --help` takes {seconds['stemweave --help']:.2f} s. `stemweave separate` of "
        f"10.24 s of stereo at 44.1 kHz takes {seconds['stemweave separate, cold']:.1f} s from the "
        f"shell, {cold['import torch']:.1f} s of it the import of torch. With the model in "
        f"memory it takes {seconds['separate, warm']:.2f} s ({shares}), and generating as much of "
        f"four stems {seconds['generate, warm']:.1f} s."
    )


def mark(reached: bool) -> str:
    """A word for a target."""
    return "reached" if reached else "missed"


def main() -> None:
    """Measure and print."""
    print(as_markdown(run()))


if __name__ == "__main__":
    main()
