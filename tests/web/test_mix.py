"""Mixes of a version, faders kept for a project, and tracks that two versions share."""

import io
import zipfile

import numpy as np
import pytest
import soundfile

from stemweave.stems import MIXTURE, STEMS
from stemweave.web import version_routes
from tests.web.conftest import RATE, finish, sound, track, upload


@pytest.fixture
def version(client) -> dict:
    """Bass and drums, 0.5 s of stereo."""
    files = {"bass": ("b.wav", sound(0.5, 2)), "drums": ("d.wav", sound(0.5, 2))}
    return client.post("/api/projects", files=files).json()["versions"][0]


def mix(client, version: dict, **query) -> np.ndarray:
    answer = client.get(f"/api/versions/{version['id']}/mix", params=query)
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32", always_2d=True)
    assert rate == RATE
    return samples


def test_a_mix_has_gains_pans_and_a_region(client, version):
    bass, drums = (track(client, version, name)[0] for name in ("bass", "drums"))
    assert np.allclose(mix(client, version), bass + drums, atol=1e-6)
    assert np.array_equal(mix(client, version, drums=0), bass)
    assert np.allclose(mix(client, version, bass=0.5, drums=2), 0.5 * bass + 2 * drums, atol=1e-6)
    assert np.array_equal(mix(client, version, mixture=1), track(client, version, MIXTURE)[0])
    assert np.abs(mix(client, version, bass=0, drums=0)).max() == 0
    part = mix(client, version, drums=0, start=0.1, end=0.25)
    assert np.array_equal(part, bass[1600:4000])
    left = mix(client, version, drums=0, **{"pan.bass": -0.25})
    assert np.allclose(left, bass * [1, 0.75], atol=1e-6)


def test_a_mono_track_beside_the_middle_makes_the_mix_stereo(client):
    version = upload(client, sound(0.2))["versions"][0]
    song = track(client, version, MIXTURE)[0]
    assert mix(client, version).shape == (3200, 1)
    assert np.array_equal(mix(client, version, **{"pan.mixture": 1}), song * [0, 1])


def test_formats_that_clip_are_turned_down_as_a_whole(client, version):
    path = f"/api/versions/{version['id']}/mix"
    query = {"bass": 4, "drums": 4, "format": "flac", "download": 1}
    loud = client.get(path, params=query)
    whole = mix(client, version, bass=4, drums=4)
    peak = np.abs(whole).max()
    assert peak > 1
    assert float(loud.headers["stemweave-gain-db"]) == pytest.approx(-20 * np.log10(peak), abs=0.01)
    assert "b%20-%20mix.flac" in loud.headers["content-disposition"]
    samples = soundfile.read(io.BytesIO(loud.content), dtype="float32")[0]
    assert np.allclose(samples, whole / peak, atol=1e-6)
    quiet = client.get(path, params={"format": "flac"})
    assert "stemweave-gain-db" not in quiet.headers
    head = client.head(path, params=query)
    assert head.is_success and head.content == b"" and "content-length" not in head.headers


def test_tracks_in_formats_that_clip_still_add_up(client):
    rng = np.random.default_rng(0)
    tracks = {"bass": rng.uniform(-1.6, 1.6, 9000), "drums": rng.uniform(-0.4, 0.4, 9000)}
    files = {}
    for name, samples in tracks.items():
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
        files[name] = (f"{name}.wav", file.getvalue())
    version = client.post("/api/projects", files=files).json()["versions"][0]
    peak = np.abs(tracks["bass"] + tracks["drums"]).max()
    for name, samples in tracks.items():
        got, _ = track(client, version, name, format="flac")
        assert np.allclose(got[:, 0], samples * 0.9999 / peak, atol=1e-6)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"flute": 1}, "no track flute, only bass, drums, mixture"),
        ({"bass": "loud"}, "bass: must be a number"),
        ({"bass": "nan"}, "gain of bass"),
        ({"bass": -1}, "gain of bass"),
        ({"bass": 5}, "gain of bass"),
        ({"pan.bass": 2}, "pan of bass"),
        ({"start": 0.5}, "start must be before end"),
        ({"start": 0.3, "end": 0.2}, "start must be before end"),
        ({"end": 9}, "start must be before end"),
        ({"start": -1}, "start: must be at least 0"),
        ({"format": "exe"}, "format: must be"),
    ],
)
def test_mixes_that_cannot_be(client, version, query, message):
    answer = client.get(f"/api/versions/{version['id']}/mix", params=query)
    assert answer.status_code == 422 and message in answer.json()["detail"]


