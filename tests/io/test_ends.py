"""A signal at any moment ends a command silently, with its code, and with nothing half-made."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from stemweave.io import ends
from tests.cli.test_main import write_noise
from tests.waiting import is_being_written, wait_for


def unignore_signals() -> None:
    """Whatever began these tests (a shell's background ignores SIGINT), the command gets them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begin a command; it handles signals already."""
    begun: list[subprocess.Popen[str]] = []

    def call(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "stemweave", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=unignore_signals,
        )
        begun.append(process)

        def handles_hangup() -> bool:
            status = Path(f"/proc/{process.pid}/status").read_text()
            caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
            return bool(int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1)

        wait_for(handles_hangup, 60)
        return process

    yield call
    for process in begun:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_imports_end_without_a_traceback(begin, tmp_path: Path, number: int, delay_s: float):
    process = begin("generate", "-o", tmp_path / "out", "--seconds", 100)
    time.sleep(delay_s)
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 128 + number
    assert not (tmp_path / "out").exists()


@pytest.fixture
def separating(begin, tiny_model: Path, tmp_path: Path) -> subprocess.Popen[str]:
    """Two workers in the middle of two files."""
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for file in files:
        write_noise(file, 16_000 * 200)
    options = ["-o", tmp_path / "out", "--model", tiny_model, "--workers", 2]
    process = begin("separate", *files, *options)
    wait_for(lambda: is_being_written(tmp_path / "out", "piano"), 120)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_workers_end_with_the_command(separating, tmp_path: Path, number: int):
    separating.send_signal(number)
    assert separating.communicate(timeout=60) == ("", "")
    assert separating.returncode == 128 + number
    assert not (tmp_path / "out").exists()


def test_workers_end_when_the_command_is_killed(separating, tmp_path: Path):
    children = psutil.Process(separating.pid).children(recursive=True)
    separating.kill()
    separating.communicate()
    _, alive = psutil.wait_procs(children, 60)
    assert alive == []
    assert not list((tmp_path / "out").glob("**/*.wav"))


def test_what_becomes_of_the_exception_does_not_matter():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop, ends.handled_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit as error:
            raise ImportError("as compiled modules make of it") from error
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_signals_that_were_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends.handled_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
