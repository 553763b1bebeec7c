"""Jobs over processes and over a Ray cluster whose workers are killed: one result for each."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stemweave.data.songs import MANIFEST, read_manifest
from stemweave.files import InputError, appearing
from stemweave.jobs import IN_FLIGHT, MAX_FAILURES, Workers, map_jobs
from stemweave.render.collection import VALIDATION_SOUNDFONT
from tests.render.test_render import write_band


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Ray cluster of two workers."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    store_bytes = 80 * 2**20
    node = dict(num_cpus=2, object_store_memory=store_bytes, include_dashboard=False)
    cluster = Cluster(initialize_head=True, head_node_args=node)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module", params=["processes", "ray"])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """Two workers of either kind; what joined the cluster itself stays in it."""
    if request.param == "processes":
        yield Workers(2)
        return
    import ray

    address = request.getfixturevalue("cluster")
    ray.init(address, logging_level="ERROR", log_to_driver=False)
    yield Workers(2, address)
    assert ray.is_initialized()
    ray.shutdown()


def square_unless_killed(job: tuple[Path, int]) -> int:
    """Note the attempt; number 3 kills its own process at the first one, 5 raises."""
    folder, number = job
    with (folder / f"{number}").open("a") as file:
        file.write("x")
    if number == 3 and (folder / "3").read_text() == "x":
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def test_one_result_for_each_job_though_a_worker_is_killed(workers, tmp_path: Path):
    jobs = ((tmp_path, number) for number in range(12))
    results = Counter(map_jobs(square_unless_killed, jobs, workers, 12))
    assert results == Counter(number**2 for number in range(12))
    assert (tmp_path / "3").read_text() == "xx"


def fail_at_odd_numbers(number: int) -> int:
    if number % 2:
        raise InputError(f"{number} is odd")
    return number


def test_failed_jobs_do_not_stop_the_others(workers):
    results = []
    with pytest.raises(InputError, match=r"3 jobs failed.*\d is odd"):
        results.extend(map_jobs(fail_at_odd_numbers, range(6), workers))
    assert sorted(results) == [0, 2, 4]


def test_no_further_jobs_after_too_many_failures(workers):
    started = []

    def numbers() -> Iterator[int]:
        for number in range(1, 2000, 2):
            started.append(number)
            yield number

    with pytest.raises(InputError, match="failed"):
        list(map_jobs(fail_at_odd_numbers, numbers(), workers))
    assert MAX_FAILURES <= len(started) <= MAX_FAILURES + 3 * IN_FLIGHT * 2


def break_a_program(number: int) -> float:
    return 1 / number


def test_faults_of_the_program_keep_their_cause(workers):
    with pytest.raises(RuntimeError, match="division by zero") as failure:
        list(map_jobs(break_a_program, [0], workers))
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_kills_every_worker_is_given_up(workers):
    with pytest.raises(InputError, match="worker died 4 times"):
        list(map_jobs(die, [0], workers))


def test_jobs_are_drawn_as_they_are_needed(workers):
    drawn = 0

    def numbers() -> Iterator[int]:
        nonlocal drawn
        for number in range(0, 400, 2):
            drawn += 1
            yield number

    ahead = []
    for finished, _ in enumerate(map_jobs(fail_at_odd_numbers, numbers(), workers), start=1):
        ahead.append(drawn - finished)
    assert drawn == len(ahead) == 200
    assert max(ahead) <= IN_FLIGHT * 2


def listed(data: Path) -> list[str]:
    return re.findall(r'"path": "([^"]+)"', (data / MANIFEST).read_text())


def wait_for(condition, seconds: float = 60):
    """What ``condition`` returns as soon as it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{condition.__name__}: not within {seconds} s")


