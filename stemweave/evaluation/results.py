"""What an evaluation returns: the table, examples to listen to, and where it all came from."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from stemweave.evaluation.table import Table


@dataclass(frozen=True)
class Example:
    """Audio of one scored piece: ``tracks[row][stem]`` is a mono waveform (T,)."""

    title: str
    tracks: dict[str, dict[str, Tensor]]


@dataclass
class Evaluation:
    """A finished run; ``sample_rate`` (Hz) is that of the examples."""

    table: Table
    examples: list[Example] = field(default_factory=list)
    sample_rate: int = 16_000


def provenance(model: str, data: Path, split: str) -> dict[str, str]:
    """What is needed to repeat a run, beside its own settings: commit, versions, model, data."""
    versions = {}
    for package in ("stemweave", "torch", "diffusers", "transformers", "librosa"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    return {
        "commit": commit(),
        "model": model,
        "data": str(data),
        "split": split,
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **versions,
    }


def commit() -> str:
    """The git commit this code runs from, with ``+changes`` if files differ from it."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(here.parent))
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"
