"""Independent jobs over worker processes or a Ray cluster: none lost, none done twice.

A job whose worker dies is handed out again. So what a job writes must be the same each time and
appear by rename (``files.appearing``), and whatever counts results belongs to the caller, which
gets exactly one for every job. Jobs come from an iterator and few are in flight, so a million of
them need no memory.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, Generic, TypeVar

from stemweave.errors import InputError
from stemweave.io.ends import (
    handle_signals_of_worker,
    kept_at_end,
    leave,
    removing_at_end,
    signals_held_back,
)
from stemweave.io.streams import open_standard_streams
from stemweave.io.threads import usable_cores

IN_FLIGHT = 3
"""Jobs handed out at once for every worker: one runs, the next ones are at hand."""
MAX_RETRIES = 3
"""How often a job is handed out again because its worker died."""
MAX_FAILURES = 20
"""A job that fails does not stop the others; after so many, no further ones are started."""
PATIENCE_S = 3.0
"""For workers that end to remove what they were making."""

Job = TypeVar("Job")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Workers:
    """Where jobs run.

    Attributes:
        processes: on this machine, each on one core unless the job uses its ``threads``.
        ray: None for plain processes; "local" for a Ray of ``processes`` on this machine; "auto"
            for the running cluster that Ray finds; or a cluster's address.
        gpus: that Ray keeps for every job; 0 for jobs on CPUs.
    """

    processes: int = 2
    ray: str | None = None
    gpus: int = 0

    @property
    def threads(self) -> int:
        """Cores for one job: a worker's share of this machine's, one on a cluster."""
        if self.ray not in (None, "local"):
            return 1
        return max(1, usable_cores() // self.processes)


TWO_PROCESSES = Workers()


class WorkerDied(Exception):
    """Every worker that was given a job died."""


@dataclass(frozen=True)
class Failed(Generic[Job]):
    """A job that gave no result, and why."""

    job: Job
    error: Exception


def map_jobs(
    make: Callable[[Job], Made], jobs: Iterable[Job], workers: Workers, total: int | None = None
) -> Iterator[Made]:
    """What ``make``, a module's function, returns for every job, as they finish, with a bar.

    Raises:
        InputError: when all others are done, if jobs failed for a reason that users can mend or
            their workers kept dying; at once if Ray or its cluster is missing.
        RuntimeError: likewise, for any other reason, which is its cause.
    """
    failures: list[Exception] = []
    for outcome in outcomes(make, jobs, workers, total):
        if isinstance(outcome, Failed):
            failures.append(outcome.error)
        else:
            yield outcome
    if failures:
        first = failures[0]
        kind = InputError if isinstance(first, (InputError, WorkerDied)) else RuntimeError
        raise kind(
            f"{len(failures)} jobs failed; what is finished is kept, run the command again for the "
            f"rest; the first said: {first}"
        ) from first


def outcomes(
    make: Callable[[Job], Made],
    jobs: Iterable[Job],
    workers: Workers,
    total: int | None = None,
    shows_bar: bool = True,
) -> Iterator[Made | Failed[Job]]:
    """As ``map_jobs`` for callers who report each failed job themselves: these are ``Failed``.

    After ``MAX_FAILURES`` of them no further jobs are drawn.

    Raises:
        InputError: if Ray or its cluster is missing, or has no GPU for jobs that need one.
    """
    from tqdm import tqdm

    failures = 0

    def started() -> Iterator[Job]:
        for job in jobs:
            if failures >= MAX_FAILURES:
                return
            yield job

    results = (
        _over_processes(make, started(), workers.processes)
        if workers.ray is None
        else _over_ray(make, started(), workers)
    )
    # None: on a terminal only
    for outcome in tqdm(results, total=total, disable=None if shows_bar else True):
        failures += isinstance(outcome, Failed)
        yield outcome


def _over_processes(
    make: Callable[[Job], Made], jobs: Iterator[Job], processes: int
) -> Iterator[Made | Failed[Job]]:
    # a fork would copy a synthesiser whose threads stay behind
    context = multiprocessing.get_context("spawn")
    suspects: deque[tuple[Job, int]] = deque()  # their pool died, so often
    running: dict[Future[Made], tuple[Job, int]] = {}
    if sys.platform != "win32":
        with signals_held_back():  # what tidies up after a pool must not end before it
            resource_tracker.ensure_running()
    pool = ProcessPoolExecutor(processes, context, _begin_worker)

    def end_workers() -> None:
        _end_workers(pool)

    removing_at_end(end_workers)
    try:
        while True:
            broken = False
            for job, deaths in _next(jobs, suspects, running, IN_FLIGHT * processes):
                try:
                    with signals_held_back():
                        running[pool.submit(make, job)] = job, deaths
                except BrokenProcessPool:  # it never began
                    suspects.appendleft((job, deaths))
                    broken = True
                    break
            if not running and not broken:
                return
            # the death of one worker ends the pool and every job in it
            done = set(running) if broken else wait(running, return_when=FIRST_COMPLETED).done
            while done:
                future = done.pop()
                job, deaths = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    broken, done = True, set(running)
                    if deaths < MAX_RETRIES:
                        suspects.append((job, deaths + 1))
                    else:
                        yield Failed(job, _death(job))
                except Exception as error:
                    yield Failed(job, error)
            if broken:
                pool.shutdown()
                pool = ProcessPoolExecutor(processes, context, _begin_worker)
    except BaseException:  # nobody waits for results any more
        end_workers()
        raise
    finally:
        kept_at_end(end_workers)
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Signals end a worker at once, and so does the end of the process that it works for.

    What it says may go nowhere, as of that process.
    """
    handle_signals_of_worker()
    open_standard_streams()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        leave(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _end_workers(pool: ProcessPoolExecutor) -> None:
    """Ask all to remove what they were making, then end those that do not."""
    workers = list((pool._processes or {}).values())
    for worker in workers:
        worker.terminate()
    deadline_s = time.monotonic() + PATIENCE_S
    for worker in workers:
        worker.join(max(0.0, deadline_s - time.monotonic()))
        if worker.is_alive():
            worker.kill()


def _next(
    jobs: Iterator[Job],
    suspects: deque[tuple[Job, int]],
    running: Mapping[Any, tuple[Job, int]],
    most: int,
) -> Iterable[tuple[Job, int]]:
    """Jobs to start. Suspects go alone: the one that kills takes no other with it again."""
    if any(deaths for _, deaths in running.values()):
        return []
    if suspects:
        return [] if running else [suspects.popleft()]
    return ((job, 0) for job in islice(jobs, most - len(running)))


def _over_ray(
    make: Callable[[Job], Made], jobs: Iterator[Job], workers: Workers
) -> Iterator[Made | Failed[Job]]:
    try:
        import ray
    except ImportError as error:
        raise InputError("this needs Ray: pip install 'stemweave[scale]'") from error
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers)
    remote = ray.remote(num_cpus=1, num_gpus=workers.gpus, max_retries=MAX_RETRIES)(make)
    running: dict[Any, Job] = {}
    counted_s = -float("inf")
    try:
        if ray.cluster_resources().get("GPU", 0) < workers.gpus:  # Ray would wait for ever
            raise InputError(
                f"the Ray at {workers.ray} has too few GPUs: add machines that have them, or use "
                "device cpu"
            )
        while True:
            if time.monotonic() - counted_s > 5:  # clusters grow and shrink
                slots = _slots(ray.cluster_resources(), workers)
                counted_s = time.monotonic()
            for job in islice(jobs, max(0, IN_FLIGHT * slots - len(running))):
                running[remote.remote(job)] = job
            if not running:
                return
            # all that are ready at once: a look at each of thousands in flight costs time
            ready, waiting = ray.wait(list(running), num_returns=len(running), timeout=0)
            for reference in ready or ray.wait(waiting, num_returns=1)[0]:
                job = running.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    cause = error.cause
                    yield Failed(job, cause if isinstance(cause, Exception) else error)
                except ray.exceptions.RayError:
                    yield Failed(job, _death(job))
    finally:
        if ours:
            ray.shutdown()


