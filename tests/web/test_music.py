"""Sheets and notes of versions: what a piece was written on, what is found, what people correct."""

import io
import zipfile
from pathlib import Path

import mido
import pytest
import soundfile

from stemweave.model import StemModel
from stemweave.music.folder import read_music
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.midi import read_midi
from tests.tasks.test_conditioning import make_writing_pipeline
from tests.web.conftest import finish, track, upload

FOUND = LeadSheet.from_text("Dm | G", 120, "4/4", "D minor", duration_s=1.0)


@pytest.fixture
def written(studio):
    """A studio whose model writes notes, and a piece of a tempo of its own."""
    studio.pipe = make_writing_pipeline()
    client = studio()
    project = client.post("/api/projects").json()
    return client, project, finish(client, project, "generate", seconds=5, tempo_bpm=96, steps=1)


def test_a_written_piece_has_its_sheet_and_notes_and_jobs_follow_them(written, studio):
    client, project, version = written
    sheet = client.get(f"/api/versions/{version['id']}/sheet").json()
    score = client.get(f"/api/versions/{version['id']}/score").json()
    assert sheet["tempo_bpm"] == 96 and sheet["beats_s"][1] == 0.625 and sheet["chords"]
    assert set(score) == {"bass", "drums", "guitar", "piano"} and score["drums"]

    beats_s = [time / 2 for time in range(2 * len(sheet["beats_s"]) - 1)]
    beats_s = [beat * sheet["beats_s"][1] for beat in beats_s]
    downbeats = list(range(0, len(beats_s), 4))
    double = {**sheet, "tempo_bpm": 192, "beats_s": beats_s, "downbeats": downbeats}
    double["chords"] = [[0, "C°"]]
    corrected = client.put(f"/api/versions/{version['id']}/sheet", json=double).json()
    assert corrected["chords"] == [[0, "Cdim"]]
    moved = client.get(f"/api/versions/{version['id']}/score").json()
    for note, before in zip(moved["bass"], score["bass"], strict=True):
        assert note["start_beat"] == pytest.approx(2 * before["start_beat"], abs=1e-3)

    edited = finish(client, project, "edit", renew={"drums": [3, None]}, steps=1)
    assert client.get(f"/api/versions/{edited['id']}/sheet").json() == corrected
    again = client.get(f"/api/versions/{edited['id']}/score").json()
    assert again["bass"] == [pytest.approx(note) for note in moved["bass"]]
    assert again["drums"][0] == pytest.approx(moved["drums"][0])
    assert again["drums"] != [pytest.approx(note) for note in moved["drums"]]
    kick = {"start_beat": 12.0, "end_beat": 12.25, "pitch": 36, "velocity": 100}
    params = {"renew": {"drums": [3, None]}, "notes": {"drums": [kick]}}
    edited = finish(client, project, "edit", **params, steps=1)
    played = client.get(f"/api/versions/{edited['id']}/score").json()
    kept = [note for note in again["drums"] if note["start_beat"] < 3 / 0.3125 - 1e-3]
    assert played["drums"] == [pytest.approx(note, abs=1e-3) for note in [*kept, kick]]
    for notes, words in (
        ({"bass": [kick]}, "no part of it"),
        ({"drums": [{**kick, "end_beat": 1}]}, "ends before"),
        ({"drums": [{**kick, "pitch": 128}]}, "at most 127"),
    ):
        body = {"task": "edit", "params": {**params, "notes": notes}}
        refused = client.post(f"/api/projects/{project['id']}/jobs", json=body)
        assert refused.status_code == 422 and words in refused.json()["detail"]
    longer = finish(client, project, "extend", seconds=2, steps=1)
    sheet = client.get(f"/api/versions/{longer['id']}/sheet").json()
    assert sheet["beats_s"][-1] >= longer["duration_s"] == 7
    arranged = finish(client, project, "arrange", given=["bass"], add=["piano"], steps=1)
    folder = Path(studio.data / "versions" / arranged["id"])
    assert set(read_music(folder)[1].notes) == {"bass", "piano"}


