"""Many files over workers: named by where they lie, each done once though a worker is killed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from stemweave.errors import InputError
from stemweave.io import jobs
from stemweave.io.catalogue import (
    Separation,
    SeparationJob,
    Success,
    is_complete,
    separate_song,
    separation_workers,
    worker_pipeline,
)
from stemweave.io.jobs import Workers, map_jobs
from tests.cli.test_main import STEMS, left_behind, write_noise
from tests.waiting import wait_for


def write_music(folder: Path, names: list[str], num_samples: int = 20_000) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_noise(folder / name, num_samples)


def expected(*names: str) -> list[str]:
    files = [*(f"{stem}.wav" for stem in STEMS), "separation.json"]
    return sorted(f"{name}/{file}" for name in names for file in files)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_who_works(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stemweave.io.jobs.usable_cores", lambda: 8)
    monkeypatch.setattr("stemweave.io.catalogue.usable_cores", lambda: 8)
    assert separation_workers(None, None, "cuda:1") is None
    assert separation_workers(1, None, "cpu") is None
    for number, ray, processes, threads in (
        (3, None, 3, 2),
        (2, "local", 2, 4),
        (None, "local", 8, 1),
        (16, "local", 16, 1),
    ):
        workers = separation_workers(number, ray, "cpu")
        assert workers == Workers(processes, ray) and workers.threads == threads
    cluster = separation_workers(None, "auto", "cuda")
    assert cluster is not None and (cluster.gpus, cluster.threads) == (1, 1)
    with pytest.raises(InputError, match="a number of workers is for one machine"):
        separation_workers(2, "auto", "cpu")
    with pytest.raises(InputError, match="give device cuda"):
        separation_workers(None, "local", "cuda:1")


def times(out: Path) -> dict[str, int]:
    return {name: (out / name).stat().st_mtime_ns for name in left_behind(out)}


def test_going_on_makes_what_is_missing_and_nothing_else(run, tiny_model, tmp_path: Path):
    music, out = tmp_path / "music", tmp_path / "out"
    write_music(music, ["a.wav", "b.wav", "deep/c.wav"])
    command = ["separate", music, "-o", out, "--model", tiny_model]
    assert run(*command).code == 0
    (out / "b" / "piano.wav").unlink()  # as after a kill of this process
    (out / "b" / "notes.txt").write_text("mine")
    (out / "deep" / "c" / "bass.wav").write_bytes(b"")  # as after a loss of power
    before = times(out)
    for arguments in (["--workers", 2], []):
        result = run(*command, *arguments)
        assert result.code == 1 and "3 of 3 files failed" in result.err
    assert times(out) == before
    result = run(*command, "--skip-existing")
    assert result.code == 0 and "1 of 3 files have their stems already" in result.out
    assert left_behind(out) == sorted([*expected("a", "b", "deep/c"), "b/notes.txt"])
    after = times(out)
    kept = [name for name in before if before[name] == after[name]]
    assert kept == sorted([*expected("a"), "b/notes.txt"])
    for arguments in (["--workers", 2], []):
        result = run(*command, "--skip-existing", *arguments)
        assert result.code == 0 and "3 of 3 files have their stems already" in result.out
    assert times(out) == after
    assert run(*command, "--skip-existing", "--overwrite").code == 2
    # what is incomplete gives way only if it is of the same file
    (out / "a" / "piano.wav").unlink()
    write_noise(music / "a.wav", 999)
    result = run(*command, "--skip-existing")
    assert result.code == 2 and f"{out / 'a' / 'bass.wav'} exists" in result.err


def test_one_model_for_a_worker_and_no_second_result(tiny_model, tmp_path: Path):
    write_music(tmp_path, ["a.wav", "b.wav"])
    worker_pipeline.cache_clear()
    asked = Separation(STEMS, method="diffusion", existing="skip")

    def job(name: str) -> SeparationJob:
        source, out = tmp_path / f"{name}.wav", tmp_path / "o"
        return SeparationJob(source, out, name, asked, str(tiny_model))

    touch(tmp_path / "o" / "b", "bass.wav", "notes.txt")  # not complete, and somebody's file
    for name in ("a", "b"):
        outcome = separate_song(job(name))
        assert isinstance(outcome, Success)
        assert outcome.files == {stem: str(tmp_path / "o" / name / f"{stem}.wav") for stem in STEMS}
    assert worker_pipeline.cache_info().misses == 1
    assert left_behind(tmp_path / "o") == sorted([*expected("a", "b"), "b/notes.txt"])
    before = times(tmp_path / "o")
    assert isinstance(separate_song(job("a")), Success)  # its worker died before it could tell
    assert times(tmp_path / "o") == before


def test_a_catalogue_on_ray_with_a_worker_killed_midway(
    run, cluster: str, tiny_model: Path, tmp_path: Path
):
    music, out, listed = tmp_path / "music", tmp_path / "out", tmp_path / "failed.jsonl"
    names = [f"album {number}/song" for number in range(8)]
    write_music(music, [f"{name}.wav" for name in names], 16_000 * 40)
    command = ["separate", music, "-o", out, "--model", tiny_model, "--ray", cluster]
    command += ["--skip-existing", "--failures", listed]
    driver = subprocess.Popen([sys.executable, "-m", "stemweave", *map(str, command)])
    asked = Separation(STEMS)

    def finished() -> list[str]:
        return [name for name in names if is_complete(out / name, asked)]

    def separating() -> psutil.Process | None:
        """A worker in the middle of a file, when at least one file is finished."""
        if not finished():
            return None
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended, or is not ours
                paths = [Path(file.path) for file in process.open_files()]
                if process.pid != driver.pid and any(
                    path.is_relative_to(out) and path.suffix == ".lock" for path in paths
                ):
                    return process
        return None

    victim = wait_for(separating, 240)
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)
    first = {name: (out / name / "bass.wav").stat().st_mtime_ns for name in finished()}
    assert 0 < len(first) < 8
    # nothing is half-written: what is there under its name is whole
    assert all(is_complete(folder, asked) for folder in out.glob("*/song"))
    assert driver.wait(240) == 0
    assert listed.read_text() == ""
    assert left_behind(out) == expected(*names)
    assert all((out / name / "bass.wav").stat().st_mtime_ns == t for name, t in first.items())
    for name in names:
        total = sum(soundfile.read(out / name / f"{stem}.wav")[0] for stem in STEMS)
        assert np.abs(total - soundfile.read(music / f"{name}.wav")[0]).max() < 1e-5


def test_a_run_that_was_killed_goes_on_and_lists_what_failed(run, tiny_model: Path, tmp_path: Path):
    music, out, listed = tmp_path / "music", tmp_path / "out", tmp_path / "lists" / "failed.jsonl"
    names = ["song", "a/song", "a/b/song", "b/one", "b/two", "b/z"]
    write_music(music, [f"{name}.wav" for name in names], 16_000 * 40)
    (music / "b" / "zz.wav").write_text("this is not audio")
    command = ["separate", music, "-o", out, "--model", tiny_model, "--workers", 2]
    driver = subprocess.Popen(
        [sys.executable, "-m", "stemweave", *map(str, command)], start_new_session=True
    )
    # not by a glob, whose folders are renamed while it looks at them
    wait_for(lambda: any((out / name / "bass.wav").exists() for name in names), 240)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait(10)
    asked = Separation(STEMS)
    done = [name for name in names if (out / name / "bass.wav").exists()]
    assert 0 < len(done) < 6 and all(is_complete(out / name, asked) for name in done)
    before = {name: (out / name / "bass.wav").stat().st_mtime_ns for name in done}
    result = run(*command, "--skip-existing", "--failures", listed)
    assert result.code == 1, result.err
    missing = 7 - len(done)
    assert f"{len(done)} of 7 files have their stems already" in result.out
    assert f"{missing - 1} of {missing} files separated" in result.out
    assert "zz.wav" in result.err and f"1 of {missing} files failed" in result.err
    (failure,) = map(json.loads, listed.read_text().splitlines())
    assert failure["file"] == str(music / "b" / "zz.wav") and "not audio" in failure["reason"]
    assert left_behind(out) == expected(*names)
    assert before == {name: (out / name / "bass.wav").stat().st_mtime_ns for name in done}
    # and they are what one process makes
    run("separate", music / "b" / "z.wav", "-o", tmp_path / "alone", "--model", tiny_model)
    for stem in STEMS:
        alone, _ = soundfile.read(tmp_path / "alone" / "z" / f"{stem}.wav")
        assert np.abs(soundfile.read(out / "b" / "z" / f"{stem}.wav")[0] - alone).max() < 1e-5


def test_results_that_cannot_be_written_stop_the_run(
    run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_music(tmp_path / "music", [f"{number:02}.wav" for number in range(40)], 1000)
    (tmp_path / "taken").write_text("mine")
    command = ["separate", tmp_path / "music", "-o", tmp_path / "taken", "--model", tiny_model]
    result = run(*command, "--workers", 2)
    assert result.code == 2
    assert "cannot write" in result.err and "taken" in result.err
    assert (tmp_path / "taken").read_text() == "mine"


def visible_gpu(_: int) -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_each_job_on_gpus_gets_its_own(cluster: str):
    workers = Workers(2, cluster, gpus=1)
    assert set(map_jobs(visible_gpu, range(6), workers)) <= {"0", "1"}
    assert jobs._slots({"CPU": 8, "GPU": 2}, workers) == 2


def test_a_cluster_without_gpus_is_not_waited_for(cluster: str):
    with pytest.raises(InputError, match="too few GPUs"):
        list(map_jobs(visible_gpu, range(6), Workers(2, cluster, gpus=3)))
