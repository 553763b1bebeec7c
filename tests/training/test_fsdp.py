"""Training in shards equals training whole: two processes against one of twice the batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stemweave.training.loop import TrainingRun
from tests.training import fsdp_worker

ROOT = Path(__file__).parent.parent.parent


class BothProcesses(fsdp_worker.NoiseStage):
    """What two processes do, in two micro-batches of one."""

    def __init__(self, kind: str, steps: int) -> None:
        super().__init__(kind, steps)
        self.settings = self.settings.model_copy(update={"accumulation_steps": 2})


@pytest.fixture(scope="module")
def in_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders of every kind: one step, a checkpoint, and from there a second step."""
    folder = tmp_path_factory.mktemp("shards")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        fsdp_worker.__file__, str(folder),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", list(fsdp_worker.KINDS))
def test_shards_train_save_and_resume(kind: str, in_shards: Path, tmp_path: Path):
    shards = in_shards / kind
    whole = TrainingRun(BothProcesses(kind, 2), tmp_path / "whole", 0, "no", "cpu")
    figures: list[dict[str, float]] = []
    whole.run(lambda step, values: figures.append(values))
    states = {
        name: torch.load(folder / "checkpoint.pt", weights_only=True)
        for name, folder in (("shards", shards), ("whole", tmp_path / "whole"))
    }
    assert states["shards"]["step"] == 2
    for name, tensor in states["whole"]["network"].items():
        assert torch.allclose(tensor, states["shards"]["network"][name], atol=2e-4), name
    for ours, theirs in zip(
        states["whole"]["average"]["shadow_params"],
        states["shards"]["average"]["shadow_params"],
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=2e-4)
    moments = states["shards"]["optimiser"]["state"]
    assert len(moments) == len(states["whole"]["optimiser"]["state"])
    exported = load_file(shards / "export" / "diffusion_pytorch_model.safetensors")
    for name, tensor in load_file(
        tmp_path / "whole" / "export" / "diffusion_pytorch_model.safetensors"
    ).items():
        assert torch.allclose(tensor, exported[name], atol=2e-4), name
    logged = [json.loads(line) for line in (shards / "log.jsonl").read_text().splitlines()]
    for ours, theirs in zip(figures, logged, strict=True):
        assert np.isclose(ours["gradient_norm"], theirs["gradient_norm"], rtol=1e-4)
        assert np.isclose(ours["val"], theirs["val"], rtol=1e-3)
    # a run in shards may go on in one piece
    again = TrainingRun(BothProcesses(kind, 3), shards, 0, "no", "cpu")
    assert again.resume() and again.step == 2
