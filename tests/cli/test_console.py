"""What commands say, to people, to programs and to nobody; which device they say they chose."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from stemweave.cli.console import Console
from stemweave.models import devices
from tests.cli.test_main import STEMS, write_noise

SAY_MUCH = """
import sys
from stemweave.io.streams import open_standard_streams
open_standard_streams()
for stream in (sys.stdout, sys.stderr):
    for _ in range(1000):
        print("a line of some length", file=stream)
    print("a name that is no text: \\udcff", file=stream)
open(sys.argv[1], "w").write("made")
"""


@pytest.mark.parametrize("redirection", ["| head -1", "> /dev/full 2>&1", ">&-", ">&- 2>&-", "<&-"])
def test_nobody_has_to_read_what_is_said(tmp_path: Path, redirection: str):
    (tmp_path / "say.py").write_text(SAY_MUCH)
    made = tmp_path / "made"
    command = f"set -o pipefail; {sys.executable} {tmp_path / 'say.py'} {made} 2>&1 {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stdout + done.stderr
    assert made.read_text() == "made"


def test_files_are_made_though_the_disk_of_stdout_is_full(tiny_model: Path, tmp_path: Path):
    command = [sys.executable, "-m", "stemweave", "generate", "-o", tmp_path / "o", "-n", "2"]
    command += ["--seconds", "1", "--steps", "1", "--model", tiny_model]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("o/*/mixture.wav"))) == 2


def test_results_for_programs_and_for_nobody(run, tiny_model: Path, tmp_path: Path):
    command = ["generate", "--seconds", 1, "--steps", 1, "--model", tiny_model, "-n", 2]
    result = run(*command, "-o", tmp_path / "a", "--json")
    assert result.code == 0 and result.err == ""
    for number, line in enumerate(result.out.splitlines()):
        piece = json.loads(line)
        assert piece["folder"] == str(tmp_path / "a" / str(number))
        assert set(piece["files"]) == {*STEMS, "mixture"}
        assert all(Path(path).is_file() for path in piece["files"].values())
    assert number == 1
    result = run(*command, "-o", tmp_path / "b", "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")
    result = run(*command, "-o", tmp_path / "c")
    assert result.out.splitlines() == [str(tmp_path / "c" / "0"), str(tmp_path / "c" / "1")]
    result = run(*command, "-o", tmp_path / "c", "--verbose")
    assert result.code == 2 and "Traceback" in result.err and "exists" in result.err


def test_version_and_doctor(run, tiny_model: Path):
    assert run("--version").out == f"stemweave {version('stemweave')}\n"
    result = run("doctor", "--model", tiny_model)
    assert result.code == 0
    for word in ("python", torch.__version__, "libsndfile", "masks in", "adds up       yes"):
        assert word in result.out
    found = json.loads(run("doctor", "--model", tiny_model, "--json").out)
    assert found["model"]["stems"] == list(STEMS) and "wav" in found["formats"]["written"]
    result = run("doctor", "--model", "nowhere/at/all")
    assert result.code == 2 and "python" in result.out and "nowhere" in result.err


def test_auto_takes_a_device_that_works(monkeypatch: pytest.MonkeyPatch):
    assert devices.works("cpu")
    assert not devices.works("meta")  # computes nothing
    monkeypatch.setattr(devices, "accelerators", lambda: ["meta"])
    assert devices.checked_device("auto") == torch.device("cpu")
    monkeypatch.setattr(devices, "works", lambda _: True)
    assert devices.checked_device("auto") == torch.device("meta")


def test_what_was_chosen_is_said_once(run, tiny_model: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    command = ["generate", "--seconds", 1, "--steps", 1, "--model", tiny_model, "-n", 2]
    result = run(*command, "-o", tmp_path / "a")
    assert result.err.count("device: ") == 1
    assert "device: " not in run(*command, "-o", tmp_path / "b", "--device", "cpu").err
    Console().say_device("cuda (a GPU)")
    assert capsys.readouterr().err == "device: cuda (a GPU)\n"


def test_ray_says_that_it_uses_the_cpu(run, tiny_model: Path, tmp_path: Path, monkeypatch):
    write_noise(tmp_path / "a.wav", 2000)
    monkeypatch.setattr("stemweave.cli.separate.separate_on_workers", lambda *_: iter(()))
    command = ["separate", tmp_path / "a.wav", "-o", tmp_path / "o", "--model", tiny_model]
    command += ["--ray", "local"]
    assert run(*command).err.count("device: cpu (--device cuda is for Ray's GPUs)\n") == 1
    for more in (["--device", "cpu"], ["--quiet"]):
        assert "device" not in run(*command, *more).err


def test_a_device_that_is_wrong_or_slow_does_not_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "_apart", lambda _: 2 * devices.TOLERANCE)
    assert not devices.works("cpu")
    monkeypatch.setattr(devices, "_apart", lambda _: float("nan"))
    assert not devices.works("cpu")
    monkeypatch.setattr(devices, "_apart", lambda _: 0.0)
    monkeypatch.setattr(devices, "TEST_S", -1.0)
    assert not devices.works("cpu")


def test_pictures_say_nothing_of_caches(tiny_model: Path, tmp_path: Path):
    command = [sys.executable, "-m", "stemweave", "generate", "-o", tmp_path / "o", "--plot"]
    command += ["--seconds", "1", "--steps", "1", "--model", tiny_model]
    environment = {"HOME": "/dev/null", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "o" / "0" / "spectrograms.png").is_file()
