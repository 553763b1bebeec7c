"""Seconds per second of audio of other systems and of ours, on the same cores in one run.

Weights of others are random, which changes no time. Each runs in a process of its own, as their
commands do: ours keeps the memory that it frees (``models.memory``), others do not. The paper's
network is extrapolated from one step of its sampler, as ``unet3d`` has measured it before.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import table, times_s
from benchmarks.results import load
from benchmarks.songs import SAMPLE_RATE, WINDOW_S, read_song
from stemweave.model import load_model
from stemweave.stems import STEMS

PUBLISHED_HTDEMUCS: dict[str, Any] = {
    "dconv_mode": 3,
    "bottom_channels": 512,
    "t_layers": 5,
    "t_heads": 8,
    "samplerate": SAMPLE_RATE,
    "segment": Fraction(39, 5),
}
"""The arguments of ``htdemucs`` (signature 955717e8) that are not the class's defaults, and two
that are. Its segment is 7.8 s."""
PAPER_STEPS = 200
"""Steps of the paper's separation, each with and without the mixture."""
PAPER_PARAMETERS_M = 305.17
TARGET = 7.0
"""How many times faster than htdemucs we want to be."""


def run(
    repeats: int = 5,
    model: str | None = None,
    htdemucs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Median seconds of each system for one window; sizes of networks can be made smaller.

    Raises:
        InputError: if the ``demucs`` package is missing.
    """
    config = PUBLISHED_HTDEMUCS if htdemucs is None else htdemucs
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as pool:
        calls = (
            pool.submit(our_rows, repeats, model),
            pool.submit(htdemucs_rows, repeats, config),
            pool.submit(open_unmix_rows, repeats),
        )
        rows = [row for call in calls for row in call.result()]
    rows += paper_rows(load("unet3d"))
    return {"rows": rows, "threads": torch.get_num_threads(), "audio_s": WINDOW_S}


def median_of(call: Callable[[], object], repeats: int) -> float:
    """Median seconds after a first call that is not counted."""
    with torch.inference_mode():
        return statistics.median(times_s(call, repeats))


def row(name: str, audio: str, millions: float, seconds: float, note: str = "") -> dict[str, Any]:
    """One system."""
    return {
        "name": name,
        "audio": audio,
        "parameters_m": millions,
        "seconds": seconds,
        "note": note,
    }


def our_rows(repeats: int, model: str | None) -> list[dict[str, Any]]:
    """Ours, with masks."""
    pipe = load_model(model)
    mixture = torch.from_numpy(read_song())
    seconds = median_of(lambda: pipe.separate(mixture, SAMPLE_RATE), repeats)
    return [row("Stemweave", "stereo, 44.1 kHz", parameters(pipe), seconds)]


def parameters(pipe: Any) -> float:
    """Millions of parameters that separation uses."""
    used = (pipe.vae, pipe.denoiser, pipe.refiner, pipe.sharpener)
    return sum(count(part) for part in used if part is not None)


def count(module: torch.nn.Module) -> float:
    """Millions of parameters."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def htdemucs_rows(repeats: int, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Hybrid Transformer Demucs (arXiv 2211.08553) with and without overlapping segments."""
    from stemweave.errors import InputError

    try:
        from demucs.apply import apply_model
        from demucs.htdemucs import HTDemucs
    except ImportError as error:
        raise InputError(f"peers needs the demucs package ({error}): run 'make bench'") from error
    network = HTDemucs(list(STEMS), **config).eval()
    mixture = torch.from_numpy(read_song())
    rows = []
    for overlap, words in ((0.0, "no overlap"), (0.25, "its default overlap")):

        def separate(overlap: float = overlap) -> Tensor:
            return apply_model(network, mixture[None], shifts=0, overlap=overlap)

        seconds = median_of(separate, repeats)
        rows.append(
            row(f"htdemucs, {words}", "stereo, 44.1 kHz", count(network), seconds, "no shifts")
        )
    return rows


def open_unmix_rows(repeats: int) -> list[dict[str, Any]]:
    """Our Open-Unmix baseline at its published width."""
    from baselines.open_unmix import OpenUnmix

    network = OpenUnmix(STEMS).eval()
    mono = 0.1 * torch.randn(round(WINDOW_S * network.config.sample_rate))
    generator = torch.Generator()
    seconds = median_of(lambda: network.separate(mono, generator), repeats)
    return [row("Open-Unmix, our baseline", "mono, 16 kHz", count(network), seconds)]


def paper_rows(network: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The paper's network, plain and ours, extrapolated from what ``unet3d`` measured; maybe none.

    Args:
        network: what ``benchmarks.unet3d.run`` returned.
    """
    if network is None:
        return []
    rows = []
    for name, formulation in (
        ("the paper's network, plain formulation", "guidance 2, plain"),
        ("the paper's network, ours", "guidance 2"),
    ):
        step_s = network["formulations"][formulation]["seconds"]
        note = f"{PAPER_STEPS} × one step of {step_s:.1f} s, the networks beside it left out"
        rows.append(row(name, "mono, 16 kHz", PAPER_PARAMETERS_M, PAPER_STEPS * step_s, note))
    return rows


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """How many times longer each system takes than ours."""
    ours = result["rows"][0]["seconds"]
    return {entry["name"]: entry["seconds"] / ours for entry in result["rows"]}


def as_markdown(result: dict[str, Any]) -> str:
    """The table, and the ratio that was wanted."""
    times = ratios(result)
    rows = [
        (
            entry["name"],
            entry["audio"],
            f"{entry['parameters_m']:.1f}",
            f"{entry['seconds']:.2f}",
            f"{entry['seconds'] / result['audio_s']:.3f}",
            f"{times[entry['name']]:.1f}",
            entry["note"],
        )
        for entry in result["rows"]
    ]
    columns = (
        "system",
        "audio",
        "parameters (M)",
        "seconds",
        "seconds per second of audio",
        "times ours",
        "",
    )
    return "\n\n".join(
        (
            f"{result['audio_s']} s of audio, {result['threads']} threads, random weights but for "
            "ours, medians. Ours and htdemucs take the file as it is; the others take 16 kHz mono.",
            table(columns, rows),
            summary(result),
        )
    )


def summary(result: dict[str, Any]) -> str:
    """What docs/speed.md says of it: the ratio that was wanted."""
    times = ratios(result)
    faster = times["htdemucs, no overlap"]
    verdict = "reached" if faster >= TARGET else "missed"
    return (
        f"Separation is {faster:.1f} times faster than htdemucs without overlap (wanted: "
        f"{TARGET:g}, {verdict}) and {times['htdemucs, its default overlap']:.1f} times faster "
        "than with its default overlap."
    )


def main() -> None:
    """Measure and print."""
    print(as_markdown(run()))


if __name__ == "__main__":
    main()
