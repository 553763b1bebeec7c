"""Put the mean of stopped training runs into each of them, so that all go on from one place.

    python scripts/merge_runs.py runs/a runs/b

Weights and running averages are averaged; every run keeps its optimiser's state and its step.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from stemweave.checkpoints.average import mean_state
from stemweave.errors import InputError
from stemweave.training.checkpoint import read_checkpoint, write_checkpoint


def merge(folders: list[Path]) -> None:
    """Raise ``InputError`` if a checkpoint cannot be read or networks differ."""
    states: dict[str, dict[str, Any]] = {
        str(one): read_checkpoint(one / "checkpoint.pt") for one in folders
    }
    if len({frozenset(state["network"]) for state in states.values()}) > 1:
        raise InputError(f"{', '.join(states)} cannot be merged: their networks differ")
    network = mean_state({key: state["network"] for key, state in states.items()})
    shadows = zip(*(state["average"]["shadow_params"] for state in states.values()), strict=True)
    average = [torch.stack(parameters).mean(dim=0) for parameters in shadows]
    for folder, state in zip(folders, states.values(), strict=True):
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
