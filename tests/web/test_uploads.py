"""Uploads that are too large, too long, no audio, tricky, cut off or many."""

import io
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from stemweave.io.decode import read_audio
from stemweave.stems import MIXTURE
from tests.web.conftest import files_below, sound, track, upload


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def audio_files(data: Path) -> set[str]:
    return {name for name in files_below(data) if not name.startswith("studio.sqlite3")}


def bomb(fmt: str, seconds: int, channels: int = 1) -> bytes:
    """Silence: little to send, much to decode."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, channels, format=fmt) as writer:
        for _ in range(seconds):
            writer.write(np.zeros((8000, channels), np.float32))
    return file.getvalue()


@pytest.mark.parametrize("fmt", ["FLAC", "OGG", "MP3"])
def test_decompression_bombs(studio, data, fmt):
    client = studio(max_minutes=0.1, max_mb=1)
    content = bomb(fmt, 90)
    assert len(content) < 4e5
    answer = client.post("/api/projects", files={MIXTURE: (f"b.{fmt}", content)})
    assert answer.status_code == 413 and "at most 0.1 minutes" in answer.json()["detail"]
    assert audio_files(data) == set()


def test_a_bomb_of_channels(studio, data):
    client = studio(max_minutes=0.02)
    answer = client.post("/api/projects", files={MIXTURE: ("b.wav", bomb("WAV", 1, 100))})
    assert answer.status_code == 413 and "channels" in answer.json()["detail"]
    assert audio_files(data) == set()


def test_a_header_that_lies(client, data):
    content = bytearray(bomb("WAV", 2))
    content[40:44] = struct.pack("<I", 2**31 - 1)
    answer = client.post("/api/projects", files={MIXTURE: ("b.wav", bytes(content))})
    assert answer.status_code in (201, 413, 415)
    if answer.status_code == 201:  # libsndfile goes by the file's size
        assert answer.json()["versions"][0]["duration_s"] == 2
    cut = sound(3, fmt="FLAC")[:20_000]
    answer = client.post("/api/projects", files={MIXTURE: ("cut.flac", cut)})
    assert answer.status_code == 201  # what is left of it
    assert 0 < answer.json()["versions"][0]["duration_s"] < 3


def test_the_size_is_counted_while_it_comes(studio, data):
    client = studio(max_mb=0.5)
    answer = client.post("/api/projects", files={MIXTURE: ("b.wav", b"x" * 600_000)})
    assert answer.status_code == 413 and "at most 0.5 MB" in answer.json()["detail"]

    seen = []

    def chunks():
        yield b'--x\r\ncontent-disposition: form-data; name="mixture"; filename="a.wav"\r\n\r\n'
        for number in range(100):
            seen.append(number)
            yield b"x" * 50_000

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/api/projects", content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert audio_files(data) == set()


@pytest.mark.parametrize(
    ("container", "codec"),
    [("ipod", "aac"), ("matroska", "libopus"), ("mp3", "libmp3lame"), ("aiff", "pcm_s16be")],
)
def test_whatever_the_command_opens_is_taken_as_the_command_does(
    client, tmp_path, container, codec
):
    path = tmp_path / "song"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000)
        assert isinstance(stream, av.AudioStream)
        rng = np.random.default_rng(0)
        noise = (3000 * rng.standard_normal((1, 48_000))).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.sample_rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    expected, rate = read_audio(path)
    version = upload(client, path.read_bytes(), "song")["versions"][0]
    samples, got_rate = track(client, version, MIXTURE)
    assert got_rate == rate and np.array_equal(samples.T, expected.numpy())


@pytest.mark.parametrize(
    ("content", "filename", "message"),
    [
        (b"", "empty.wav", "empty.wav is empty"),
        (b"%PDF-1.7 hello", "paper.mp3", "paper.mp3 is not audio"),
        (b"<script>alert(1)</script>" * 100, "page.wav", "page.wav is not audio"),
        (sound(0.1, rate=4000), "low.wav", "sample rate of 4000 Hz"),
        (sound(0.1)[:44], "header.wav", "header.wav"),
    ],
)
def test_not_audio(client, data, content, filename, message):
    answer = client.post("/api/projects", files={MIXTURE: (filename, content)})
    assert answer.status_code == 415 and message in answer.json()["detail"]
    assert audio_files(data) == set()
    assert client.get("/api/projects").json() == []


def test_samples_that_are_not_numbers(client):
    file = io.BytesIO()
    soundfile.write(file, np.array([0, np.nan, 0]), 16_000, format="WAV", subtype="FLOAT")
    answer = client.post("/api/projects", files={MIXTURE: ("n.wav", file.getvalue())})
    assert answer.status_code == 415 and "NaN" in answer.json()["detail"]


@pytest.mark.parametrize(
    "filename",
    [
        "../../../etc/passwd",
        "..\\..\\evil.wav",
        "/abs/evil.wav",
        "a\0b.wav",
        "." * 300,
        "\u202egpj.wav",
        "",
    ],
)
def test_path_tricks_in_names(client, data, tmp_path, filename):
    before = files_below(tmp_path) - files_below(data)
    body = (
        b'--x\r\ncontent-disposition: form-data; name="mixture"; filename="'
        + filename.replace("\\", "\\\\").encode()
        + b'"\r\n\r\n'
        + sound(0.1)
        + b"\r\n--x--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/api/projects", content=body, headers=headers)
    assert answer.status_code == 201, answer.text
    project = answer.json()
    assert "/" not in project["name"] and "\\" not in project["name"] and project["name"]
    assert audio_files(data) == {f"versions/{project['head_version_id']}/mixture.wav"}
    outside = {name for name in files_below(tmp_path) if not name.startswith("data/")}
    assert outside == {name for name in before if not name.startswith("data/")}


def test_path_tricks_in_fields_and_addresses(client):
    for name in ("../bass", "mixture/../../x", "vocals", ""):
        answer = client.post("/api/projects", files={name: ("a.wav", sound(0.1))})
        assert answer.status_code in (400, 422), name
    for path in ("/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd"):
        assert client.get(path).status_code == 404
    project = upload(client)
    for version_id in ("..", "..%2f" + project["head_version_id"], "%00"):
        assert client.get(f"/api/versions/{version_id}/tracks/mixture").status_code == 404


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n\r\nno header", "multipart/form-data; boundary=x", 422),
        (b"no boundary", "multipart/form-data", 415),
        (b"x", "multipart/form-data; boundary=" + "y" * 300, 400),
        (b"RIFF", "audio/wav", 415),
        (b"{}", "application/json", 415),
        (b"--x\r\n" + b"a" * 9000 + b": b\r\n\r\n", "multipart/form-data; boundary=x", 400),
        (
            b'--x\r\ncontent-disposition: form-data; name="name"\r\n\r\n' + b"n" * 2000,
            "multipart/form-data; boundary=x",
            422,
        ),
        (
            b'--x\r\ncontent-disposition: form-data; name="title"\r\n\r\nn\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            422,
        ),
    ],
)
def test_bodies_that_are_no_upload(client, body, kind, status):
    answer = client.post("/api/projects", content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert client.get("/api/projects").json() == []


def test_a_stem_twice(client, data):
    twice = [("bass", ("a.wav", sound(0.1))), ("bass", ("b.wav", sound(0.1)))]
    answer = client.post("/api/projects", files=twice)
    assert answer.status_code == 422 and "bass was sent twice" in answer.json()["detail"]
    assert audio_files(data) == set()


def test_tracks_of_other_lengths_channels_and_rates_are_fitted(client):
    files = {
        "bass": ("b.wav", sound(0.2)),
        "drums": ("d.wav", sound(0.5, 2, 32_000)),
        MIXTURE: ("m.wav", sound(0.5, 2, 32_000)),
    }
    answer = client.post("/api/projects", files=files)
    assert answer.status_code == 201, answer.text
    (version,) = answer.json()["versions"]
    assert (version["sample_rate"], version["channels"], version["duration_s"]) == (32_000, 2, 0.5)
    assert version["params"]["notes"] == [
        "b.wav was resampled from 16000 to 32000 Hz",
        "b.wav is mono and plays on all 2 channels",
        "b.wav is 0.300 s shorter and ends in silence",
    ]
    bass, _ = track(client, version, "bass")
    before = soundfile.read(io.BytesIO(sound(0.2)), dtype="float32")[0]
    assert bass.shape == (16_000, 2) and np.array_equal(bass[:, 0], bass[:, 1])
    assert np.abs(bass[6400:]).max() == 0 and np.abs(bass[:6400]).max() > 0.1
    inner = slice(100, -100)
    assert np.corrcoef(bass[:6400:2, 0][inner], before[inner])[0, 1] > 0.95, "no delay"
    drums, _ = track(client, version, "drums")
    sent = soundfile.read(io.BytesIO(files["drums"][1]), dtype="float32")[0]
    assert np.array_equal(drums, sent), "what fits is not touched"


def test_tracks_that_cannot_be_fitted(studio, data):
    client = studio(max_minutes=0.1)
    files = {"bass": ("b.wav", sound(0.1, 2)), "drums": ("d.wav", sound(0.1, 3))}
    answer = client.post("/api/projects", files=files)
    assert answer.status_code == 422 and "b.wav has 2 channels and d.wav 3" in answer.text
    large = {"bass": ("b.wav", sound(5, 1, 8000)), "drums": ("d.wav", sound(0.01, 16, 192_000))}
    answer = client.post("/api/projects", files=large)
    assert answer.status_code == 413 and "too different" in answer.json()["detail"]
    assert audio_files(data) == set()


def test_a_sum_that_no_float_can_hold(client, data):
    file = io.BytesIO()
    soundfile.write(file, np.full(100, 3e38), 16_000, format="WAV", subtype="FLOAT")
    files = {name: ("loud.wav", file.getvalue()) for name in ("bass", "drums")}
    answer = client.post("/api/projects", files=files)
    assert answer.status_code == 415 and "not finite" in answer.json()["detail"]
    assert audio_files(data) == set()


def test_concurrent_uploads(client, data):
    contents = [sound(0.1 + 0.01 * number) for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        projects = list(pool.map(lambda content: upload(client, content), contents))
    assert len({project["id"] for project in projects}) == 16
    for content, project in zip(contents, projects, strict=True):
        before = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]
        assert np.array_equal(track(client, project["versions"][0], MIXTURE)[0], before)
    assert len(audio_files(data)) == 16


def test_no_room_on_the_disk(studio, data):
    client = studio(min_free_mb=1e12)
    answer = client.post("/api/projects", files={MIXTURE: ("a.wav", sound(0.1))})
    assert answer.status_code == 507 and "disk is full" in answer.json()["detail"]
    assert audio_files(data) == set()


def test_a_folder_that_cannot_be_written(client, data):
    """What a failing disk looks like from inside: the file cannot be opened."""
    if os.geteuid() == 0:
        (data / "working").rmdir()
        (data / "working").write_text("in the way")
    else:
        (data / "working").chmod(0o500)
    answer = client.post("/api/projects", files={MIXTURE: ("a.wav", sound(0.1))})
    assert answer.status_code == 500 and set(answer.json()) == {"detail"}
    assert "working" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
