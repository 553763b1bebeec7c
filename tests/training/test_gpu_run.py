"""``scripts/gpu_run.sh`` from end to end on a CPU, with a tiny network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stemweave.models.compact import CompactUNet
from stemweave.training.networks import load_component, make_denoiser
from stemweave.training.settings import load_settings
from stemweave.training.start import load_songs
from tests.scripts import SCRIPTS
from tests.training.command import change
from tests.training.conftest import write_settings
from tests.training.test_crop_pack import LIMIT_MIB

PIECE_BYTES = 65536
FAILED_TESTS = 1


@pytest.fixture
def folder(run, composed: Path, tiny_model: Path, tmp_path: Path) -> Path:
    """A pack and weights to begin with; no songs."""
    config = write_settings(composed, tmp_path)
    change(config, "denoiser", conditions={"channels": 8}, examples=0, steps=10**6)
    change(config, "denoiser", validate_every_steps=50, log_every_steps=1)
    vae = tiny_model / "vae"
    done = run("data", "latents", config, tmp_path / "pack", "--vae", vae, "--mib", LIMIT_MIB)
    assert done.code == 0, done.err
    settings = load_settings(config)
    network = make_denoiser(settings, load_component("vae", vae), load_songs(settings)[0])
    network.save_pretrained(tmp_path / "begin")
    composed.rename(tmp_path / "away")
    return tmp_path


def gpu_run(folder: Path, model: Path, out: str, **environment: object) -> tuple[int, str]:
    """Exit status and log."""
    own = {
        "OUT": folder / out, "RUN": folder / "run", "CONFIG": folder / "settings.yaml",
        "VAE": model / "vae", "INIT": folder / "begin", "PYTHON": sys.executable,
        "SITE": folder / "site", "PIECE_BYTES": PIECE_BYTES, "LIMIT_S": 1200, **environment,
    }  # fmt: skip
    variables = {name: str(value) for name, value in own.items()}
    command = [SCRIPTS / "gpu_run.sh", "0.05", folder / "pack"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, cwd=folder)
    log = (folder / out / "log.txt").read_text()
    assert log == done.stdout.decode()
    return done.returncode, log


def steps(folder: Path) -> int:
    return torch.load(folder / "run" / "checkpoint.pt", weights_only=True)["step"]


def test_two_calls(folder: Path, tiny_model: Path):
    options = f"--tiny --model {tiny_model}"
    status, log = gpu_run(
        folder, tiny_model, "first", TESTS=folder / "none", BENCHMARK_OPTIONS=options
    )
    assert status == FAILED_TESTS and "== tests failed" in log, log  # and all else went on
    first = steps(folder)
    assert first > 0 and "resuming" not in log
    measured = json.loads((folder / "first" / "benchmark.json").read_text())
    assert measured["passes"]["bfloat16, 2 windows"]["seconds"] > 0
    assert measured["seconds_of_tasks"]["generate, auto"] > 0

    status, log = gpu_run(folder, tiny_model, "second", PARTS="train")
    assert status == 0 and f"resuming at step {first}" in log, log
    assert steps(folder) > first
    out = folder / "second"
    pieces = sorted(out.glob("weights.tar.*"))
    assert len(pieces) > 1 and max(path.stat().st_size for path in pieces) == PIECE_BYTES
    (line,) = [one for one in log.splitlines() if one.startswith("join them")]
    subprocess.run(line.split(": ", 1)[1], shell=True, check=True, cwd=out)
    joined = CompactUNet.from_pretrained(out / "half").state_dict()
    trained = CompactUNet.from_pretrained(folder / "run" / "export").state_dict()
    begun = CompactUNet.from_pretrained(folder / "begin").state_dict()
    assert all(torch.equal(joined[name], tensor.half().float()) for name, tensor in trained.items())
    assert any(not torch.equal(tensor, begun[name]) for name, tensor in trained.items())
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert first < last["step"] <= steps(folder)

    with pieces[0].open("r+b") as file:  # a damaged piece is noticed
        file.seek(40_000)
        file.write(b"damage")
    assert subprocess.run(line.split(": ", 1)[1], shell=True, cwd=out).returncode != 0


def test_a_machine_without_packages_is_told_so(folder: Path, tiny_model: Path):
    status, log = gpu_run(
        folder, tiny_model, "bare", PYTHON="/none", PATH=f"{folder / 'bin'}:{os.defpath}",
        WHEELS=folder / "wheels",
    )  # fmt: skip
    assert status == 16 and "does not have them all" in log, log
