"""What a page that follows a project hears."""

import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.web.conftest import finish, on_a_socket, sound, start, upload, wait


@pytest.fixture
def client(studio) -> Iterator[httpx.Client]:
    """A client of a studio on a real socket: the in-process one hears events only at their end."""
    with on_a_socket(studio.app(), 5.0) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


class Follower:
    """Collects a project's events in a thread."""

    def __init__(self, client: httpx.Client, project: dict) -> None:
        self.events: list[tuple[str, dict]] = []
        self._news = threading.Condition()
        self._url = f"{client.base_url}/api/projects/{project['id']}/events"
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()
        self.until(lambda events: events)

    def _follow(self) -> None:
        name = ""
        with httpx.stream("GET", self._url, timeout=30) as stream:
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    with self._news:
                        self.events.append((name, json.loads(line[6:])))
                        self._news.notify()

    def until(self, found) -> None:
        with self._news:
            assert self._news.wait_for(lambda: found(self.events), 20), self.events

    def named(self, name: str) -> list[dict]:
        return [data for event, data in self.events if event == name]


def test_a_second_page_hears_of_names_jobs_and_versions(client):
    project = upload(client)
    follower = Follower(client, project)
    assert follower.events == [("project", project)]
    client.patch(f"/api/projects/{project['id']}", json={"name": "other"})
    follower.until(lambda events: events[-1][1]["name"] == "other")
    version = finish(client, project, "separate")
    follower.until(lambda events: events[-1][1].get("state") == "done")
    states = [job["state"] for job in follower.named("job")]
    assert states[0] in ("queued", "running") and states[-1] == "done"
    ended = follower.events.index(("job", follower.named("job")[-1]))
    made = [data["head_version_id"] for name, data in follower.events[:ended] if name == "project"]
    assert made[-1] == version["id"], "the version is told before the end of its job"
    other = upload(client)
    client.patch(f"/api/projects/{other['id']}", json={"name": "not ours"})
    client.patch(f"/api/projects/{project['id']}", json={"name": "ours"})
    follower.until(lambda events: events[-1][1].get("name") == "ours")
    assert all(data["id"] != other["id"] for data in follower.named("project"))


def test_all_jobs_that_wait_are_told(client):
    project = client.post("/api/projects").json()
    running = start(client, project, "generate", seconds=20, steps=1000)
    wait(client, running, "running")
    waiting = [start(client, project, "generate", seconds=0.1, steps=1) for _ in range(3)]
    follower = Follower(client, project)
    follower.until(lambda events: len({data["id"] for name, data in events if name == "job"}) == 4)
    for job in (*waiting, running):
        client.post(f"/api/jobs/{job['id']}/cancel")
    latest = lambda: {job["id"]: job["state"] for job in follower.named("job")}  # noqa: E731
    follower.until(lambda _: list(latest().values()) == ["cancelled"] * 4)


def test_the_end_of_a_project_is_told_and_ends_the_stream(client):
    project = upload(client)
    follower = Follower(client, project)
    client.delete(f"/api/projects/{project['id']}")
    follower.thread.join(20)
    assert follower.events[-1] == ("deleted", {"id": project["id"]})
    assert client.get(f"/api/projects/{project['id']}/events").status_code == 404


def test_a_zip_comes_track_by_track_and_is_told(client):
    sent = {name: (f"{name}.wav", sound(0.5)) for name in ("bass", "drums")}
    project = client.post("/api/projects", files=sent).json()
    follower = Follower(client, project)
    path = f"/api/versions/{project['head_version_id']}/download?format=mp3"
    with client.stream("GET", path) as stream:
        pieces = list(stream.iter_raw())
    assert pieces[0].startswith(b"PK") and len(pieces[0]) < 200, "before anything is encoded"
    follower.until(lambda events: events[-1][0] == "packing" and events[-1][1]["done"] == 3)
    assert [(told["done"], told["total"]) for told in follower.named("packing")][-1] == (3, 3)
    assert {told["format"] for told in follower.named("packing")} == {"mp3"}
