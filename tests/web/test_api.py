"""What the page does, over the API, in one process."""

import io
import json

import numpy as np
import pytest
import soundfile

from stemweave.stems import MIXTURE, OTHER, STEMS
from tests.tasks.test_other_stem import LOUD, five_stems
from tests.web.conftest import RATE, finish, sound, start, track, upload, wait

TRACKS = [*STEMS[:3], MIXTURE, STEMS[3]]


def test_the_model_and_the_page(client):
    assert client.get("/health").json() == {"status": "ok", "version": "0.1.0"}
    model = client.get("/api/model").json()
    assert (model["name"], model["stems"], model["sample_rate"]) == ("tiny", list(STEMS), RATE)
    assert model["tasks"] == ["separate", "generate", "arrange", "edit", "extend", "vary"]
    assert set(model["defaults"]) == set(model["tasks"])
    assert model["defaults"]["generate"]["steps"] == 2
    assert model["limits"] == {"max_minutes": 10, "max_mb": 200, "max_queue": 20, "tempo_bpm": None}
    assert "<title>Stemweave" in client.get("/").text
    assert client.get("/app.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/api/nothing").status_code == 404
    assert client.get("/openapi.json").json()["info"]["title"] == "Stemweave"


@pytest.mark.parametrize(
    ("fmt", "channels", "rate"), [("FLAC", 2, 44_100), ("WAV", 3, 16_000), ("OGG", 1, 22_050)]
)
def test_an_upload_is_unchanged_audio(client, fmt, channels, rate):
    content = sound(0.5, channels, rate, fmt)
    project = upload(client, content, f"My Song.{fmt.lower()}")
    assert project["name"] == "My Song"
    (version,) = project["versions"]
    assert project["head_version_id"] == version["id"]
    assert (version["task"], version["channels"], version["sample_rate"]) == (
        "upload",
        channels,
        rate,
    )
    assert version["duration_s"] == pytest.approx(0.5)
    before = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]
    after, got_rate = track(client, version, MIXTURE)
    assert got_rate == rate and np.array_equal(before, after)
    assert client.get("/api/projects").json() == [project]


def test_every_task(client):
    """A song is separated, edited, extended, varied and arranged anew, version after version."""
    project = upload(client, sound(1.5, 2, 22_050))
    separated = finish(client, project, "separate")
    assert [row["name"] for row in separated["tracks"]] == TRACKS
    song, _ = track(client, project["versions"][0], MIXTURE)
    stems = {stem: track(client, separated, stem)[0] for stem in STEMS}
    assert np.abs(sum(stems.values()) - song).max() < 1e-5
    assert np.array_equal(track(client, separated, MIXTURE)[0], song)

    edited = finish(client, project, "edit", renew={"drums": [0.5, None]}, steps=1)
    drums = track(client, edited, "drums")[0]
    assert np.array_equal(drums[:11_025], stems["drums"][:11_025])
    assert not np.array_equal(drums, stems["drums"])
    assert np.array_equal(track(client, edited, "bass")[0], stems["bass"])
    assert edited["parent_id"] == separated["id"]

    extended = finish(client, project, "extend", seconds=0.5)
    assert extended["duration_s"] == 2.0 and extended["parent_id"] == edited["id"]
    assert finish(client, project, "vary", strength=0.5)["duration_s"] == 2.0
    arranged = finish(client, project, "arrange", given=["bass", "drums"], add=["piano"])
    assert [row["name"] for row in arranged["tracks"]] == ["bass", "drums", MIXTURE, "piano"]
    generated = finish(client, project, "generate", seconds=0.5)
    assert (generated["sample_rate"], generated["duration_s"]) == (RATE, 0.5)
    versions = client.get(f"/api/projects/{project['id']}").json()["versions"]
    assert [version["task"] for version in versions] == [
        *("upload", "separate", "edit", "extend", "vary", "arrange", "generate")
    ]


