"""Server-sent events: what becomes of a job, or of a project and everything in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from stemweave.web.answers import Deleted, JobAnswer, Packing, ProjectAnswer
from stemweave.web.errors import Refused
from stemweave.web.studio import Studio, studio_of
from stemweave.web.tables import ENDED

HEARTBEAT_S = 15.0
"""Proxies close connections on which nothing comes for a minute."""
ENDED_JOBS = 20
"""Of the jobs that have ended, so many are sent to whoever begins to follow a project."""

router = APIRouter(prefix="/api", tags=["events"])
InStudio = Annotated[Studio, Depends(studio_of)]
News = Callable[[], tuple[list[str], bool]]


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "events named job"}},
)
async def follow_job(job_id: str, studio: InStudio, request: Request) -> Response:
    """The job now, at each change, and when it has ended."""
    await to_thread.run_sync(studio.job, job_id)
    return _answer(request, studio, job_id, _JobNews(studio, job_id).news)


@router.get(
    "/projects/{project_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "events named project, job, packing and deleted",
        }
    },
)
async def follow_project(project_id: str, studio: InStudio, request: Request) -> Response:
    """The project, its jobs and the zips that are being made, now and at each change.

    The stream ends after ``deleted``.
    """
    await to_thread.run_sync(studio.project, project_id)
    return _answer(request, studio, project_id, _ProjectNews(studio, project_id).news)


def _answer(request: Request, studio: Studio, topic: str, news: News) -> Response:
    about: dict[str, Any] = {
        "media_type": "text/event-stream",
        "headers": {"x-accel-buffering": "no"},
    }
    if request.method == "HEAD":
        return Response(**about)
    return StreamingResponse(_stream(studio, topic, news), **about)


async def _stream(studio: Studio, topic: str, news: News) -> AsyncIterator[str]:
    """What ``news`` finds, again at each change of ``topic``, for as long as it says so."""
    with studio.feed.following(topic) as changed:
        while not studio.feed.closed:
            changed.clear()
            events, goes_on = await to_thread.run_sync(news)
            for event in events:
                yield event
            if not goes_on:
                return
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT_S)
            except asyncio.TimeoutError:
                yield ": still here\n\n"


def _event(name: str, data: BaseModel) -> str:
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n"


class _JobNews:
    """What has not been sent yet of one job."""

    def __init__(self, studio: Studio, job_id: str) -> None:
        self._studio, self._job_id = studio, job_id
        self._told: JobAnswer | None = None

    def news(self) -> tuple[list[str], bool]:
        """Events, and whether more can come."""
        try:
            job = self._studio.job_answer(self._studio.job(self._job_id))
        except Refused:  # deleted meanwhile
            return [], False
        events = [] if job == self._told else [_event("job", job)]
        self._told = job
        return events, job.state not in ENDED


class _ProjectNews:
    """What has not been sent yet of one project."""

    def __init__(self, studio: Studio, project_id: str) -> None:
        self._studio, self._project_id = studio, project_id
        self._project: ProjectAnswer | None = None
        self._jobs: dict[str, JobAnswer] = {}
        self._packings: list[Packing] = []

    def news(self) -> tuple[list[str], bool]:
        """Events, and whether more can come. A version is sent before the job that made it."""
        studio = self._studio
        jobs = studio.latest_jobs(self._project_id, ENDED_JOBS)
        try:
            project = studio.project_answer(studio.project(self._project_id))
        except Refused:
            return [_event("deleted", Deleted(id=self._project_id))], False
        events = [] if project == self._project else [_event("project", project)]
        self._project = project
        events += [_event("job", job) for job in jobs if job != self._jobs.get(job.id)]
        self._jobs = {job.id: job for job in jobs}
        packings = studio.packings_of(self._project_id)
        ended = [one for one in self._packings if not any(one.same(other) for other in packings)]
        for packing in ended:
            events.append(_event("packing", packing.model_copy(update={"done": packing.total})))
        events += [_event("packing", one) for one in packings if one not in self._packings]
        self._packings = packings
        return events, True