def test_render_on_ray_with_a_worker_killed_midway(run, cluster: str, tmp_path: Path):
    midi, data = tmp_path / "midi", tmp_path / "data"
    for number in range(8):
        write_band(midi / f"{number}.mid", [0, 25, 33, -1], seconds=60)
    write_band(midi / "lonely.mid", [0])
    command = ["render", midi, data, "--soundfont", VALIDATION_SOUNDFONT, "--ray", cluster]
    driver = subprocess.Popen([sys.executable, "-m", "stemweave", *map(str, command)])

    def rendering() -> psutil.Process | None:
        """A worker in the middle of a song, when at least one song is finished."""
        if not (data / MANIFEST).exists():
            return None
        for process in psutil.process_iter(["cmdline"]):
            if " ".join(process.info["cmdline"] or []).startswith("ray::render_file"):
                return process
        return None

    victim = wait_for(rendering)
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)
    assert len(listed(data)) < 8
    assert driver.wait(120) == 0
    assert sorted(name[0] for name in listed(data)) == [str(number) for number in range(8)]
    assert (data / "skipped.jsonl").read_text().count("\n") == 1
    assert sorted(p.name for p in data.iterdir() if p.is_dir()) == sorted(listed(data))
    # the same songs as plain processes make; and nothing is made again
    one = tmp_path / "one"
    one.mkdir()
    (midi / "3.mid").rename(one / "3.mid")
    run("render", one, tmp_path / "plain", "--soundfont", VALIDATION_SOUNDFONT, "--workers", 1)
    (song,) = read_manifest(tmp_path / "plain")
    for stem in song.stems:
        elsewhere = data / song.name / f"{stem}.flac"
        assert elsewhere.read_bytes() == song.stem_paths(stem)[0].read_bytes()
    again = run(*command)
    assert again.code == 0 and "0 songs" in again.out
    assert len(listed(data)) == 8


def test_a_song_finished_but_not_listed_is_listed_once(run, tmp_path: Path):
    write_band(tmp_path / "midi" / "band.mid", [0, 25, 33, -1])
    command = ["render", tmp_path / "midi", tmp_path / "data", "--workers", 1]
    command += ["--soundfont", VALIDATION_SOUNDFONT]
    assert run(*command).code == 0
    (name,) = listed(tmp_path / "data")
    written = (tmp_path / "data" / name / "bass.flac").stat().st_mtime_ns
    (tmp_path / "data" / MANIFEST).unlink()  # as if the driver had died in between
    assert "1 songs" in run(*command).out
    assert listed(tmp_path / "data") == [name]
    assert (tmp_path / "data" / name / "bass.flac").stat().st_mtime_ns == written


def test_ray_that_is_not_there(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_band(tmp_path / "midi" / "band.mid", [0, 25, 33, -1])
    command = ["render", tmp_path / "midi", tmp_path / "data"]
    command += ["--soundfont", VALIDATION_SOUNDFONT]
    for address in ("127.0.0.1:9", "nonsense"):
        result = run(*command, "--ray", address)
        assert result.code == 2 and "no Ray cluster answers" in result.err
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run(*command, "--ray", "local")
    assert result.code == 2 and "pip install 'stemweave[scale]'" in result.err


def test_files_and_folders_appear_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(KeyError), appearing(tmp_path / "broken") as partial:
        partial.write_text("half")
        raise KeyError
    child = subprocess.Popen(["true"])
    child.wait()
    dead = f"song@{os.uname().nodename}@{child.pid}@x"
    for left in (dead, f"song@elsewhere@{child.pid}@x", f"other@here@{child.pid}@x"):
        (tmp_path / ".partial" / left).mkdir(parents=True)
    for text in ("first", "second"):
        with appearing(tmp_path / "song") as partial:
            partial.mkdir()
            (partial / "bass").write_text(text)
            assert not (tmp_path / "song").exists() or text == "second"
    assert (tmp_path / "song" / "bass").read_text() == "first"
    assert not (tmp_path / ".partial" / dead).exists()
    assert len(list((tmp_path / ".partial").iterdir())) == 2
    for text in ("first", "second"):
        with appearing(tmp_path / "elsewhere" / "file") as partial:
            partial.write_text(text)
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["file"]
    assert (tmp_path / "elsewhere" / "file").read_text() == "second"
