"""Jobs that fail, are interrupted, or expire; how far they are."""

import time
from datetime import datetime, timedelta, timezone

from stemweave.web.pace import Pace
from stemweave.web.store import Store
from tests.web.conftest import finish, start, upload, wait


def test_time_left():
    pace = Pace(part_began_s=10.0, last_s=10.0)
    assert pace.seconds_left(11.0) is None
    pace.reach(1, 4, 12.0)
    assert pace.seconds_left(12.0) == 6.0 and pace.seconds_left(13.0) == 5.0
    pace.reach(4, 4, 18.0)
    assert pace.seconds_left(18.0) == 0.0
    pace.reach(1, 10, 18.5)  # a second part, at its own speed
    assert (pace.step, pace.steps) == (1, 10)
    assert pace.seconds_left(18.5) == 4.5
    assert pace.seconds_left(99.0) == 0.0


def test_a_job_that_fails_says_why_and_the_next_one_runs(client, tmp_path):
    project = upload(client)
    version = project["head_version_id"]
    (tmp_path / "data" / "versions" / version / "mixture.wav").write_bytes(b"damaged")
    job = wait(client, start(client, project, "separate"))
    assert job["state"] == "failed" and job["result_version_id"] is None
    assert job["error"].startswith(f"versions/{version}/mixture.wav is not audio")
    assert finish(client, project, "generate", seconds=0.3)["duration_s"] == 0.3
    left = {folder.name for folder in (tmp_path / "data" / "versions").iterdir()}
    assert len(left) == 2 and list((tmp_path / "data" / "working").iterdir()) == []


def test_an_unexpected_failure_does_not_end_the_worker(client, tmp_path):
    project = client.post("/api/projects").json()
    versions = tmp_path / "data" / "versions"
    versions.rmdir()
    versions.write_text("in the way")
    job = wait(client, start(client, project, "generate", seconds=0.3))
    assert job["state"] == "failed" and job["error"].startswith("unexpected: ")
    assert str(tmp_path) not in job["error"]
    versions.unlink()
    versions.mkdir()
    assert finish(client, project, "generate", seconds=0.3)


def test_a_stopped_server_goes_on_where_it_was(studio):
    first = studio()
    project = first.post("/api/projects").json()
    job = start(first, project, "generate", seconds=2, steps=40)
    wait(first, job, "running")
    studio.stop(first)
    assert wait(studio(), job)["state"] == "done"


def test_what_a_killed_server_left_is_cleared(studio, tmp_path):
    first = studio()
    project = upload(first)
    studio.stop(first)
    data = tmp_path / "data"
    (data / "working" / "half").mkdir()
    (data / "working" / "half" / "bass.wav").write_bytes(b"RIFF")
    (data / "versions" / "unknown").mkdir()
    second = studio()
    assert list((data / "working").iterdir()) == []
    assert [path.name for path in (data / "versions").iterdir()] == [project["head_version_id"]]
    assert second.get("/api/projects").json() == [project]


def test_projects_expire(studio, tmp_path):
    client = studio(keep_days=2)
    project = upload(client)
    created = datetime.fromisoformat(project["created_at"].replace("Z", "+00:00"))
    expires = datetime.fromisoformat(project["expires_at"].replace("Z", "+00:00"))
    assert expires - created == timedelta(days=2)
    studio_itself = client.app.state.studio
    studio_itself.expire()
    assert client.get("/api/projects").json() == [project]
    studio_itself.expire(datetime.now(timezone.utc) + timedelta(days=3))
    assert client.get("/api/projects").json() == []
    assert list((tmp_path / "data" / "versions").iterdir()) == []


def test_a_server_that_stops_waits_for_what_expires(studio, monkeypatch):
    happened: list[str] = []
    close = Store.close

    def slow(*_: object) -> list[str]:
        time.sleep(0.5)
        happened.append("expired")
        return []

    monkeypatch.setattr(Store, "idle_projects", slow)
    monkeypatch.setattr(Store, "close", lambda self: (happened.append("closed"), close(self)))
    studio.stop(studio())
    assert happened == ["expired", "closed"]
