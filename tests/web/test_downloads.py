"""What the server sends of its versions: tracks in every format, zips, parts, heads."""

import io
import math
import zipfile

import numpy as np
import pytest
import soundfile
import torch

from stemweave.stems import MIXTURE, STEMS
from tests.web.conftest import finish, sound, track, upload


def test_formats_and_downloads(client):
    project = upload(client, sound(1, 2, 44_100))
    client.patch(f"/api/projects/{project['id']}", json={"name": "A/B: é"})
    version = project["versions"][0]
    song = track(client, version, MIXTURE)[0]
    assert np.allclose(track(client, version, MIXTURE, format="flac")[0], song, atol=1e-6)
    assert track(client, version, MIXTURE, format="mp3")[1] == 44_100
    path = f"/api/versions/{version['id']}"
    saved = client.get(f"{path}/tracks/mixture?format=flac&download=1")
    assert saved.headers["content-type"] == "audio/flac"
    assert "A_B_%20%C3%A9%20-%20mixture.flac" in saved.headers["content-disposition"]
    part = client.get(f"{path}/tracks/mixture", headers={"range": "bytes=4-11"})
    assert part.status_code == 206 and part.content.endswith(b"WAVE")
    assert client.get(f"{path}/tracks/bass").status_code == 404
    assert client.get(f"{path}/tracks/..%2f..%2fstudio.sqlite3").status_code == 404
    assert client.get(f"{path}/tracks/mixture?format=exe").status_code == 422
    archive = client.get(f"{path}/download?format=flac")
    assert archive.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as content:
        assert content.testzip() is None
        assert content.namelist() == ["mixture.flac"]
    odd = upload(client, sound(0.1, 3))["versions"][0]
    refused = client.get(f"/api/versions/{odd['id']}/tracks/mixture?format=mp3")
    assert refused.status_code == 422 and "MP3 cannot hold 3 channels" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("header", "status", "content"),
    [
        ("bytes=4-11", 206, slice(4, 12)),
        ("bytes=4-11, 20-23", 200, slice(None)),
        ("Bytes=-8", 206, slice(-8, None)),
        ("bytes=0-999999999", 206, slice(None)),
        ("bytes=11-4", 200, slice(None)),
        ("bytes=", 200, slice(None)),
        ("bytes=a-b", 200, slice(None)),
        ("bytes=1_0-20", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("seconds=1-2", 200, slice(None)),
        ("nonsense", 200, slice(None)),
        ("bytes=" + "9" * 5000 + "-", 200, slice(None)),
        ("bytes=999999999-", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_ranges(client, header, status, content):
    version = upload(client)["versions"][0]
    path = f"/api/versions/{version['id']}/tracks/mixture"
    whole = client.get(path)
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(path, headers={"range": header})
    assert part.status_code == status
    if content is None:
        assert part.headers["content-range"] == f"bytes */{len(whole.content)}"
        assert "beyond the end" in part.json()["detail"]
    else:
        assert part.content == whole.content[content]


def test_head_is_get_without_the_content(client):
    project = upload(client)
    separated = finish(client, project, "separate")
    (job,) = client.get("/api/jobs").json()
    path = f"/api/versions/{separated['id']}"
    for address in (
        "/health",
        "/api/model",
        "/api/projects",
        f"/api/projects/{project['id']}",
        f"/api/jobs/{job['id']}",
        f"/api/jobs/{job['id']}/events",
        path,
        f"{path}/tracks/bass",
        f"{path}/tracks/bass?format=flac&download=1",
        f"{path}/download",
        "/app.js",
    ):
        head, got = client.head(address), client.get(address)
        assert (head.status_code, head.content) == (got.status_code, b"") == (200, b""), address
        for name in ("content-type", "content-disposition", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name)
    assert client.head(f"{path}/tracks/flute").status_code == 404
    assert client.head("/api/projects/nothing").status_code == 404
    paths = client.get("/openapi.json").json()["paths"]
    assert not any("head" in operations for operations in paths.values())


@pytest.mark.parametrize("samples", [[0.5], [1e20, -1e20, 0.0] * 500, [3e38]])
def test_tracks_of_any_sound_are_finite(client, samples):
    file = io.BytesIO()
    soundfile.write(file, np.array(samples), 16_000, format="WAV", subtype="FLOAT")
    separated = finish(client, upload(client, file.getvalue()), "separate")
    for name in (*STEMS, MIXTURE):
        assert np.isfinite(track(client, separated, name)[0]).all()
        assert np.isfinite(track(client, separated, name, speed=0.8)[0]).all()


def test_what_no_float_can_hold_is_not_called_damage(client, monkeypatch):
    version = upload(client)["versions"][0]
    blocks = [torch.full((1, 20_000), math.inf)]
    monkeypatch.setattr("stemweave.web.library.stretched_blocks", lambda *_: blocks)
    answer = client.get(f"/api/versions/{version['id']}/tracks/{MIXTURE}?speed=0.8")
    assert answer.status_code == 422 and "louder than 32-bit" in answer.json()["detail"]
