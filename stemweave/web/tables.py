"""Tables of the studio's database: projects, their versions, and jobs."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import Any, Literal

from sqlmodel import JSON, Column, Field, SQLModel

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


def new_id() -> str:
    """Opaque, URL-safe and not to be guessed."""
    return secrets.token_hex(12)


def now() -> str:
    """ISO 8601 in UTC, sortable as text."""
    return iso(datetime.now(timezone.utc))


def iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Project(SQLModel, table=True):
    """A song that somebody works on; ``touched_at`` is its last use."""

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str
    created_at: str = Field(default_factory=now)
    touched_at: str = Field(default_factory=now, index=True)
    head_version_id: str | None = None


class Version(SQLModel, table=True):
    """A state of a project's audio; its files are ``versions/<id>/<track>.wav``."""

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    parent_id: str | None = None
    task: str
    params: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON))
    seed: int | None = None
    created_at: str = Field(default_factory=now)
    sample_rate: int
    channels: int
    num_samples: int
    tracks: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON))

    @property
    def track_names(self) -> list[str]:
        return [track["name"] for track in self.tracks]


class Job(SQLModel, table=True):
    """One run of a task.

    ``number`` is the order in the queue; ``step`` of ``steps`` is written down when it is done.
    """

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(default_factory=new_id, unique=True, index=True)
    project_id: str = Field(index=True)
    version_id: str | None = None
    task: str
    params: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON))
    seed: int
    state: str = Field(default="queued", index=True)
    step: int = 0
    steps: int | None = None
    error: str | None = None
    result_version_id: str | None = None
    created_at: str = Field(default_factory=now)
    started_at: str | None = None
    finished_at: str | None = None


class Desk(SQLModel, table=True):
    """How a project was last listened to."""

    project_id: str = Field(primary_key=True)
    state: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON))
