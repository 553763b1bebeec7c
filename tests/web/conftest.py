"""A studio with the tiny model: in this process, on a real socket, or as a process of its own."""

import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from fastapi import FastAPI
from fastapi.testclient import TestClient

from stemweave.model import StemModel
from stemweave.web.app import create_app
from stemweave.web.runner import Runner
from stemweave.web.server import StudioServer, listen
from stemweave.web.settings import Settings

RATE = 16_000


def sound(seconds: float = 1.0, channels: int = 1, rate: int = RATE, fmt: str = "WAV") -> bytes:
    """Noise as a file."""
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal((round(seconds * rate), channels))
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), rate, format=fmt)
    return file.getvalue()


def upload(client: Any, content: bytes | None = None, filename: str = "song.wav") -> dict:
    """A project with one mixture."""
    files = {"mixture": (filename, content or sound())}
    answer = client.post("/api/projects", files=files)
    assert answer.status_code == 201, answer.text
    return answer.json()


def start(client: Any, project: dict, task: str, seed: int | None = 0, **params: Any) -> dict:
    """A queued job."""
    body = {"task": task, "params": params, "seed": seed}
    answer = client.post(f"/api/projects/{project['id']}/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def wait(client: Any, job: dict, *states: str) -> dict:
    """The job when it has ended, or is in one of ``states``."""
    states = states or ("done", "failed", "cancelled")
    for _ in range(2400):
        job = client.get(f"/api/jobs/{job['id']}").json()
        if job["state"] in states:
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job['state']}")


def finish(client: Any, project: dict, task: str, **params: Any) -> dict:
    """The version that a job makes."""
    job = wait(client, start(client, project, task, **params))
    assert job["state"] == "done", job["error"]
    return client.get(f"/api/versions/{job['result_version_id']}").json()


def track(client: Any, version: dict, name: str, **query: Any) -> tuple[np.ndarray, int]:
    """Samples (T, channels) and rate of a track."""
    answer = client.get(f"/api/versions/{version['id']}/tracks/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return soundfile.read(io.BytesIO(answer.content), dtype="float32", always_2d=True)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>Stemweave</title>")
    (folder / "app.js").write_text("'use strict';")
    return folder


class Studios:
    """``studios(**settings)`` is a client of a running studio in this process."""

    def __init__(self, pipe: StemModel, data: Path, page: Path) -> None:
        self.pipe, self.data, self.page = pipe, data, page
        self.clients: list[TestClient] = []

    def app(self, **options: Any) -> FastAPI:
        options = {"data": self.data, "min_free_mb": 0, **options}
        return create_app(Settings(**options), Runner(self.pipe, "tiny"), self.page)

    def __call__(self, **options: Any) -> TestClient:
        app = self.app(**options)
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        self.clients.append(client.__enter__())
        return client

    def stop(self, client: TestClient) -> None:
        self.clients.remove(client)
        client.__exit__(None, None, None)


@pytest.fixture
def studio(tiny_pipe: StemModel, tmp_path: Path, page: Path) -> Iterator[Studios]:
    studios = Studios(tiny_pipe, tmp_path / "data", page)
    yield studios
    for client in list(studios.clients):
        studios.stop(client)


@pytest.fixture
def client(studio: Studios) -> TestClient:
    return studio()


@contextmanager
def on_a_socket(app: FastAPI, stall_s: float) -> Iterator[str]:
    """Serve a studio's ``app`` on a real socket, in a thread of this process."""
    listener = listen("127.0.0.1", 0)
    server = StudioServer(app, app.state.studio.feed, stall_s)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not end"


class ServerProcess:
    """``stemweave serve`` as users run it."""

    def __init__(self, model: Path, data: Path, *options: str, **process: Any) -> None:
        command = [sys.executable, "-m", "stemweave", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--model", str(model), "--data", str(data), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **process,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + self.process.stdout.read()
        self.url = found.group()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
