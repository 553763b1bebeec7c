"""Seconds that each task takes for one window, and how large the model is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stemweave.evaluation.results import Evaluation
from stemweave.evaluation.table import Cell, Table


def median_s(task: Callable[[], object], repeats: int) -> float:
    """Median wall-clock seconds of ``repeats`` calls, after one that warms up."""
    task()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        task()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def evaluate_speed(pipe: Any, repeats: int = 5) -> Evaluation:
    """Median seconds per task for one window of noise, at the pipeline's default steps."""
    mixture = 0.1 * torch.randn(1, pipe.log_mel.segment_samples)
    stems = list(pipe.denoiser.config.stems)
    given = {stem: mixture for stem in stems[:2]}
    tasks: dict[str, Callable[[], object]] = {
        "separate": lambda: pipe.separate(mixture, pipe.sample_rate),
        "generate": lambda: pipe.generate(pipe.segment_s),
        "arrange": lambda: pipe.arrange(given, pipe.sample_rate),
    }
    steps = {"separate": pipe.config.separation_steps}
    table = Table(f"Speed: {pipe.segment_s:.2f} s of audio", digits=2)
    for name, task in tasks.items():
        table.put("seconds", name, "median", Cell(median_s(task, repeats), count=repeats))
        count = steps.get(name, pipe.config.generation_steps)
        table.put("seconds", name, "network passes", Cell(float(count)))
    for name, parameters in part_parameters(pipe).items():
        table.put("parameters (millions)", name, "parameters", Cell(parameters / 1e6))
    table.metadata["cpu"] = cpu_name()
    return Evaluation(table)


def part_parameters(pipe: Any) -> dict[str, int]:
    """Parameters of each part that the model has."""
    names = ("vae", "denoiser", "refiner", "sharpener", "vocoder", "score_model", "analyser")
    parts = {name: getattr(pipe, name, None) for name in names}
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in parts.items()
        if part is not None
    }


def cpu_name() -> str:
    """The processor as Linux names it, or "unknown"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next(
        (line.split(":", 1)[1].strip() for line in lines if "model name" in line), "unknown"
    )
