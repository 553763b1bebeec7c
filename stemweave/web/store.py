"""The studio's rows in SQLite: one connection, one writer, transactions that are all or nothing.

The database is locked for other processes, so that two servers cannot share a folder.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event, func
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import StaticPool
from sqlmodel import Session, SQLModel, col, create_engine, delete, select

from stemweave.errors import InputError
from stemweave.web.tables import ENDED, Desk, Job, Project, Version, iso, now

Row = TypeVar("Row", Project, Version, Job)
INTERRUPTED = "the server stopped while this job ran: start it again"


class Store:
    """Projects, versions and jobs.

    Raises:
        InputError: if another server uses the database, or it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._closed = False
        self._engine = create_engine(
            f"sqlite:///{path}",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "timeout": 1},
        )
        event.listen(self._engine, "connect", _configure)
        try:
            SQLModel.metadata.create_all(self._engine)
        except DatabaseError as error:
            raise InputError(
                f"{path} cannot be opened ({error.orig}): another server may be using the folder; "
                "give it a --data of its own"
            ) from error

    def close(self) -> None:
        """Wait for the transaction under way, then refuse all others.

        SQLite would crash if its connection were closed under a statement of another thread.
        """
        with self._lock:
            self._closed = True
            self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose changes are kept when the block ends well; rows stay readable after.

        Raises ``RuntimeError`` once the store is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the store is closed")
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session

    # projects and versions

    def projects(self) -> list[Project]:
        with self.transaction() as session:
            newest_first = (col(Project.created_at).desc(), col(Project.id))
            return list(session.exec(select(Project).order_by(*newest_first)))

    def row(self, kind: type[Row], row_id: str) -> Row | None:
        with self.transaction() as session:
            return _row(session, kind, row_id)

    def versions(self, project_id: str | None = None) -> list[Version]:
        """Versions of one project, or all, oldest first."""
        with self.transaction() as session:
            query = select(Version).order_by(col(Version.created_at), col(Version.id))
            if project_id is not None:
                query = query.where(Version.project_id == project_id)
            return list(session.exec(query))

    def add_project(self, project: Project, version: Version | None) -> None:
        with self.transaction() as session:
            session.add(project)
            if version is not None:
                session.add(version)
                project.head_version_id = version.id

    def change_project(
        self, project_id: str, name: str | None, head_version_id: str | None
    ) -> Project | None:
        """The project with what is not None changed; None if there is no such project."""
        with self.transaction() as session:
            project = session.get(Project, project_id)
            if project is not None:
                project.name = project.name if name is None else name
                if head_version_id is not None:
                    project.head_version_id = head_version_id
                project.touched_at = now()
            return project

    def desk(self, project_id: str) -> dict[str, Any]:
        """How the project was last listened to; empty if nobody has said so."""
        with self.transaction() as session:
            desk = session.get(Desk, project_id)
            return desk.state if desk is not None else {}

    def keep_desk(self, project_id: str, state: dict[str, Any]) -> bool:
        """Whether there is such a project, which now has this desk."""
        with self.transaction() as session:
            project = session.get(Project, project_id)
            if project is None:
                return False
            session.merge(Desk(project_id=project_id, state=state))
            project.touched_at = now()
            return True

    def delete_project(self, project_id: str) -> list[str] | None:
        """Ids of its versions, whose files are to be removed; None if there is no such project."""
        with self.transaction() as session:
            project = session.get(Project, project_id)
            if project is None:
                return None
            of_project = Version.project_id == project_id
            versions = list(session.exec(select(Version.id).where(of_project)))
            session.exec(delete(Version).where(col(Version.project_id) == project_id))
            session.exec(delete(Job).where(col(Job.project_id) == project_id))
            session.exec(delete(Desk).where(col(Desk.project_id) == project_id))
            session.delete(project)
            return versions

    def delete_version(self, version: Version) -> bool:
        """Whether it is gone: not the only one of its project, nor one that a job works on.

        What was made of it is then made of its parent, which takes its place as the head, too; the
        latest version does if it has none.
        """
        of_project = select(Version).where(Version.project_id == version.project_id)
        works = (Job.version_id == version.id, col(Job.state).not_in(ENDED))
        with self.transaction() as session:
            versions = session.exec(of_project.order_by(col(Version.created_at), col(Version.id)))
            others = [one for one in versions if one.id != version.id]
            if not others or session.exec(select(Job).where(*works)).first() is not None:
                return False
            for other in others:
                if other.parent_id == version.id:
                    other.parent_id = version.parent_id
            project = session.get(Project, version.project_id)
            if project is not None and project.head_version_id == version.id:
                project.head_version_id = version.parent_id or others[-1].id
            session.exec(delete(Version).where(col(Version.id) == version.id))
            return True

    def idle_projects(self, keep_days: float, at: datetime | None = None) -> list[str]:
        """Ids of projects that nobody has used for ``keep_days`` and that no job works on."""
        oldest = (at or datetime.now(timezone.utc)) - timedelta(days=keep_days)
        busy = select(Job.project_id).where(col(Job.state).not_in(ENDED))
        query = select(Project.id).where(
            Project.touched_at < iso(oldest), col(Project.id).not_in(busy)
        )
        with self.transaction() as session:
            return list(session.exec(query))

    # jobs

    def jobs(self, project_id: str | None = None) -> list[Job]:
        """Jobs of one project, or all, oldest first."""
        with self.transaction() as session:
            query = select(Job).order_by(col(Job.number))
            if project_id is not None:
                query = query.where(Job.project_id == project_id)
            return list(session.exec(query))

    def latest_jobs(self, project_id: str, ended: int) -> list[Job]:
        """Jobs of a project that have not ended, and the latest ``ended`` ones that have."""
        of_project = select(Job).where(Job.project_id == project_id)
        newest_first = col(Job.number).desc()
        with self.transaction() as session:
            begun = list(session.exec(of_project.where(col(Job.state).not_in(ENDED))))
            over = of_project.where(col(Job.state).in_(ENDED)).order_by(newest_first).limit(ended)
            return sorted([*begun, *session.exec(over)], key=lambda job: job.number or 0)

    def position(self, job: Job) -> int | None:
        """1 for the job that is next; None if it does not wait."""
        if job.state != "queued":
            return None
        before = (Job.state == "queued", col(Job.number) <= job.number)
        with self.transaction() as session:
            waiting = session.exec(select(func.count(col(Job.number))).where(*before)).one()
        return max(waiting, 1)  # it may have begun since ``job`` was read

    def add_job(self, job: Job, max_queue: int) -> bool:
        """Put ``job`` at the end of the queue; False if the queue is full."""
        with self.transaction() as session:
            waiting = select(func.count(col(Job.number))).where(Job.state == "queued")
            if session.exec(waiting).one() >= max_queue:
                return False
            session.add(job)
            project = session.get(Project, job.project_id)
            if project is not None:
                project.touched_at = now()
        return True

    def start_next_job(self) -> Job | None:
        """The first of the queue, now running; None if the queue is empty."""
        with self.transaction() as session:
            queue = select(Job).where(Job.state == "queued").order_by(col(Job.number))
            job = session.exec(queue.limit(1)).first()
            if job is not None:
                job.state, job.started_at = "running", now()
            return job

    def requeue_job(self, job_id: str) -> None:
        """A running job waits again, in its old place."""
        with self.transaction() as session:
            job = _row(session, Job, job_id)
            if job is not None:
                job.state, job.started_at = "queued", None

    def end_job(
        self,
        job_id: str,
        state: str,
        error: str | None = None,
        steps: tuple[int, int | None] = (0, None),
        result: Version | None = None,
    ) -> bool:
        """Close a job, with the version it made as its project's head.

        False if it was deleted meanwhile.
        """
        with self.transaction() as session:
            job = _row(session, Job, job_id)
            if job is None:
                return False
            job.state, job.error, job.finished_at = state, error, now()
            job.step, job.steps = steps
            project = session.get(Project, job.project_id)
            if project is not None:
                project.touched_at = now()
                if result is not None:
                    session.add(result)
                    job.result_version_id = project.head_version_id = result.id
            return True

    def cancel_queued_job(self, job_id: str) -> bool:
        """Whether the job waited and is now cancelled."""
        with self.transaction() as session:
            job = _row(session, Job, job_id)
            if job is None or job.state != "queued":
                return False
            job.state, job.finished_at = "cancelled", now()
            return True

    def delete_job(self, job_id: str) -> bool:
        """Whether the job had ended and is now forgotten."""
        with self.transaction() as session:
            job = _row(session, Job, job_id)
            if job is None or job.state not in ENDED:
                return False
            session.delete(job)
            return True

    def fail_interrupted_jobs(self) -> None:
        """Jobs that ran when the last server was killed have failed."""
        with self.transaction() as session:
            for job in session.exec(select(Job).where(Job.state == "running")):
                job.state, job.error, job.finished_at = "failed", INTERRUPTED, now()


def _row(session: Session, kind: type[Row], row_id: str) -> Row | None:
    return session.exec(select(kind).where(kind.id == row_id)).first()


def _configure(connection: Any, _: object) -> None:
    """Lock others out, keep temporary data in memory, survive being killed."""
    for pragma in (
        "locking_mode = EXCLUSIVE",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "temp_store = MEMORY",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
