"""The one thread that runs jobs, in the order in which they came."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import OperationalError

from stemweave.errors import InputError
from stemweave.web.feed import Feed
from stemweave.web.library import Library
from stemweave.web.pace import Pace
from stemweave.web.runner import Runner
from stemweave.web.store import Store
from stemweave.web.tables import Job, Version

RETRY_S = 5.0

Written = TypeVar("Written")

log = logging.getLogger("stemweave.web")


class _Stopped(Exception):
    """Raised in the pipeline's progress callback when a job is cancelled or the server stops."""


class Worker:
    """Runs what is queued in ``store`` until it is stopped."""

    def __init__(self, store: Store, library: Library, runner: Runner, feed: Feed) -> None:
        self._store, self._library, self._runner, self._feed = store, library, runner, feed
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._running: tuple[str, Pace] | None = None
        self._cancelled: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="stemweave-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Put the running job back into the queue, at its next step, and end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=60)

    def wake(self) -> None:
        self._wake.set()

    def cancel(self, job_id: str) -> None:
        """A job that runs, or is about to, ends at its next step."""
        self._cancelled.add(job_id)

    def pace(self, job_id: str) -> Pace | None:
        """How far the running job is; None for all others."""
        running = self._running
        return running[1] if running is not None and running[0] == job_id else None

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            job = self._surely(self._store.start_next_job)
            if job is None:
                self._wake.wait()
                continue
            pace = Pace(part_began_s=time.monotonic())
            self._running = job.id, pace
            self._feed.changed()
            try:
                self._surely(self._do(job, pace))
            finally:
                self._running = None
                self._cancelled.discard(job.id)
                self._feed.changed()

    def _surely(self, write: Callable[[], Written]) -> Written | None:
        """``write`` to the database; while the disk is full, wait for room instead of dying."""
        while True:
            try:
                return write()
            except OperationalError:
                log.exception("the database cannot be written; trying again")
                if self._stopping.wait(RETRY_S):
                    return None

    def _do(self, job: Job, pace: Pace) -> Callable[[], object]:
        """Run one job; returns what writes down how it ended."""
        end = partial(self._store.end_job, job.id)
        try:
            with self._library.working_folder() as folder:
                version = self._run(job, pace, folder)
                self._library.publish(folder, version.id)
            return partial(self._finish, job, pace, version)
        except _Stopped:
            if job.id in self._cancelled:
                return partial(end, "cancelled")
            return partial(self._store.requeue_job, job.id)
        except InputError as error:
            return partial(end, "failed", self._library.without_paths(str(error)))
        except MemoryError:
            return partial(end, "failed", "not enough memory: use a shorter piece")
        except Exception as error:
            log.exception("job %s (%s) failed", job.id, job.task)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return partial(end, "failed", self._library.without_paths(f"unexpected: {reason}"))

    def _run(self, job: Job, pace: Pace, folder: Path) -> Version:
        """Fill ``folder`` with the job's tracks; returns the row for them."""

        def progress(step: int, steps: int) -> None:
            self._stop_if_told(job.id)
            pace.reach(step, steps, time.monotonic())
            self._feed.changed(job.id, job.project_id)

        source = self._library.folder(job.version_id) if job.version_id else None
        self._stop_if_told(job.id)
        self._runner.run(job.task, job.params, job.seed, source, folder, progress)
        self._stop_if_told(job.id)
        parent = self._store.row(Version, job.version_id) if job.version_id else None
        return self._library.describe(
            folder, job.project_id, job.task, job.params, job.seed, parent
        )

    def _finish(self, job: Job, pace: Pace, version: Version) -> None:
        steps = pace.step, pace.steps
        if not self._store.end_job(job.id, "done", steps=steps, result=version):
            self._library.remove([version.id])  # the project was deleted meanwhile

    def _stop_if_told(self, job_id: str) -> None:
        if self._stopping.is_set() or job_id in self._cancelled:
            raise _Stopped
