"""What the API answers with, as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from stemweave.web.pace import Pace
from stemweave.web.tables import Job, Project, State, Version, iso


class Health(BaseModel):
    status: str
    version: str


class Limits(BaseModel):
    max_minutes: float
    max_mb: float
    max_queue: int
    tempo_bpm: tuple[float, float] | None


class ModelAnswer(BaseModel):
    name: str
    stems: list[str]
    separated_stems: list[str]
    sample_rate: int
    tasks: list[str]
    limits: Limits
    keep_days: float
    defaults: dict[str, dict[str, Any]]


class Track(BaseModel):
    """One track of a version; tracks of equal ``content`` are equal to the last bit."""

    name: str
    bytes: int
    content: str


class VersionAnswer(BaseModel):
    id: str
    project_id: str
    parent_id: str | None
    task: str
    params: dict[str, Any]
    seed: int | None
    created_at: str
    duration_s: float
    sample_rate: int
    channels: int
    tracks: list[Track]


class ProjectAnswer(BaseModel):
    id: str
    name: str
    created_at: str
    expires_at: str
    head_version_id: str | None
    versions: list[VersionAnswer]


class JobAnswer(BaseModel):
    id: str
    project_id: str
    version_id: str | None
    task: str
    params: dict[str, Any]
    seed: int
    state: State
    position: int | None
    step: int
    steps: int | None
    seconds_left: float | None
    error: str | None
    result_version_id: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class Packing(BaseModel):
    """A zip that is being made for a client: ``done`` of ``total`` tracks are in it."""

    project_id: str
    version_id: str
    format: str
    done: int
    total: int

    def same(self, other: Packing) -> bool:
        """Whether the two are of the same zip."""
        return (self.version_id, self.format) == (other.version_id, other.format)


class Deleted(BaseModel):
    """A project that is no more."""

    id: str


def version_answer(version: Version) -> VersionAnswer:
    """Versions of older servers have no content, which the place stands for."""
    duration_s = version.num_samples / version.sample_rate
    tracks = [{"content": f"{version.id}/{row['name']}", **row} for row in version.tracks]
    return VersionAnswer.model_validate(
        {**version.model_dump(), "duration_s": duration_s, "tracks": tracks}
    )


def project_answer(project: Project, versions: list[Version], keep_days: float) -> ProjectAnswer:
    """``versions`` may hold other projects', too."""
    expires_at = datetime.fromisoformat(project.touched_at.replace("Z", "+00:00")) + timedelta(
        days=keep_days
    )
    return ProjectAnswer(
        id=project.id,
        name=project.name,
        created_at=project.created_at,
        expires_at=iso(expires_at),
        head_version_id=project.head_version_id,
        versions=[version_answer(row) for row in versions if row.project_id == project.id],
    )


def job_answer(job: Job, position: int | None, pace: Pace | None, now_s: float) -> JobAnswer:
    """``pace``: of the running job, with ``now_s`` of its clock."""
    return JobAnswer.model_validate(
        {
            **job.model_dump(),
            "position": position,
            "step": pace.step if pace else job.step,
            "steps": pace.steps if pace else job.steps,
            "seconds_left": pace.seconds_left(now_s) if pace else None,
        }
    )
