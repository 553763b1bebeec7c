"""Put the mean of stopped training runs into each of them, so that all go on from one place.

    python scripts/merge_runs.py runs/a runs/b

Weights and running averages are averaged; every run keeps its optimiser's state and its step.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from stemweave.training.checkpoint import read_checkpoint, write_checkpoint


def merge(folders: list[Path]) -> None:
    """Raise ``InputError`` if a checkpoint cannot be read, ``KeyError`` if networks differ."""
    states: list[dict[str, Any]] = [read_checkpoint(one / "checkpoint.pt") for one in folders]
    network = {
        name: torch.stack([state["network"][name].float() for state in states]).mean(dim=0)
        for name in states[0]["network"]
    }
    shadows = zip(*(state["average"]["shadow_params"] for state in states), strict=True)
    average = [torch.stack(parameters).mean(dim=0) for parameters in shadows]
    for folder, state in zip(folders, states, strict=True):
        state["network"] = {
            name: value.to(state["network"][name].dtype) for name, value in network.items()
        }
        state["average"]["shadow_params"] = average
        write_checkpoint(state, folder / "checkpoint.pt")
        print(f"{folder}: step {state['step']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs that are stopped")
    arguments = parser.parse_args()
    if len(arguments.runs) < 2:
        parser.error("give at least two runs")
    merge(arguments.runs)


if __name__ == "__main__":
    main()