def test_a_desk_is_kept_for_each_project(client):
    project, other = upload(client), upload(client)
    path = f"/api/projects/{project['id']}/desk"
    usual = client.get(path).json()
    assert (usual["lanes"], usual["volume"], usual["selection"]) == ({}, 1.0, None)
    desk = {
        "lanes": {"bass": {"volume": 0.5, "pan": -0.5, "muted": True, "soloed": False}},
        "volume": 0.8,
        "looping": True,
        "spectral": False,
        "speed": 0.75,
        "semitones": -2.0,
        "zoom": 0.25,
        "start_s": 1.5,
        "position_s": 2.0,
        "selection": {"start_s": 1.0, "end_s": 2.5, "stems": ["bass"]},
        "favourites": ["a version"],
    }
    assert client.put(path, json=desk).status_code == 204
    assert client.get(path).json() == desk
    assert client.get(f"/api/projects/{other['id']}/desk").json() == usual
    assert client.put(path, json={**desk, "volume": 2}).status_code == 422
    assert client.put("/api/projects/nothing/desk", json=desk).status_code == 404
    client.delete(f"/api/projects/{project['id']}")
    assert client.get(path).status_code == 404


def test_what_a_fill_leaves_alone_takes_no_room(client, tmp_path):
    project = upload(client, sound(1.0, 2))
    separated = finish(client, project, "separate")
    edited = finish(client, project, "edit", renew={"drums": [0.2, 0.4]}, steps=1)
    versions = tmp_path / "data" / "versions"

    def contents(version: dict) -> dict[str, str]:
        return {row["name"]: row["content"] for row in version["tracks"]}

    before, after = contents(separated), contents(edited)
    assert contents(project["versions"][0])[MIXTURE] == before[MIXTURE]
    assert len({*before.values()}) == 5
    for name in (*STEMS, MIXTURE):
        files = [versions / version["id"] / f"{name}.wav" for version in (separated, edited)]
        is_new = name in ("drums", MIXTURE)
        assert files[0].samefile(files[1]) is not is_new
        assert (before[name] == after[name]) is not is_new
    again = finish(client, project, "edit", renew={"drums": [0.2, 0.4]}, steps=1)
    assert again["parent_id"] == edited["id"]
    arranged = finish(client, project, "arrange", given=["bass"], add=["piano"])
    assert contents(arranged)["bass"] == before["bass"]
    client.delete(f"/api/projects/{project['id']}")
    assert list(versions.iterdir()) == []


def test_speed_and_pitch(client, version, monkeypatch):
    path = f"/api/versions/{version['id']}"

    def samples(name: str, **query) -> np.ndarray:
        answer = client.get(f"{path}/tracks/{name}", params=query)
        assert answer.status_code == 200, answer.text
        return soundfile.read(io.BytesIO(answer.content), dtype="float32")[0]

    length = len(samples("bass"))
    assert len(samples("bass", speed=0.5)) == 2 * length
    assert np.array_equal(samples("drums", semitones=3), samples("drums")), "drums keep their pitch"
    higher = samples("bass", semitones=3)
    assert len(higher) == length and not np.allclose(higher, samples("bass"), atol=1e-3)
    whole = samples(MIXTURE, semitones=3)
    assert np.allclose(whole, higher + samples("drums"), atol=1e-6)
    slow = {"speed": 0.5, "semitones": 3}
    region = mix(client, version, drums=0, start=0.1, end=0.25, **slow)
    assert np.array_equal(region, samples("bass", **slow)[3200:8000])
    for wrong in ({"speed": 3}, {"speed": "nan"}, {"semitones": 7}):
        assert client.get(f"{path}/mix", params=wrong).status_code == 422
    with zipfile.ZipFile(io.BytesIO(client.get(f"{path}/download", params=slow).content)) as made:
        assert len(soundfile.read(io.BytesIO(made.read("drums.wav")))[0]) == 2 * length
    with monkeypatch.context() as absent:
        absent.setattr(version_routes, "can_stretch", lambda: False)
        answer = client.get(f"{path}/mix", params=slow)
        assert answer.status_code == 501 and "python-stretch" in answer.json()["detail"]
    kept = sorted(client.app.state.studio.library.folder(version["id"]).glob("stretched/*"))
    assert 1 <= len(kept) <= 3, "older settings are removed"


def test_a_click_on_every_beat(client, version):
    path = f"/api/versions/{version['id']}/sheet"
    sheet = {"beats_s": [0.1, 0.3, 0.5], "downbeats": [1], "tempo_bpm": 300.0, "metre": "2/4"}
    assert client.put(path, json=sheet).is_success
    silent = {"bass": 0, "drums": 0, "click": 2}
    for speed in (1, 0.5):
        click = mix(client, version, speed=speed, **silent)
        sounding = np.flatnonzero(np.abs(click[:, 0]) > 1e-3) / RATE * speed
        assert sounding.min() == pytest.approx(0.1, abs=0.002), "the first beat"
        quiet, loud = (np.abs(click[round(at / speed * RATE) :][:700]).max() for at in (0.1, 0.3))
        assert loud == pytest.approx(2 * 0.5, rel=0.15) and quiet == pytest.approx(
            2 * 0.3, rel=0.15
        )
    bass = track(client, version, "bass")[0]
    assert np.abs(mix(client, version, drums=0, click=1, end=0.1) - bass[:1600]).max() == 0
    assert np.abs(mix(client, version, drums=0, click=1, start=0.1) - bass[1600:]).max() > 0.2
