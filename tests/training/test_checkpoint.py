"""A checkpoint is always whole: after any kill, on a damaged disk, when the loss explodes."""

import os
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stemweave.errors import InputError
from stemweave.training.checkpoint import read_checkpoint, write_checkpoint
from stemweave.training.loop import TrainingRun
from stemweave.training.stage_settings import StageSettings
from tests.training.command import change, train


@pytest.fixture
def training(tmp_path: Path) -> TrainingRun:
    """A run of one linear layer, with momentum and average."""
    network = nn.Linear(256, 256)
    stage = SimpleNamespace(
        network=network,
        settings=StageSettings(steps=100_000),
        loss=lambda network, step, rng, generator: (network(torch.ones(1, 256)).mean(), {}),
    )
    run = TrainingRun(stage, tmp_path, seed=0, mixed_precision="no", device="cpu")
    run.train_step()
    run.save()
    return run


def save_for_ever(run: TrainingRun) -> None:
    """In a forked process: every checkpoint is filled with its step's number."""
    while True:
        run.step += 1
        with torch.no_grad():
            for parameter in run.stage.network.parameters():
                parameter.fill_(run.step)
            for state in run.optimiser.state.values():
                state["exp_avg"].fill_(run.step)
            for average in run.average.shadow_params:
                average.fill_(run.step)
        run.save()


@pytest.mark.usefixtures("one_thread")
def test_fifty_kills_never_lose_the_last_good_checkpoint(training: TrainingRun):
    rng = random.Random(0)
    interrupted, last_step = 0, 1
    for _ in range(50):
        before = training.checkpoint.stat().st_ino
        child = os.fork()
        if child == 0:
            save_for_ever(training)
        while training.checkpoint.stat().st_ino == before:  # however busy the machine is
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        interrupted += training.checkpoint.with_suffix(".partial").exists()
        state = read_checkpoint(training.checkpoint)
        step = state["step"]
        assert step >= last_step
        if step > 1:
            momenta = [entry["exp_avg"] for entry in state["optimiser"]["state"].values()]
            parts = [*state["network"].values(), *momenta, *state["average"]["shadow_params"]]
            assert all((part == step).all() for part in parts)
        assert training.resume() and training.step == step
        last_step = step
    assert last_step > 10
    assert interrupted > 10, "too few kills fell into a save to show anything"


def test_a_damaged_checkpoint_is_named(run, config: Path, tmp_path: Path):
    folder = tmp_path / "vae"
    train(run, "vae", config, folder)
    checkpoint = folder / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        checkpoint.write_bytes(damaged)
        result = run("train", "vae", config, "--run", folder)
        assert result.code == 2 and "is damaged" in result.err and str(checkpoint) in result.err
        assert result.err.count("\n") == 1 and checkpoint.read_bytes() == damaged
    torch.save([1, 2], checkpoint)
    result = run("train", "vae", config, "--run", folder)
    assert result.code == 2 and "not a training checkpoint" in result.err
    checkpoint.write_bytes(whole)
    change(config, "vae", model={"latent_channels": 4, "hidden_channels": 8, "num_blocks": 1})
    result = run("train", "vae", config, "--run", folder)
    assert result.code == 2 and "does not fit the settings" in result.err


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path):
    import resource

    path = tmp_path / "checkpoint.pt"
    write_checkpoint({"step": 1}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(InputError, match="cannot write"):
            write_checkpoint({"step": 2, "network": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert read_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    run, config: Path, tmp_path: Path
):
    import re

    folder = tmp_path / "vae"
    change(config, "vae", steps=1)
    train(run, "vae", config, folder)
    good = (folder / "checkpoint.pt").read_bytes()
    # the weights leave the range of float32
    optimiser = {"learning_rate": 1e9, "warmup_steps": 0, "schedule": "constant"}
    change(config, "vae", steps=9, optimiser={**optimiser, "clip_norm": float("inf")})
    result = run("train", "vae", config, "--run", folder)
    assert result.code == 2 and result.err.count("\n") == 1
    assert re.search("the (loss|gradient) is not finite at step \\d", result.err)
    assert str(folder / "checkpoint.pt") in result.err and "learning rate" in result.err
    assert (folder / "checkpoint.pt").read_bytes() == good
    again = run("train", "vae", config, "--run", tmp_path / "new")
    assert again.code == 2 and "no checkpoint yet" in again.err
    assert not (tmp_path / "new" / "checkpoint.pt").exists()
