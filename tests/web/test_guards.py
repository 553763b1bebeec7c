"""Who may ask: token, host, origin; and how every answer is marked."""

import time

import pytest

from stemweave.errors import InputError
from stemweave.web.errors import Refused
from stemweave.web.guards import Attempts
from stemweave.web.settings import Settings
from tests.web.conftest import sound, upload

TOKEN = "correct horse battery"


def test_every_answer_is_marked(client):
    project = upload(client)
    for path in ("/", "/app.js", "/health", "/api/model", "/nothing", "/api/jobs/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert client.get("/api/projects").headers["cache-control"] == "no-store"
    track = client.get(f"/api/versions/{project['head_version_id']}/tracks/mixture")
    assert track.headers["cache-control"].startswith("private")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("evil.example:8000", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("", 400),
        ("[", 400),
    ],
)
def test_names_that_a_page_could_point_at_us(client, host, status):
    assert client.get("/api/model", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"origin": "http://localhost"}, 201),
        ({"origin": "http://localhost", "sec-fetch-site": "same-origin"}, 201),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_other_sites_may_not_act(client, headers, status):
    assert client.post("/api/projects", headers=headers).status_code == status
    assert client.get("/api/projects", headers=headers).status_code == 200


def test_the_token(studio):
    client = studio(token=TOKEN)
    assert client.get("/health").status_code == client.get("/").status_code == 200
    refused = client.get("/api/projects")
    assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Bearer")
    for given in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
        assert client.get("/api/model", headers={"authorization": given}).status_code == 401
    files = {"mixture": ("a.wav", sound(0.1))}
    assert client.post("/api/projects", files=files).status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.post("/api/projects", files=files, headers=bearer).status_code == 201


def test_the_session(studio):
    client = studio(token=TOKEN)
    assert client.post("/api/session", json={"token": "wrong"}).status_code == 401
    lone = client.post("/api/session", content=b'{"token": "\\udfff"}')
    assert lone.status_code == 422
    assert client.post("/api/session", json={}).status_code == 422
    assert client.get("/api/projects").status_code == 401
    begun = client.post("/api/session", json={"token": TOKEN})
    cookie = begun.headers["set-cookie"]
    assert begun.status_code == 204 and TOKEN not in cookie
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert client.get("/api/projects").status_code == 200
    project = upload(client)
    assert client.get(f"/api/versions/{project['head_version_id']}/tracks/mixture").is_success
    stolen = {"cookie": f"stemweave_session={TOKEN}"}
    client.cookies.clear()
    assert client.get("/api/projects", headers=stolen).status_code == 401


def test_wrong_tokens_are_slowed(studio):
    client = studio(token=TOKEN)
    for number in range(5):
        if number % 2:
            wrong = client.post("/api/session", json={"token": f"guess {number}"})
        else:
            wrong = client.get("/api/model", headers={"authorization": f"Bearer guess{number}"})
        assert wrong.status_code == 401
        assert wrong.headers["www-authenticate"].startswith("Bearer")
    slowed = client.post("/api/session", json={"token": TOKEN})
    assert slowed.status_code == 429 and int(slowed.headers["retry-after"]) == 1
    assert "wait 1 s" in slowed.json()["detail"]
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/model", headers=bearer).status_code == 429
    begun = studio(token=TOKEN, data=studio.data.parent / "other")
    begun.post("/api/session", json={"token": TOKEN})
    for _ in range(7):
        assert begun.get("/api/model", headers={"authorization": "Bearer x"}).is_success
    time.sleep(1.1)
    assert client.get("/api/model", headers=bearer).status_code == 200
    assert client.get("/api/model").status_code == 401, "no token is no wrong one"


def test_the_wait_doubles_up_to_a_minute_and_is_forgotten():
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])

    def wait_s(client: str) -> int:
        try:
            attempts.check_allowed(client)
        except Refused as refused:
            assert refused.headers is not None
            return int(refused.headers["retry-after"])
        return 0

    waits = []
    for _ in range(13):
        attempts.failed("2001:db8::1")
        waits.append(wait_s("2001:db8::1"))
        now[0] += waits[-1]
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    attempts.failed("2001:db8::1")
    assert wait_s("2001:db8::ffff:1") == 60, "one household has many addresses"
    assert wait_s("2001:db8:0:1::1") == wait_s("192.0.2.1") == 0
    attempts.succeeded("2001:db8::1")
    assert wait_s("2001:db8::1") == 0
    for _ in range(4):
        attempts.failed("192.0.2.1")
    now[0] += 901
    attempts.failed("192.0.2.1")
    assert wait_s("192.0.2.1") == 0


def test_a_server_without_a_token_needs_no_session(client):
    answer = client.post("/api/session", json={"token": "anything"})
    assert answer.status_code == 204 and "set-cookie" not in answer.headers


def test_behind_a_proxy(studio):
    client = studio(token=TOKEN, allowed_hosts=("studio.example",))
    headers = {
        "host": "studio.example",
        "origin": "https://studio.example",
        "authorization": f"Bearer {TOKEN}",
    }
    assert client.post("/api/projects", headers=headers).status_code == 201
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_large_json_is_refused(client):
    body = b'{"token": "' + b"x" * 300_000 + b'"}'
    headers = {"content-type": "application/json"}
    assert client.post("/api/session", content=body, headers=headers).status_code == 413
    chunked = client.post("/api/session", content=iter([body]), headers=headers)
    assert chunked.status_code == 413 and set(chunked.json()) == {"detail"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "give a --token"),
        ({"host": "::"}, "give a --token"),
        ({"host": "192.168.1.5"}, "give a --token"),
        ({"host": "studio.example"}, "give a --token"),
        ({"host": "0.0.0.0", "token": "short"}, "at least 8"),
        ({"token": ""}, "at least 8"),
        ({"allowed_hosts": ("studio.example",)}, "give a --token"),
        ({"max_minutes": 0}, "--max-minutes must be positive"),
        ({"max_mb": float("nan")}, "--max-mb must be positive"),
        ({"keep_days": -1}, "--keep-days must be positive"),
    ],
)
def test_settings_that_would_be_open_or_senseless(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        Settings(data=tmp_path, **options)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_needs_no_token(tmp_path, host):
    assert Settings(data=tmp_path, host=host).on_loopback