def test_sounds_that_the_model_does_not_make_are_kept(studio):
    studio.pipe = five_stems(LOUD)
    client = studio()
    model = client.get("/api/model").json()
    assert model["stems"] == list(STEMS) and model["separated_stems"] == [*STEMS, OTHER]
    project = upload(client)
    separated = finish(client, project, "separate")
    assert {row["name"] for row in separated["tracks"]} == {*STEMS, OTHER, MIXTURE}
    edited = finish(client, project, "edit", renew={"drums": [0.2, None]}, steps=1)
    given = ["bass", OTHER]
    arranged = finish(client, project, "arrange", given=given, add=["piano"])
    assert {row["name"] for row in arranged["tracks"]} == {*given, "piano", MIXTURE}
    for version in (edited, arranged):
        tracks = {row["name"]: track(client, version, row["name"])[0] for row in version["tracks"]}
        assert np.array_equal(tracks[OTHER], track(client, separated, OTHER)[0])
        mixture = tracks.pop(MIXTURE)
        assert np.abs(sum(tracks.values()) - mixture).max() < 1e-6
    for params, message in (
        ({"given": [OTHER]}, "at least one"),
        ({"renew": {OTHER: [0, 1]}}, OTHER),
    ):
        body = {"task": "arrange" if "given" in params else "edit", "params": params}
        answer = client.post(f"/api/projects/{project['id']}/jobs", json=body)
        assert answer.status_code == 422 and message in answer.text
    uploaded = client.post("/api/projects", files={name: ("x.wav", sound(0.5)) for name in given})
    assert uploaded.status_code == 201


def test_edit_of_a_mixture_alone(client):
    project = upload(client)
    edited = finish(client, project, "edit", renew={"bass": [0, 0.5]})
    song = track(client, project["versions"][0], MIXTURE)[0]
    assert np.array_equal(track(client, edited, MIXTURE)[0][8000:], song[8000:])


def test_stems_without_a_mixture(client):
    files = {"bass": ("b.wav", sound(0.5)), "drums": ("d.flac", sound(0.5, fmt="FLAC"))}
    project = client.post("/api/projects", files=files, data={"name": "Étude / 2"}).json()
    assert project["name"] == "Étude / 2"
    (version,) = project["versions"]
    assert [row["name"] for row in version["tracks"]] == ["bass", "drums", MIXTURE]
    bass, drums = (track(client, version, name)[0] for name in ("bass", "drums"))
    assert np.allclose(track(client, version, MIXTURE)[0], bass + drums)
    arranged = finish(client, project, "arrange", given=["bass", "drums"])
    assert [row["name"] for row in arranged["tracks"]] == TRACKS
    assert np.array_equal(track(client, arranged, "bass")[0], bass)


def test_equal_seeds_give_equal_pieces(client):
    project = client.post("/api/projects").json()
    assert project["versions"] == [] and project["head_version_id"] is None
    jobs = [wait(client, start(client, project, "generate", seed, seconds=0.3)) for seed in (5, 5)]
    pieces = []
    for job in jobs:
        version = client.get(f"/api/versions/{job['result_version_id']}").json()
        assert (job["seed"], version["seed"]) == (5, 5)
        pieces.append(track(client, version, MIXTURE)[0])
    assert np.array_equal(*pieces)
    random = [start(client, project, "generate", None, seconds=0.3)["seed"] for _ in range(2)]
    assert random[0] != random[1]


def test_errors_tell_no_path(client, tmp_path):
    """A track that is damaged on the server, or gone."""
    project = upload(client)
    version = project["head_version_id"]
    file = tmp_path / "data" / "versions" / version / "mixture.wav"
    file.write_bytes(b"damaged")
    path = f"/api/versions/{version}/tracks/mixture"
    damaged = client.get(path, params={"format": "flac"})
    assert damaged.status_code == 500
    assert damaged.json() == {"detail": "the track mixture is damaged on the server"}
    file.unlink()
    assert str(tmp_path) not in client.get(path).text
    assert str(tmp_path) not in client.get(path, params={"format": "flac"}).text


