"""Server-sent events: what becomes of a job, or of a project and everything in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from stemweave.web.answers import Deleted, JobAnswer, Packing, ProjectAnswer
from stemweave.web.errors import Refused
from stemweave.web.studio import InStudio, Studio
from stemweave.web.tables import ENDED

HEARTBEAT_S = 15.0
"""Proxies close connections on which nothing comes for a minute."""
ENDED_JOBS = 20
"""Of the jobs that have ended, so many are sent to whoever begins to follow a project."""

router = APIRouter(prefix="/api", tags=["events"])
News = Iterator[tuple[list[str], bool]]
"""What has not been sent yet, each time that it is asked for, and whether more can come."""


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "events named job"}},
)
async def follow_job(job_id: str, studio: InStudio, request: Request) -> Response:
    """The job now, at each change, and when it has ended."""
    await to_thread.run_sync(studio.job, job_id)
    return _answer(request, studio, job_id, _job_news(studio, job_id))


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
    return _answer(request, studio, project_id, _project_news(studio, project_id))


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
            events, goes_on = await to_thread.run_sync(next, news)
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


def _job_news(studio: Studio, job_id: str) -> News:
    """Of one job."""
    told: JobAnswer | None = None
    while True:
        try:
            job = studio.job_answer(studio.job(job_id))
        except Refused:  # deleted meanwhile
            yield [], False
            return
        yield [] if job == told else [_event("job", job)], job.state not in ENDED
        told = job


def _project_news(studio: Studio, project_id: str) -> News:
    """Of one project and what is in it; a version is sent before the job that made it."""
    told: ProjectAnswer | None = None
    told_jobs: dict[str, JobAnswer] = {}
    told_packings: list[Packing] = []
    while True:
        jobs = studio.latest_jobs(project_id, ENDED_JOBS)
        try:
            project = studio.project_answer(studio.project(project_id))
        except Refused:
            yield [_event("deleted", Deleted(id=project_id))], False
            return
        events = [] if project == told else [_event("project", project)]
        events += [_event("job", job) for job in jobs if job != told_jobs.get(job.id)]
        packings = studio.packings_of(project_id)
        for one in told_packings:
            if not any(one.same(other) for other in packings):
                events.append(_event("packing", one.model_copy(update={"done": one.total})))
        events += [_event("packing", one) for one in packings if one not in told_packings]
        told, told_jobs, told_packings = project, {job.id: job for job in jobs}, packings
        yield events, True
