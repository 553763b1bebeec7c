"""Seconds and memory of networks and tasks on this machine's device, as JSON.

    python -m scripts.gpu_benchmark -o out/gpu/benchmark.json

The paper's network of 305 M parameters, with random weights, makes single passes of one window and
of eight; a model's tasks make one window each. ``--tiny`` is for trying this script on a CPU.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.unet3d import HEIGHT, inputs, random_network
from stemweave.evaluation.speed import median_s
from stemweave.model import load_model
from stemweave.models.acceleration import accelerate, channels_last
from stemweave.models.devices import AUTO, checked_device, device_name
from stemweave.training.logs import peak_memory_gb

TINY = {"model_channels": 32, "channel_mult": [1, 1], "attention_resolutions": [2]}
REPEATS, TINY_REPEATS = 5, 1


def finished(call: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """``call``, which returns when the device has done all that was asked of it."""

    def wait() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return wait


def passes(device: torch.device, is_tiny: bool) -> dict[str, dict[str, float]]:
    """Median seconds of one pass, and peak memory, by number type and windows at once."""
    network = channels_last(random_network(TINY if is_tiny else {}).to(device))
    height, repeats, found = (16, TINY_REPEATS, {}) if is_tiny else (HEIGHT, REPEATS, {})
    for name in ("float32", "bfloat16"):
        for windows in (1, 2) if is_tiny else (1, 8):
            given = [
                tensor.repeat(windows, *[1] * (tensor.ndim - 1)).to(device)
                for tensor in inputs(network, height)
            ]
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            precision = (
                torch.autocast(device.type, torch.bfloat16) if name == "bfloat16" else nullcontext()
            )
            with torch.inference_mode(), precision:
                taken = median_s(finished(lambda given=given: network(*given), device), repeats)
            found[f"{name}, {windows} windows"] = {
                "seconds": taken,
                "peak_gib": peak_memory_gb(device),
            }
    return found


def tasks(device: torch.device, model: Path | None, repeats: int) -> dict[str, float]:
    """Median seconds of tasks on one window, with a model's own settings; ``model`` or bundled."""
    seconds = {}
    for dtype in ("auto", "bfloat16"):
        pipe = load_model(model, device=str(device))
        accelerate(pipe, dtype)
        rate, length = pipe.sample_rate, pipe.segment_s
        mixture = 0.1 * torch.randn(1, round(rate * length))
        calls: dict[str, Callable[[Any], object]] = {
            "separate": lambda pipe: pipe.separate(mixture, rate),  # noqa: B023
            "separate by diffusion": lambda pipe: pipe.separate(mixture, rate, method="diffusion"),  # noqa: B023
            "generate": lambda pipe: pipe.generate(length),  # noqa: B023
        }
        for name, call in calls.items():
            seconds[f"{name}, {dtype}"] = median_s(
                finished(lambda call=call, pipe=pipe: call(pipe), device), repeats
            )
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--model", type=Path, help="model folder; the bundled one by default")
    parser.add_argument("--tiny", action="store_true", help="a tiny network in place of 305 M")
    arguments = parser.parse_args()
    device = checked_device(AUTO)
    found = {
        "device": device_name(device),
        "torch": torch.__version__,
        "passes": passes(device, arguments.tiny),
        "seconds_of_tasks": tasks(
            device, arguments.model, TINY_REPEATS if arguments.tiny else REPEATS
        ),
    }
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
