"""``/api/jobs``: start, list, cancel and forget jobs."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Query

from stemweave.web.answers import JobAnswer
from stemweave.web.bodies import JobRequest, chosen_params
from stemweave.web.errors import Refused
from stemweave.web.studio import InStudio
from stemweave.web.tables import Job

RANDOM_SEEDS = 2**31

router = APIRouter(prefix="/api", tags=["jobs"])


@router.post("/projects/{project_id}/jobs", status_code=202)
def create_job(project_id: str, wanted: JobRequest, studio: InStudio) -> JobAnswer:
    """Put a task into the queue; its result becomes the project's head."""
    project = studio.project(project_id)
    version_id = wanted.version_id
    if version_id is None:
        version_id = project.head_version_id
    version = studio.version(version_id) if version_id is not None else None
    if version is not None and version.project_id != project_id:
        raise Refused(404, "the project has no such version")
    if version is None and wanted.task != "generate":
        raise Refused(409, "the project is empty: only generate is possible")
    params = chosen_params(wanted)
    studio.runner.check(wanted.task, params, version, studio.settings.max_seconds)
    job = Job(
        project_id=project_id,
        version_id=version_id,
        task=wanted.task,
        params=params,
        seed=secrets.randbelow(RANDOM_SEEDS) if wanted.seed is None else wanted.seed,
    )
    if not studio.store.add_job(job, studio.settings.max_queue):
        raise Refused(429, "the queue is full: try again when a job has ended")
    studio.worker.wake()
    studio.feed.changed(project_id)
    return studio.job_answer(studio.job(job.id))


@router.get("/jobs")
def list_jobs(
    studio: InStudio, project_id: Annotated[str | None, Query(max_length=100)] = None
) -> list[JobAnswer]:
    """All jobs, or those of one project, oldest first."""
    if project_id is not None:
        studio.project(project_id)
    return [studio.job_answer(job) for job in studio.store.jobs(project_id)]


@router.get("/jobs/{job_id}")
def get_job(job_id: str, studio: InStudio) -> JobAnswer:
    """One job."""
    return studio.job_answer(studio.job(job_id))


@router.post("/jobs/{job_id}/cancel", status_code=202)
def cancel_job(job_id: str, studio: InStudio) -> JobAnswer:
    """End a job that waits, or one that runs at its next step."""
    studio.cancel(job_id)
    return studio.job_answer(studio.job(job_id))


@router.delete("/jobs/{job_id}", status_code=204)
def delete_job(job_id: str, studio: InStudio) -> None:
    """Forget a job that has ended; the version it made stays."""
    if not studio.store.delete_job(job_id):
        studio.job(job_id)
        raise Refused(409, "the job has not ended: cancel it first")
