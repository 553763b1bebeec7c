"""``scripts/merge_runs.py``: runs go on from their mean, each at its own step."""

from pathlib import Path

import pytest
import torch

from stemweave.errors import InputError
from stemweave.training.checkpoint import read_checkpoint, write_checkpoint
from tests.scripts import script

merge_runs = script("merge_runs")


def stopped_run(folder: Path, step: int, weight: torch.Tensor, name: str = "weight") -> Path:
    folder.mkdir()
    state = {
        "step": step,
        "network": {name: weight},
        "average": {"shadow_params": [2 * weight]},
        "optimiser": {"momentum": 3 * weight},
    }
    write_checkpoint(state, folder / "checkpoint.pt")
    return folder


def test_runs_go_on_from_their_mean(tmp_path: Path):
    runs = [
        stopped_run(tmp_path / "a", 10, torch.tensor([1.0, 2.0])),
        stopped_run(tmp_path / "b", 20, torch.tensor([3.0, 6.0])),
    ]
    merge_runs.merge(runs)
    for run, step, first in zip(runs, (10, 20), (1.0, 3.0), strict=True):
        state = read_checkpoint(run / "checkpoint.pt")
        assert state["step"] == step
        assert state["network"]["weight"].tolist() == [2.0, 4.0]
        assert state["average"]["shadow_params"][0].tolist() == [4.0, 8.0]
        assert state["optimiser"]["momentum"][0] == 3 * first


def test_runs_of_different_networks_stay_as_they_are(tmp_path: Path):
    runs = [
        stopped_run(tmp_path / "a", 10, torch.ones(2)),
        stopped_run(tmp_path / "b", 20, torch.ones(3)),
    ]
    with pytest.raises(InputError, match="b cannot be averaged"):
        merge_runs.merge(runs)
    assert torch.equal(
        read_checkpoint(runs[0] / "checkpoint.pt")["network"]["weight"], torch.ones(2)
    )


def test_runs_with_other_weights_stay_as_they_are(tmp_path: Path):
    runs = [
        stopped_run(tmp_path / "a", 10, torch.ones(2)),
        stopped_run(tmp_path / "b", 20, torch.ones(2), name="other"),
    ]
    before = [(run / "checkpoint.pt").read_bytes() for run in runs]
    with pytest.raises(InputError, match="networks differ"):
        merge_runs.merge(runs)
    assert [(run / "checkpoint.pt").read_bytes() for run in runs] == before
