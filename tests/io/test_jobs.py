"""Jobs over processes and over a Ray cluster whose workers are killed: one result for each."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stemweave.errors import InputError, OutputError
from stemweave.io.files import InUse, Staging, appearing, remove_left
from stemweave.io.jobs import (
    IN_FLIGHT,
    MAX_FAILURES,
    Failed,
    WorkerDied,
    Workers,
    map_jobs,
    outcomes,
)


@pytest.fixture(scope="module", params=["processes", pytest.param("ray", marks=pytest.mark.ray)])
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


def die_at_three(number: int) -> int:
    if number == 3:
        die(number)
    return number


def test_a_job_that_kills_takes_no_other_with_it(workers):
    results, failed = [], []
    for outcome in outcomes(die_at_three, range(8), workers):
        (failed if isinstance(outcome, Failed) else results).append(outcome)
    assert sorted(results) == [0, 1, 2, 4, 5, 6, 7]
    assert [failure.job for failure in failed] == [3]
    assert isinstance(failed[0].error, WorkerDied)


def test_jobs_are_drawn_as_they_are_needed(workers):
    drawn = 0

    def numbers() -> Iterator[int]:
        nonlocal drawn
        for number in range(0, 120, 2):
            drawn += 1
            yield number

    ahead = []
    for finished, _ in enumerate(map_jobs(fail_at_odd_numbers, numbers(), workers), start=1):
        ahead.append(drawn - finished)
    assert drawn == len(ahead) == 60
    assert max(ahead) <= IN_FLIGHT * 2


def test_files_and_folders_appear_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(KeyError), appearing(tmp_path / "broken") as partial:
        partial.write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with appearing(tmp_path / "song") as partial:
            partial.mkdir()
            (partial / "bass").write_text(text)
            assert not (tmp_path / "song").exists() or text == "second"
    assert (tmp_path / "song" / "bass").read_text() == "first"
    for text in ("first", "second"):
        with appearing(tmp_path / "elsewhere" / "file") as partial:
            partial.write_text(text)
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["file"]
    assert (tmp_path / "elsewhere" / "file").read_text() == "second"
    with pytest.raises(OutputError, match="song"), appearing(tmp_path / "song") as partial:
        partial.write_text("a file where a folder is")
    with pytest.raises(OutputError, match=r"cannot write .*full.*No space"):  # noqa: SIM117
        with appearing(tmp_path / "full") as partial:
            raise OSError(28, "No space left on device")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "song"]


def test_what_killed_processes_left_goes_and_what_living_ones_make_stays(tmp_path: Path):
    program = (
        "import os, pathlib, sys, time; from stemweave.io.files import Staging\n"
        "with Staging(pathlib.Path(sys.argv[1]), sys.argv[2]) as folder:\n"
        "    (folder / 'bass.wav').touch(); print(flush=True); time.sleep(60)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path, name], stdout=subprocess.PIPE)
        for name in ("living", "dead")
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    assert len(list(tmp_path.glob(".partial/*/bass.wav"))) == 2
    processes[1].kill()
    processes[1].wait()
    with Staging(tmp_path, "dead") as folder:
        assert list(folder.iterdir()) == []
        assert len(list(tmp_path.glob(".partial/*/bass.wav"))) == 1
        with pytest.raises(InUse):
            Staging(tmp_path, "living")
    processes[0].kill()
    processes[0].wait()
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_makers_side_by_side_remove_the_folder_under_each_other(tmp_path: Path):
    def make(maker: int) -> None:
        for number in range(100):
            with appearing(tmp_path / f"{maker}-{number}") as partial:
                partial.mkdir()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(8)))
    assert len(list(tmp_path.iterdir())) == 800  # and no ".partial"


SAY_MUCH = """
import sys
from stemweave.io.jobs import Workers, map_jobs

def say(number):
    for stream in (sys.stdout, sys.stderr):
        print("a line of some length" * 1000, file=stream, flush=True)
    return number

if __name__ == "__main__":
    made = sorted(map_jobs(say, range(4), Workers(2)))
    open(sys.argv[1], "w").write(str(made))
"""


def test_workers_may_speak_to_nobody(tmp_path: Path):
    (tmp_path / "say.py").write_text(SAY_MUCH)
    command = [sys.executable, tmp_path / "say.py", tmp_path / "made"]
    with open("/dev/full", "w") as full:
        subprocess.run(command, stdout=full, stderr=full, check=True)
    assert (tmp_path / "made").read_text() == "[0, 1, 2, 3]"
