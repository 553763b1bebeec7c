"""Trains the paper's model (configs/paper.yaml) for a few steps of one sample and measures them.

    python scripts/paper_step.py -o docs/scores/paper_step.json

The songs are noise and the autoencoder has random weights: time and memory do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from stemweave.data.songs import Song, append_to_manifest, write_song
from stemweave.training.loop import TrainingRun
from stemweave.training.networks import autoencoder_in, make_autoencoder
from stemweave.training.settings import RunSettings, changed, load_settings
from stemweave.training.stage_denoiser import DenoiserStage
from stemweave.training.start import load_songs

GIB = 2**30
CONFIG = Path(__file__).parent.parent / "configs" / "paper.yaml"


def write_noise(folder: Path, stems: tuple[str, ...], duration_s: float = 12.0) -> None:
    """One song to train on and one to validate."""
    rng = np.random.default_rng(0)
    for split in ("train", "validation"):
        song = Song(folder / split, split, duration_s, 16000, stems)
        song.folder.mkdir(parents=True)
        for stem in stems:
            noise = 0.1 * rng.standard_normal(round(duration_s * 16000))
            soundfile.write(song.folder / f"{stem}.wav", noise, 16000)
        write_song(song)
        append_to_manifest(folder, song)


def one_sample_settings(folder: Path, steps: int) -> RunSettings:
    """The preset with one sample a step and a cache of two crops."""
    settings = load_settings(CONFIG)
    denoiser = changed(
        settings.denoiser, batch_size=1, accumulation_steps=1, steps=steps, shard_size=2,
        first_shards=1, validation_samples=1, gradient_checkpointing=True,
    )  # fmt: skip
    return settings.model_copy(
        update={"data": [folder / "songs"], "cache": folder / "cache", "denoiser": denoiser}
    )


def peak_gib() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def measure(steps: int) -> dict[str, object]:
    """Seconds of each step and peak memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = one_sample_settings(folder, steps)
        write_noise(folder / "songs", settings.stems)
        torch.manual_seed(0)
        vae = autoencoder_in(make_autoencoder(settings))
        stage = DenoiserStage(settings, *load_songs(settings), vae)
        stage.shards.latents(0, 1, np.random.default_rng(0))  # encode the crops
        before = peak_gib()
        run = TrainingRun(stage, folder / "run", settings.seed, settings.mixed_precision, "cpu")
        run.network.train()
        seconds = []
        for _ in range(steps):
            began = time.monotonic()
            figures = run.train_step()
            seconds.append(round(time.monotonic() - began, 1))
            print(f"step {run.step}: {seconds[-1]} s, loss {figures['loss']:.3f}", flush=True)
        peak = peak_gib()
    return {
        "preset": "configs/paper.yaml",
        "parameters": sum(p.numel() for p in stage.network.parameters()),
        "batch_size": 1,
        "gradient_checkpointing": True,
        "seconds_per_step": seconds,
        "peak_gib": round(peak, 2),
        "peak_gib_before_training": round(before, 2),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--steps", type=int, default=2)
    arguments = parser.parse_args()
    figures = measure(arguments.steps)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