def _slots(resources: dict[str, float], workers: Workers) -> int:
    """Jobs that a cluster can do at a time."""
    slots = resources.get("CPU", 1)
    if workers.gpus:
        slots = min(slots, resources.get("GPU", 0) // workers.gpus)
    return max(1, int(slots))


def _death(job: object) -> WorkerDied:
    return WorkerDied(
        f"the worker died {MAX_RETRIES + 1} times, perhaps for lack of memory (fewer workers?), "
        f"on {str(job)[:200]}"
    )


def _connect(ray: Any, workers: Workers) -> None:
    """Start or join a cluster; raises ``InputError`` if there is none."""
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if workers.ray == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # as plain processes, not at Ray's 15, which other programs on this machine starve
        os.environ.setdefault("RAY_worker_niceness", "0")
        store_bytes = 100 * 2**20  # results are small: the least that Ray allows is 75 MB
        ray.init(
            num_cpus=workers.processes,
            include_dashboard=False,
            object_store_memory=store_bytes,
            **options,
        )
        return
    try:
        if workers.ray != "auto":  # Ray itself would wait for minutes
            host, _, port = str(workers.ray).removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=workers.ray, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {workers.ray}: begin one with 'ray start --head', give its "
            "HOST:PORT, or use local"
        ) from error
