"""The database: transactions, order, expiry, one server for each folder."""

import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from stemweave.errors import InputError
from stemweave.web.store import INTERRUPTED, Store
from stemweave.web.tables import Job, Project, Version


def a_job(project: Project, **values) -> Job:
    return Job(project_id=project.id, task="generate", seed=1, **values)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "studio.sqlite3")
    yield store
    store.close()


def test_one_server_for_each_folder(store, tmp_path):
    with pytest.raises(InputError, match="another server may be using the folder"):
        Store(tmp_path / "studio.sqlite3")
    store.close()
    Store(tmp_path / "studio.sqlite3").close()


def test_closing_waits_for_the_transaction_of_another_thread(store):
    inside, closing = threading.Event(), threading.Event()
    found: list[list[Project]] = []

    def read() -> None:
        with store.transaction():
            inside.set()
            closing.wait(timeout=10)
            time.sleep(0.1)
            found.append(store.projects())

    reader = threading.Thread(target=read)
    reader.start()
    inside.wait(timeout=10)
    closing.set()
    store.close()
    assert found == [[]], "the connection was closed under a statement"
    reader.join()
    with pytest.raises(RuntimeError, match="closed"):
        store.projects()


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "studio.sqlite3"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(InputError, match="cannot be opened"):
        Store(path)


def test_jobs_come_in_order_and_survive(store, tmp_path):
    project = Project(name="a")
    store.add_project(project, None)
    jobs = [a_job(project) for _ in range(4)]
    assert [store.add_job(job, max_queue=3) for job in jobs] == [True, True, True, False]
    assert [store.position(job) for job in jobs[:3]] == [1, 2, 3]
    running = store.start_next_job()
    assert running is not None and running.id == jobs[0].id and running.started_at
    store.close()

    again = Store(tmp_path / "studio.sqlite3")
    again.fail_interrupted_jobs()
    states = [(job.state, job.error) for job in again.jobs(project.id)]
    assert states == [("failed", INTERRUPTED), ("queued", None), ("queued", None)]
    following = again.start_next_job()
    assert following is not None and following.id == jobs[1].id
    again.requeue_job(following.id)
    first = again.start_next_job()
    assert first is not None and first.id == jobs[1].id
    again.close()


def test_a_failed_transaction_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.transaction() as session:
        session.add(Project(name="a"))
        session.flush()
        raise RuntimeError
    assert store.projects() == []


def test_only_idle_projects_expire(store):
    old, busy, young = (Project(name=name) for name in ("old", "busy", "young"))
    long_ago = datetime.now(timezone.utc) - timedelta(days=8)
    for project in (old, busy):
        project.touched_at = long_ago.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for project in (old, busy, young):
        store.add_project(project, None)
    job = a_job(busy)
    with store.transaction() as session:
        session.add(job)
    assert store.idle_projects(7) == [old.id]
    assert store.idle_projects(9) == []
    later = datetime.now(timezone.utc) + timedelta(days=8)
    assert set(store.idle_projects(7, later)) == {old.id, young.id}
    assert store.end_job(job.id, "done")
    assert busy.id not in store.idle_projects(7), "a result counts as use"


def test_the_result_of_a_deleted_project_is_nobodys(store):
    project = Project(name="a")
    store.add_project(project, None)
    job = a_job(project)
    store.add_job(job, 1)
    store.start_next_job()
    assert store.delete_project(project.id) == []
    result = Version(
        project_id=project.id, task="generate", sample_rate=8000, channels=1, num_samples=1
    )
    assert not store.end_job(job.id, "done", result=result)
    assert store.versions() == []
