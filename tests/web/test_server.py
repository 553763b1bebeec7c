"""Real sockets: slow clients, many at once, cut connections; real processes: killed, disk full."""

import json
import os
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import torch

from stemweave.web import server as web_server
from stemweave.web.settings import Settings
from tests.conftest import make_tiny_pipeline
from tests.io.test_ends import unignore_signals
from tests.waiting import wait_for
from tests.web.conftest import (
    ServerProcess,
    files_below,
    on_a_socket,
    sound,
    start,
    track,
    upload,
    wait,
)

STALL_S = 0.5


@pytest.fixture
def url(studio):
    """Address of a studio with little patience."""
    app = studio.app(stall_s=STALL_S, upload_s=3.0, max_mb=2, max_queue=5)
    with on_a_socket(app, STALL_S) as url:
        yield url


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client


def connect(url: str) -> socket.socket:
    place = urlsplit(url)
    assert place.hostname and place.port
    return socket.create_connection((place.hostname, place.port), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


UPLOAD_HEAD = (
    b"POST /api/projects HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n"
    b"content-type: multipart/form-data; boundary=x\r\n\r\n"
    b'--x\r\ncontent-disposition: form-data; name="mixture"; filename="a.wav"\r\n\r\n'
)


def working(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data" / "working").iterdir())


def test_slow_clients_are_cut_off_and_hold_up_nobody(client, url, tmp_path):
    silent, half_a_head, half_a_body, trickle = (connect(url) for _ in range(4))
    half_a_head.sendall(b"GET /health HTTP/1.1\r\nhost: loc")
    half_a_body.sendall(UPLOAD_HEAD + b"x" * 1000)
    trickle.sendall(UPLOAD_HEAD)
    stop = threading.Event()

    def drip() -> None:  # never silent for long, and never done
        while not stop.wait(0.1):
            try:
                trickle.sendall(b"x")
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    assert client.get("/api/projects").json() == []
    assert upload(client, sound(0.1))["versions"]
    began = time.monotonic()
    assert read_all(silent) == b"" and read_all(half_a_head) == b""
    assert b" 408 " in read_all(half_a_body).splitlines()[0]
    assert time.monotonic() - began < 2.5
    assert b" 408 " in trickle.recv(65536).splitlines()[0]
    stop.set()
    dripping.join()
    trickle.close()
    wait_for(lambda: working(tmp_path) == [], 4)


def test_cancelled_uploads_leave_nothing(client, url, tmp_path):
    for _ in range(3):
        connection = connect(url)
        connection.sendall(UPLOAD_HEAD + b"x" * 100_000)
        wait_for(lambda: working(tmp_path) != [], 4)
        connection.close()
    wait_for(lambda: working(tmp_path) == [], 4)
    assert client.get("/api/projects").json() == []


def test_a_client_that_stops_listening(client, url):
    project = client.post("/api/projects").json()
    job = start(client, project, "generate", seconds=20, steps=1000)
    for _ in range(3):
        follower = connect(url)  # to be heard at once: the studio has little patience
        path = f"/api/jobs/{job['id']}/events"
        follower.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert b"200 OK" in follower.recv(100)
        follower.close()
    client.post(f"/api/jobs/{job['id']}/cancel")
    assert wait(client, job)["state"] == "cancelled"


def test_a_refused_upload_hears_why(client):
    answer = client.post("/api/projects", files={"mixture": ("a.wav", b"x" * 3_000_000)})
    assert answer.status_code == 413 and "at most 2 MB" in answer.json()["detail"]


def test_a_hundred_parallel_requests(client, tmp_path):
    content = sound(0.05)
    project = upload(client, content)

    def request(number: int) -> int:
        kind = number % 4
        if kind == 0:
            return client.get("/api/projects").status_code
        if kind == 1:
            return client.post("/api/projects", files={"mixture": ("a", content)}).status_code
        if kind == 2:
            path = f"/api/versions/{project['head_version_id']}/tracks/mixture?format=flac"
            return client.get(path).status_code
        body = {"task": "generate", "params": {"seconds": 0.1}}
        return client.post(f"/api/projects/{project['id']}/jobs", json=body).status_code

    with ThreadPoolExecutor(100) as pool:
        codes = list(pool.map(request, range(100)))
    assert codes[0::4] == [200] * 25 and codes[1::4] == [201] * 25 and codes[2::4] == [200] * 25
    assert set(codes[3::4]) <= {202, 429}
    accepted = codes[3::4].count(202)
    assert accepted >= 5
    jobs = [wait(client, job) for job in client.get("/api/jobs").json()]
    assert [job["state"] for job in jobs] == ["done"] * accepted
    versions = 1 + 25 + accepted
    assert len(list((tmp_path / "data" / "versions").iterdir())) == versions


def test_events_of_a_job_that_waits(client):
    project = client.post("/api/projects").json()
    running = start(client, project, "generate", seconds=20, steps=1000)
    waiting = [start(client, project, "generate", seconds=0.1) for _ in range(2)]
    wait(client, running, "running")
    events = []
    with client.stream("GET", f"/api/jobs/{waiting[1]['id']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
                if len(events) == 1:
                    client.post(f"/api/jobs/{running['id']}/cancel")
    assert [event["position"] for event in events][:2] == [2, 1]
    assert [events[0]["state"], events[-1]["state"]] == ["queued", "done"]


def test_killed_and_started_again(tiny_model, tmp_path):
    """kill -9 in the middle of a job; then a disk that fills up; nothing outside --data."""
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "OMP_NUM_THREADS": "1"}
    server = ServerProcess(tiny_model, data, cwd=home, env=environment)
    client = server.client()
    project = upload(client)
    running = start(client, project, "generate", seconds=20, steps=1000)
    queued = start(client, project, "separate")
    assert wait(client, running, "running")["state"] == "running"
    server.kill()

    limit = 400_000
    server = ServerProcess(
        tiny_model,
        data,
        cwd=home,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    client = server.client()
    job = client.get(f"/api/jobs/{running['id']}").json()
    assert job["state"] == "failed" and "server stopped while this job ran" in job["error"]
    separated = wait(client, queued)
    assert separated["state"] == "done"
    version = client.get(f"/api/versions/{separated['result_version_id']}").json()
    assert track(client, version, "bass")[0].shape == (16_000, 1)

    before = files_below(data / "versions")
    full = client.post("/api/projects", files={"mixture": ("a.wav", sound(20))})
    assert full.status_code == 507 and "disk is full" in full.json()["detail"]
    small = sound(8, fmt="OGG")  # fits as it is, but not decoded
    full = client.post("/api/projects", files={"mixture": ("a.ogg", small)})
    assert len(small) < limit and full.status_code == 507
    failed = wait(client, start(client, project, "generate", seconds=10, steps=1))
    assert failed["state"] == "failed" and failed["error"].startswith("cannot write")
    assert files_below(data / "versions") == before
    assert client.get("/health").status_code == 200
    server.process.terminate()
    server.process.wait(20)
    assert files_below(home) == set()
    outside = {path.name for path in tmp_path.iterdir()} - {"page"}
    assert outside == {"home", "data"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_is_ended_is_quiet_while_pages_are_open(tiny_model, tmp_path, number):
    data = tmp_path / "data"
    server = ServerProcess(tiny_model, data, preexec_fn=unignore_signals)
    client = server.client()
    project = upload(client, sound(60, 2, 44_100))
    job = start(client, project, "generate", seconds=20, steps=1000)
    page, loading = connect(server.url), connect(server.url)
    events = f"GET /api/jobs/{job['id']}/events HTTP/1.1\r\nhost: localhost\r\n\r\n"
    page.sendall(events.encode())
    assert b"200 OK" in page.recv(100)
    path = f"/api/versions/{project['head_version_id']}/tracks/mixture"
    loading.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    assert b"200 OK" in loading.recv(100)  # and then stops reading
    server.process.send_signal(number)
    said, _ = server.process.communicate(timeout=60)
    assert (server.process.returncode, said) == (128 + number, "")
    assert read_all(page).endswith(b"0\r\n\r\n"), "the stream was ended, not cut"
    loading.close()


def test_the_device_is_said_unless_it_is_the_cpu(tmp_path, monkeypatch, capsys):
    pipe = make_tiny_pipeline()
    monkeypatch.setattr(web_server, "load_model", lambda *_: pipe)
    monkeypatch.setattr(web_server.StudioServer, "run", lambda *_, **__: None)
    for device, said in (("cpu", ""), ("meta", "device: meta\n")):
        pipe.compute_device = torch.device(device)
        web_server.serve(Settings(data=tmp_path / device, port=0), None, "auto")
        assert capsys.readouterr().err == said


def test_what_is_no_request_hears_so_in_json(url):
    connection = connect(url)
    connection.sendall(b"GET /\x00 HTTP/9.9\r\n\r\n")
    head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert b" 400 " in head and json.loads(body) == {"detail": "this is no HTTP request"}


def test_more_clients_than_can_be_served(studio, monkeypatch):
    monkeypatch.setattr("stemweave.web.server.MAX_CONNECTIONS", 1)
    with on_a_socket(studio.app(), STALL_S) as url, httpx.Client(base_url=url) as first:
        assert first.get("/health").is_success
        refused = httpx.get(f"{url}/health")
    assert refused.status_code == 503 and "too many clients" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "give a --token"),
        (["--port", "70000"], "--port"),
        (["--host", "198.51.100.7", "--token", "long enough"], "cannot listen at 198.51.100.7"),
        (["--model", "nowhere/at/all"], "nowhere/at/all"),
        (["--device", "cuda:77"], "device cuda:77 cannot be used here"),
        (["--max-queue", "0"], "--max-queue"),
        (["--data", "/dev/null/x"], "--data /dev/null/x cannot be used"),
    ],
)
def test_bad_options(run, tmp_path, monkeypatch, tiny_model, arguments, message):
    monkeypatch.chdir(tmp_path)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", tiny_model]
    result = run("serve", "--port", 0, *arguments)
    assert result.code == 2 and message in result.err
    assert result.err.count("\n") == 1 or "Usage" in result.err


def test_a_port_in_use(run, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = run("serve", "--data", tmp_path / "d", "--port", other.getsockname()[1])
    assert result.code == 2 and "cannot listen at 127.0.0.1 port" in result.err
    assert not (tmp_path / "d").exists()