def test_every_error_is_one_sentence_of_ours(client):
    project = upload(client)
    jobs = f"/api/projects/{project['id']}/jobs"
    track_path = f"/api/versions/{project['head_version_id']}/tracks/mixture"
    sentences = {
        "/nothing": "there is nothing at this address",
        "/api/nothing": "there is nothing at this address",
        f"{track_path}?format=exe": "format: must be",
        "/api/jobs?project_id=" + "x" * 101: "project_id: may have at most 100 characters",
    }
    for path, sentence in sentences.items():
        answer = client.get(path)
        assert list(answer.json()) == ["detail"] and answer.json()["detail"].startswith(sentence)
    for body, sentence in (
        (b"{", "the body is not JSON"),
        (b"[]", "the body: must be an object"),
        (b'{"task": "compose"}', "task: must be one of 'separate'"),
        (b"{}", "task: is missing"),
        (b'{"task": "edit"}', "params: is missing"),
        (b'{"task": "vary", "params": {"strength": 2}}', "params.strength: must be at most 1"),
        (b'{"task": "vary", "params": {"x": 2}}', "params.x: there is no such parameter"),
        (b'{"task": "vary", "params": {"steps": 1.5}}', "params.steps: must be a whole number"),
        (b'{"task": "vary", "seed": "x"}', "seed: must be a whole number"),
    ):
        answer = client.post(jobs, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422 and answer.json()["detail"].startswith(sentence), body
    unreadable = client.post(jobs, content=b"\xff", headers={"content-type": "application/json"})
    assert unreadable.status_code in (400, 422)
    assert unreadable.json()["detail"] in ("the body cannot be read", "the body is not JSON")


def test_undo_rename_delete(client, tmp_path):
    project = upload(client)
    separated = finish(client, project, "separate")
    path = f"/api/projects/{project['id']}"
    assert client.get(path).json()["head_version_id"] == separated["id"]
    undone = client.patch(path, json={"head_version_id": project["head_version_id"]}).json()
    assert undone["head_version_id"] == project["head_version_id"]
    assert len(undone["versions"]) == 2
    assert client.patch(path, json={"name": "x"}).json()["name"] == "x"
    other = upload(client)
    wrong = client.patch(path, json={"head_version_id": other["head_version_id"]})
    assert wrong.status_code == 404
    assert client.patch(path, json={"title": "x"}).status_code == 422
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404
    assert client.get(f"/api/versions/{separated['id']}").status_code == 404
    assert client.get("/api/jobs").json() == []
    left = [folder.name for folder in (tmp_path / "data" / "versions").iterdir()]
    assert left == [other["head_version_id"]]


def test_events_tell_the_whole_story(client):
    project = client.post("/api/projects").json()
    job = start(client, project, "generate", seconds=0.5, steps=30)
    events = []
    with client.stream("GET", f"/api/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            assert line in ("", "event: job") or line.startswith("data: ")
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
    assert events[-1]["state"] == "done" and events[-1]["step"] == 30
    assert events[-1]["result_version_id"]
    steps = [event["step"] for event in events]
    assert steps == sorted(steps) and all(event["steps"] in (None, 30) for event in events)
    again = client.get(f"/api/jobs/{job['id']}/events").text
    assert again.count("event: job") == 1
    assert client.get("/api/jobs/nothing/events").status_code == 404


def test_cancel_and_delete_jobs(client, tmp_path):
    project = client.post("/api/projects").json()
    running = start(client, project, "generate", seconds=20, steps=1000)
    waiting = [start(client, project, "generate", seconds=0.3) for _ in range(2)]
    wait(client, running, "running")
    assert [job["position"] for job in client.get("/api/jobs").json()] == [None, 1, 2]
    assert client.delete(f"/api/jobs/{running['id']}").status_code == 409
    assert client.post(f"/api/jobs/{waiting[0]['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/api/jobs/{running['id']}/cancel").status_code == 202
    assert wait(client, running)["state"] == "cancelled"
    assert wait(client, waiting[1])["state"] == "done"
    assert client.post(f"/api/jobs/{running['id']}/cancel").status_code == 409
    assert client.delete(f"/api/jobs/{running['id']}").status_code == 204
    assert client.get(f"/api/jobs/{running['id']}").status_code == 404
    mine = client.get("/api/jobs", params={"project_id": project["id"]}).json()
    assert [job["state"] for job in mine] == ["cancelled", "done"]
    assert list((tmp_path / "data" / "working").iterdir()) == []


def test_deleting_a_project_ends_its_job(client, tmp_path):
    project = client.post("/api/projects").json()
    job = start(client, project, "generate", seconds=20, steps=1000)
    wait(client, job, "running")
    assert client.delete(f"/api/projects/{project['id']}").status_code == 204
    other = client.post("/api/projects").json()
    finish(client, other, "generate", seconds=0.3)
    assert len(list((tmp_path / "data" / "versions").iterdir())) == 1


def test_deleting_versions(client, tmp_path):
    project = upload(client)
    first = project["versions"][0]["id"]
    assert client.delete(f"/api/versions/{first}").status_code == 409, "the only one"
    second, third = [finish(client, project, "vary", strength=1.0, steps=1)["id"] for _ in range(2)]
    assert client.delete(f"/api/versions/{second}").status_code == 204
    assert client.get(f"/api/versions/{second}/tracks/mixture").status_code == 404
    now = client.get(f"/api/projects/{project['id']}").json()
    assert [one["id"] for one in now["versions"]] == [first, third]
    assert now["versions"][1]["parent_id"] == first and now["head_version_id"] == third
    running = start(client, project, "vary", strength=1.0, steps=1000)
    assert client.delete(f"/api/versions/{third}").status_code == 409, "a job works on it"
    client.post(f"/api/jobs/{running['id']}/cancel")
    wait(client, running)
    assert client.delete(f"/api/versions/{third}").status_code == 204
    now = client.get(f"/api/projects/{project['id']}").json()
    assert now["head_version_id"] == first
    assert [folder.name for folder in (tmp_path / "data" / "versions").iterdir()] == [first]
    assert client.delete(f"/api/versions/{third}").status_code == 404


def test_the_queue_is_bounded(studio):
    client = studio(max_queue=2)
    project = client.post("/api/projects").json()
    wait(client, start(client, project, "generate", seconds=20, steps=1000), "running")
    body = {"task": "generate", "params": {"seconds": 0.3}}
    path = f"/api/projects/{project['id']}/jobs"
    answers = [client.post(path, json=body) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert "queue is full" in answers[2].json()["detail"]


IMPOSSIBLE = [
    (422, "params.strength", {"task": "vary", "params": {"strength": 2}}),
    (422, "params.strength", {"task": "vary", "params": {"strength": None}}),
    (422, "task", {"task": "compose"}),
    (422, "task", {}),
    (422, "params.stepz", {"task": "vary", "params": {"stepz": 2}}),
    (422, "steps", {"task": "separate", "params": {"steps": 0}}),
    (422, "no mask network", {"task": "separate", "params": {"method": "mask"}}),
    (422, "seed", {"task": "separate", "seed": -1}),
    (422, "seed", {"task": "separate", "seed": 2**60}),
    (422, "seed", {"task": "separate", "seed": True}),
    (422, "params.seconds", {"task": "generate", "params": {"seconds": "1"}}),
    (422, "at most 600 s", {"task": "generate", "params": {"seconds": 601}}),
    (422, "leave it out", {"task": "generate", "params": {"tempo_bpm": 120}}),
    (422, "at most 600 s", {"task": "extend", "params": {"seconds": 599.5}}),
    (422, "no stem named flute", {"task": "edit", "params": {"renew": {"flute": [0, 1]}}}),
    (422, "not in the piece", {"task": "edit", "params": {"renew": {"bass": [0, 9]}}}),
    (422, "start before", {"task": "edit", "params": {"renew": {"bass": [1, 0]}}}),
    (422, "no bass", {"task": "arrange", "params": {"given": ["bass"]}}),
    (422, "no stem named oboe", {"task": "arrange", "params": {"given": ["oboe"]}}),
    (404, "no such version", {"task": "vary", "version_id": "nothing"}),
    (404, "no such version", {"task": "vary", "version_id": ""}),
]


def test_jobs_that_cannot_succeed(client):
    project = upload(client)
    for status, message, body in IMPOSSIBLE:
        answer = client.post(f"/api/projects/{project['id']}/jobs", json=body)
        assert answer.status_code == status, body
        assert message in answer.json()["detail"]
    assert client.get("/api/jobs").json() == []


def test_wrong_places(client):
    empty = client.post("/api/projects").json()
    path = f"/api/projects/{empty['id']}/jobs"
    refused = client.post(path, json={"task": "vary"})
    assert refused.status_code == 409 and "only generate" in refused.json()["detail"]
    assert client.post("/api/projects/nothing/jobs", json={"task": "vary"}).status_code == 404
    assert client.get("/api/jobs?project_id=nothing").status_code == 404
    other = upload(client)
    foreign = {"task": "vary", "version_id": other["head_version_id"]}
    assert client.post(path, json=foreign).status_code == 404
    assert client.post(path, content=b"{").status_code == 422
    wrong = client.put(path.removesuffix("/jobs"))
    assert wrong.status_code == 405 and wrong.headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert client.post("/app.js").headers["allow"] == "GET, HEAD"
    lone = client.post(path, content=b'{"task":"edit","params":{"renew":{"\\ud800":[0,"a"]}}}')
    assert lone.status_code == 422
    huge = client.post(path, content=b'{"task":"vary","seed":' + b"9" * 5000 + b"}")
    assert huge.status_code in (400, 422)