def test_a_recording_is_analysed_once_and_can_be_corrected(client, monkeypatch):
    heard = []

    def analyse(self, waveform, sample_rate):
        heard.append(waveform.shape)
        return FOUND

    monkeypatch.setattr(StemModel, "analyses", True)
    monkeypatch.setattr(StemModel, "analyse", analyse)
    project = upload(client)
    address = f"/api/versions/{project['head_version_id']}/sheet"
    found = client.get(address).json()
    assert found["key"] == "D minor" and client.get(address).json() == found
    assert len(heard) == 1 and client.get(address.replace("sheet", "score")).json() == {}
    assert client.put(address, json={**found, "key": "F"}).json()["key"] == "F major"
    separated = finish(client, project, "separate")
    assert client.get(f"/api/versions/{separated['id']}/sheet").json()["key"] == "F major"
    for wrong, words in (
        ({"chords": [[0, "H7"]]}, "H7 is not a chord"),
        ({"beats_s": [1, 0]}, "rising"),
        ({"downbeats": [1e9]}, "downbeats"),
        ({"tempo": 3}, "tempo"),
        ({"tempo_bpm": 1e9}, "out of range"),
    ):
        refused = client.put(address, json={**found, **wrong})
        assert refused.status_code == 422 and words in refused.json()["detail"]
    assert client.get(address).json()["key"] == "F major"
    assert client.get("/api/versions/none/sheet").status_code == 404


def test_a_model_without_an_analyser_knows_nothing(client):
    project = upload(client)
    sheet = client.get(f"/api/versions/{project['head_version_id']}/sheet").json()
    assert {name for name, value in sheet.items() if value is not None} == {"version"}


def test_a_version_is_a_session_for_daws(written, tmp_path):
    client, _, version = written
    path = f"/api/versions/{version['id']}/daw"
    answer = client.get(path, params={"first_bar": 1, "last_bar": 2})
    assert answer.status_code == 200, answer.text
    assert "untitled%20-%20DAW.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    stems = {f"untitled/stems/{stem}.wav" for stem in ("bass", "drums", "guitar", "piano")}
    assert names == stems | {f"untitled/untitled.{end}" for end in ("mid", "rpp", "dawproject")}
    score, sheet = read_midi(tmp_path / "untitled" / "untitled.mid")
    assert sheet.tempo_bpm == pytest.approx(96, abs=1e-3) and score.notes["drums"]
    bass = soundfile.read(tmp_path / "untitled" / "stems" / "bass.wav", dtype="float32")[0]
    assert (bass == track(client, version, "bass")[0].squeeze()).all()
    assert client.head(path).status_code == 200
    assert "no loop" in client.get(path, params={"first_bar": 9, "last_bar": 99}).json()["detail"]
    assert client.get(path, params={"first_bar": 1}).status_code == 422
    unknown = upload(client)["head_version_id"]
    refused = client.get(f"/api/versions/{unknown}/daw")
    assert refused.status_code == 422 and "no beat was found" in refused.json()["detail"]
    assert list(client.app.state.studio.library._working.iterdir()) == []


def test_a_midi_file_for_one_stem(client, tmp_path: Path):
    version = upload(client)["versions"][0]

    def part(stem: str, *tracks: tuple[int, int, int]) -> tuple[int, object]:
        """Status and answer for a file of one note per (channel, program, pitch)."""
        song = mido.MidiFile(ticks_per_beat=96)
        for channel, program, pitch in tracks:
            song.tracks.append(
                mido.MidiTrack(
                    [
                        mido.Message("program_change", channel=channel, program=program),
                        mido.Message("note_on", channel=channel, note=pitch, velocity=80, time=48),
                        mido.Message("note_off", channel=channel, note=pitch, time=96),
                    ]
                )
            )
        song.save(tmp_path / "part.mid")
        address = f"/api/versions/{version['id']}/midi?stem={stem}"
        answer = client.post(address, content=(tmp_path / "part.mid").read_bytes())
        return answer.status_code, answer.json()

    note = {"start_beat": 0.5, "end_beat": 1.5, "pitch": 60, "velocity": 80}
    strings, guitar, piano, drums = (0, 48, 60), (1, 25, 64), (2, 0, 67), (9, 0, 36)
    assert part("guitar", strings) == (200, [note])
    assert part("guitar", strings, guitar, drums) == (200, [{**note, "pitch": 64}])
    assert part("drums", strings, drums) == (200, [{**note, "pitch": 36}])
    for stem, tracks, words in (
        ("bass", (guitar, piano), "several instruments, none of them bass"),
        ("drums", (guitar,), "no drums"),
    ):
        status, answer = part(stem, *tracks)
        assert status == 422 and words in answer["detail"]
    address = f"/api/versions/{version['id']}/midi?stem=bass"
    answer = client.post(address, content=b"no MIDI")
    assert answer.status_code == 422 and answer.json()["detail"].startswith(
        "the file is not a MIDI"
    )
