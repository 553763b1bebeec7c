"""One studio: its settings, store, files, model and worker, and what they do together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Annotated, TypeVar

from anyio import CapacityLimiter
from fastapi import Depends, Request

from stemweave.web.answers import JobAnswer, Packing, ProjectAnswer, job_answer, project_answer
from stemweave.web.errors import Refused
from stemweave.web.feed import Feed
from stemweave.web.library import Library
from stemweave.web.runner import Runner
from stemweave.web.settings import Settings
from stemweave.web.store import Store
from stemweave.web.tables import Job, Project, Version
from stemweave.web.worker import Worker

EXPIRY_INTERVAL_S = 600.0
CONVERSIONS = 2
"""Audio files that are decoded or encoded for clients at once."""

Row = TypeVar("Row", Project, Version, Job)

log = logging.getLogger("stemweave.web")


class Studio:
    """Everything that handlers need. Raises ``InputError`` if the data folder is in use."""

    def __init__(self, settings: Settings, runner: Runner) -> None:
        self.settings, self.runner = settings, runner
        self.library = Library(settings.data)
        self.store = Store(settings.data / "studio.sqlite3")
        self.feed = Feed()
        self.worker = Worker(self.store, self.library, runner, self.feed)
        self.conversions = CapacityLimiter(CONVERSIONS)
        self.analyses = CapacityLimiter(1)
        self._packings: dict[tuple[str, str], Packing] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Clean up after a killed server, then work and expire while the block runs."""
        self.store.fail_interrupted_jobs()
        self.library.sweep({version.id for version in self.store.versions()})
        self.worker.start()
        stopping = asyncio.Event()
        expiry = asyncio.create_task(self._expire_now_and_then(stopping))
        try:
            yield
        finally:
            stopping.set()
            await expiry  # its thread would go on if it were cancelled
            await asyncio.to_thread(self.worker.stop)
            self.store.close()

    async def _expire_now_and_then(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await asyncio.to_thread(self.expire)
            except Exception:
                log.exception("expired projects could not be deleted")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stopping.wait(), EXPIRY_INTERVAL_S)

    def expire(self, at: datetime | None = None) -> None:
        for project_id in self.store.idle_projects(self.settings.keep_days, at):
            self.delete_project(project_id)

    def delete_project(self, project_id: str) -> bool:
        """Delete a project, its files and jobs; False if there is none."""
        jobs = self.store.jobs(project_id)
        versions = self.store.delete_project(project_id)
        if versions is None:
            return False
        for job in jobs:
            if job.state == "running":
                self.worker.cancel(job.id)
        self.library.remove(versions)
        self.feed.changed()
        return True

    def delete_version(self, version: Version) -> None:
        """Forget a version and its files. Raises ``Refused``."""
        if not self.store.delete_version(version):
            raise Refused(409, "the version is the only one of its project, or a job works on it")
        self.library.remove([version.id])
        self.feed.changed(version.project_id)

    def cancel(self, job_id: str) -> None:
        """Take a job out of the queue, or stop it at its next step. Raises ``Refused``."""
        if self.store.cancel_queued_job(job_id):
            self.feed.changed()
            return
        if self.job(job_id).state != "running":
            raise Refused(409, "the job has ended")
        self.worker.cancel(job_id)

    def tell_packing(self, version: Version, fmt: str, done: int) -> None:
        """``done`` tracks of ``version`` are in a zip for a client; with all of them it is done."""
        about = dict(project_id=version.project_id, version_id=version.id, format=fmt)
        self._packings[version.id, fmt] = Packing(**about, done=done, total=len(version.tracks))
        if done == len(version.tracks):
            del self._packings[version.id, fmt]
        self.feed.changed(version.project_id)

    def packings_of(self, project_id: str) -> list[Packing]:
        return [one for one in list(self._packings.values()) if one.project_id == project_id]

    # rows or 404

    def project(self, project_id: str) -> Project:
        return self._row(Project, project_id)

    def version(self, version_id: str) -> Version:
        return self._row(Version, version_id)

    def job(self, job_id: str) -> Job:
        return self._row(Job, job_id)

    def _row(self, kind: type[Row], row_id: str) -> Row:
        row = self.store.row(kind, row_id)
        if row is None:
            raise Refused(404, f"there is no such {kind.__name__.lower()}")
        return row

    # rows as answers

    def project_answer(self, project: Project) -> ProjectAnswer:
        versions = self.store.versions(project.id)
        return project_answer(project, versions, self.settings.keep_days)

    def latest_jobs(self, project_id: str, ended: int) -> list[JobAnswer]:
        return [self.job_answer(job) for job in self.store.latest_jobs(project_id, ended)]

    def job_answer(self, job: Job) -> JobAnswer:
        pace = self.worker.pace(job.id)
        return job_answer(job, self.store.position(job), pace, time.monotonic())


def studio_of(request: Request) -> Studio:
    studio = request.app.state.studio
    assert isinstance(studio, Studio)
    return studio


InStudio = Annotated[Studio, Depends(studio_of)]
