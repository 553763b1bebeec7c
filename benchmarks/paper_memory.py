"""Peak memory of ``stemweave separate --method vocoder`` with a model of the paper's size.

Weights are random, which changes no memory; a few steps are as much as two hundred.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import run_python, table
from benchmarks.songs import WINDOW_S, write_song

STEPS = 2
MOST_GB = 4.0
"""Wanted, of 2³⁰ bytes."""
MAKE = "import sys; from benchmarks.paper_memory import make_model; print(make_model(sys.argv[1]))"


def run(steps: int = STEPS) -> dict[str, Any]:
    """Peak GB of the command on one window of 10.24 s, model and all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = run_python("-c", MAKE, folder / "model")
        song = write_song(folder / "song.wav", WINDOW_S)
        done = run_python("-m", "stemweave", *command(song, folder, steps))
        written = sum(path.stat().st_size for path in (folder / "model").rglob("*"))
    return {
        "parameters": int(made.output.split()[-1]),
        "model_gb": written / 2**30,
        "steps": steps,
        "peak_gb": done.peak_mb / 1024,
    }


def command(song: Path, folder: Path, steps: int) -> list[str | Path]:
    """Arguments of ``stemweave`` that separate ``song`` with ``folder/model``."""
    return [
        "separate", song, "-o", folder / "out", "--method", "vocoder",
        "--model", folder / "model", "--steps", str(steps),
    ]  # fmt: skip


def make_model(folder: str | Path, **sizes: dict[str, Any]) -> int:
    """Write a model of the paper's kind with random weights; returns its parameters.

    ``sizes`` are arguments of parts that are not the paper's.
    """
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    from benchmarks.unet3d import random_network
    from stemweave.checkpoints.importer import PAPER_SAMPLING, PAPER_SCHEDULE
    from stemweave.model import StemModel
    from stemweave.models.log_mel import LogMel

    changes = {"log_mel": {}, "vae": {}, "denoiser": {}, "vocoder": {}, **sizes}
    torch.manual_seed(0)
    vae = {
        "in_channels": 1, "out_channels": 1, "latent_channels": 8, "layers_per_block": 2,
        "block_out_channels": (128, 256, 512), "norm_num_groups": 32,
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
    }  # fmt: skip
    vocoder = {
        "model_in_dim": 64, "sampling_rate": 16000, "upsample_initial_channel": 1024,
        "upsample_rates": [5, 4, 2, 2, 2], "upsample_kernel_sizes": [16, 16, 8, 4, 4],
        "normalize_before": False,
    }  # fmt: skip
    pipe = StemModel(
        LogMel(**changes["log_mel"]),
        AutoencoderKL(**{**vae, **changes["vae"]}),
        random_network(changes["denoiser"]),
        DDIMScheduler(**PAPER_SCHEDULE),
        SpeechT5HifiGan(SpeechT5HifiGanConfig(**{**vocoder, **changes["vocoder"]})),
        **PAPER_SAMPLING,
    )
    pipe.save_pretrained(folder)
    parts = (pipe.vae, pipe.denoiser, pipe.vocoder)
    return sum(weights.numel() for part in parts for weights in part.parameters())


def as_markdown(result: dict[str, Any]) -> str:
    """One row."""
    reached = "reached" if result["peak_gb"] <= MOST_GB else "not reached"
    row = (
        f"{result['parameters'] / 1e6:.0f} M parameters",
        f"{result['model_gb']:.2f}", f"{result['peak_gb']:.2f}", result["steps"],
    )  # fmt: skip
    columns = ("model", "its files, GB", "peak memory, GB", "steps")
    return f"{table(columns, [row])}\n\nWanted: {MOST_GB:g} GB at most, {reached}."


def summary(result: dict[str, Any]) -> str:
    """For docs/speed.md."""
    return (
        f"`stemweave separate --method vocoder` of {WINDOW_S:g} s with the paper's model: "
        f"{result['peak_gb']:.1f} GB at its peak, {result['model_gb']:.1f} GB of them weights "
        "(`python -m benchmarks paper_memory`)."
    )
