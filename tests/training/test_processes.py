"""Two processes do what one does with twice the accumulation, stop together and share a cache."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stemweave.data.mixing import PLAIN
from stemweave.data.shards import Arrays, ShardPlan, Shards
from stemweave.errors import InputError
from stemweave.models.log_mel import LogMel
from stemweave.training.placement import joined
from tests.training.command import change, train

REPOSITORY = Path(__file__).parent.parent.parent


def torchrun(config: Path, folder: Path, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node", "2", "-m", "--", "stemweave", "train", "denoiser", config,
               "--run", folder, *options]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [str(part) for part in command], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder.parent,
    )  # fmt: skip


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the log has ``step``."""
    log, until = folder / "log.jsonl", time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if log.exists() and f'"step": {step},' in log.read_text():
            return
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"no step {step}: {process.communicate()[0]}")


def test_two_processes_equal_one_with_twice_the_accumulation(run, config, vae: Path, tmp_path):
    vae = ("--vae", vae)
    optimiser = {"learning_rate": 1e-3, "schedule": "constant", "ema_decay": 0.5}
    change(config, "denoiser", steps=1, accumulation_steps=2, optimiser=optimiser,
           validate_every_steps=3, examples=1, steps_per_shard=2)  # fmt: skip
    change(config, None, sampling={"generation_steps": 2})
    together = tmp_path / "together"
    train(run, "denoiser", config, together, *vae)
    change(config, "denoiser", steps=100_000, accumulation_steps=1)
    process = torchrun(config, together, *vae)
    wait_for_step(together, 4, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    two = torch.load(together / "checkpoint.pt", weights_only=True)
    steps = [json.loads(line)["step"] for line in (together / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, two["step"] + 1)), output  # one process has written
    assert output.count("resuming at step 1;") == 1 and output.count("exported") == 1
    assert len(list((together / "tensorboard").iterdir())) == 2  # one of each start
    assert not list((tmp_path / "cache").rglob("*.partial"))

    change(config, "denoiser", steps=two["step"], accumulation_steps=2)
    train(run, "denoiser", config, tmp_path / "alone", *vae)
    one = torch.load(tmp_path / "alone" / "checkpoint.pt", weights_only=True)
    assert one["step"] == two["step"] >= 4
    lines = [  # the mean over micro-batches, and over processes
        {line["step"]: line["loss"] for line in map(json.loads, (folder / "log.jsonl").open())}
        for folder in (tmp_path / "alone", together)
    ]
    assert lines[1][4] == pytest.approx(lines[0][4], rel=1e-3)
    for name, tensor in one["network"].items():
        assert torch.allclose(tensor, two["network"][name], rtol=1e-3, atol=2e-5), name
    pairs = zip(one["average"]["shadow_params"], two["average"]["shadow_params"], strict=True)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=2e-5) for a, b in pairs)


@pytest.mark.parametrize("flags", [["--multi_gpu"], ["--cpu"]])
def test_accelerate_launch_makes_one_training(config: Path, tmp_path: Path, flags: list[str]):
    """Its processes find each other by gloo where there is no GPU; with --cpu it starts one."""
    change(config, "vae", steps=2, validate_every_steps=2)
    command = [sys.executable, "-m", "accelerate.commands.launch", *flags, "--num_processes", "2",
               "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
               "--main_process_port", "0", "-m", "stemweave", "train", "vae", config,
               "--run", tmp_path / "vae"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [str(part) for part in command], env=environment, text=True, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    lines = (tmp_path / "vae" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2], done.stdout
    assert done.stdout.count("exported") == 1


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_a_checkpoint_and_its_own_code(config, tmp_path, ending):
    """A script whose stages follow each other must not go on."""
    change(config, "vae", steps=100_000, validate_every_steps=50_000)
    folder = tmp_path / "vae"
    command = [sys.executable, "-m", "stemweave", "train", "vae", config, "--run", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}

    def heeding() -> None:  # where the tests run in the background it may be ignored
        signal.signal(ending, signal.SIG_DFL)

    process = subprocess.Popen(
        [str(part) for part in command], env=environment, text=True, cwd=tmp_path,
        preexec_fn=heeding, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_for_step(folder, 2, process)
    process.send_signal(ending)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + ending and "Traceback" not in output, output
    assert (folder / "checkpoint.pt").exists() and (folder / "export" / "config.json").exists()


class CountedShards(Shards):
    """One number per crop; every making leaves a line."""

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        with (self.folder.parent / "made").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.05)
        return {"number": torch.from_numpy(rng.random(count))}


@pytest.fixture
def counted(tmp_path: Path) -> CountedShards:
    plan = ShardPlan(crop_frames=8, shard_size=4, first_window=3)
    front_end = LogMel(n_fft=512, win_length=512, num_mels=16)
    return CountedShards(tmp_path, [], front_end, ("bass",), PLAIN, plan)


def test_a_shard_is_made_once_by_one_of_many_processes(counted: CountedShards, tmp_path: Path):
    children = []
    for start in range(4):
        child = os.fork()
        if child == 0:
            try:
                while not (tmp_path / "go").exists():
                    time.sleep(0.001)
                for index in range(3):
                    counted.shard((start + index) % 3)
            finally:
                os._exit(0 if len(counted._loaded) == 3 else 1)
        children.append(child)
    (tmp_path / "go").touch()
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    makers = (tmp_path / "made").read_text().split()
    assert len(makers) == 3 and len(set(makers)) > 1
    expected = {index: counted.build(index)["number"] for index in range(3)}
    for index, numbers in expected.items():
        assert torch.equal(counted.shard(index)["number"], numbers)


def test_a_damaged_shard_is_made_again(counted: CountedShards):
    numbers = counted.shard(0)["number"]
    (file,) = counted.folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:50])
    counted._loaded.clear()
    assert torch.equal(counted.shard(0)["number"], numbers)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (RuntimeError("connection\nrefused"), r"\(connection refused\): is the first one's"),
        (None, "start them with torchrun, or one alone"),
    ],
)
def test_processes_that_do_not_find_each_other(failure: Exception | None, message: str):
    def alone(**options: object) -> SimpleNamespace:
        if failure is not None:
            raise failure
        return SimpleNamespace(num_processes=1)

    assert joined(lambda **_: SimpleNamespace(num_processes=2), 2).num_processes == 2
    with pytest.raises(InputError, match=f"2 processes were launched and do not .*{message}"):
        joined(alone, 2)
