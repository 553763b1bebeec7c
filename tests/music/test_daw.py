"""Sessions for DAWs: every file is read by a reader of its kind, and all agree on the time."""

import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import mido
import numpy as np
import pytest
import soundfile

from stemweave.errors import InputError
from stemweave.music.daw import export_files, stem_sounds
from stemweave.music.guides import sections
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.midi import read_midi
from stemweave.music.score import Score, ScoreNote
from tests.music.daw_files import check_schema, reaper_chunks, wav_chunks

RATE = 44_100
DURATION_S = 9.0
CHORDS = "Am7 | F | C G/B | % | Am7 | F | C G/B | % | E | E | E | E"


def make_sheet(metre: str = "4/4", first_s: float = 0.31) -> LeadSheet:
    """Bars whose tempo runs, a first beat after or before the sound begins."""
    sheet = LeadSheet.from_text(CHORDS, 150, metre, "A minor", "rock")
    beats = np.arange(len(sheet.beats_s))
    beats_s = first_s + 0.4 * beats + 0.02 * np.sin(beats / 3)
    return replace(sheet, beats_s=tuple((beats_s - beats_s[0] + first_s).tolist()))


SCORE = Score(
    {
        "bass": (ScoreNote(0, 2.5, 33, 90), ScoreNote(3, 4, 36, 80)),
        "drums": tuple(ScoreNote(beat / 2, beat / 2 + 0.25, 36, 99) for beat in range(20)),
    }
)


def hits(sheet: LeadSheet) -> np.ndarray:
    """Sound of the drums of ``SCORE``."""
    samples = np.zeros(round(DURATION_S * RATE), np.float32)
    for note in SCORE.notes["drums"]:
        time_s = sheet.time_of(note.start_beat)
        if time_s >= 0:
            samples[round(time_s * RATE)] = 1.5
    return samples


@pytest.fixture(params=[("4/4", 0.31), ("6/8", 0.013), ("3/4", -0.7)])
def sheet(request) -> LeadSheet:
    return make_sheet(*request.param)


@pytest.fixture
def folder(sheet: LeadSheet, tmp_path: Path) -> Path:
    """An exported session of bass and drums, bars 1 and 2 a loop."""
    results, out = tmp_path / "results", tmp_path / "out"
    results.mkdir()
    out.mkdir()
    stereo = np.stack([hits(sheet), np.zeros_like(hits(sheet))], axis=1)
    soundfile.write(results / "bass.flac", 0.1 * stereo, RATE, subtype="PCM_24")
    soundfile.write(results / "drums.wav", hits(sheet), RATE, subtype="FLOAT")
    for name in ("mixture.wav", "bass+drums.wav", "without_bass.wav"):
        soundfile.write(results / name, hits(sheet), RATE, subtype="FLOAT")
    files = export_files(out, "song", stem_sounds(results), sheet, SCORE, loop_bars=(1, 2))
    names = [path.relative_to(out).as_posix() for path in files]
    projects = ["song.mid", "song.rpp", "song.dawproject"]
    assert sorted(names) == sorted([*projects, "stems/bass.wav", "stems/drums.wav"])
    return out


def begins_s(sheet: LeadSheet) -> float:
    """Where the sound begins on the time line."""
    return max(-sheet.beats_s[0], 0.0)


def beats_of(session: mido.MidiFile, name: str) -> np.ndarray:
    """Times of the notes of a track, played by mido."""
    (track,) = [track for track in session.tracks if track.name == name]
    merged = mido.MidiFile(type=1, ticks_per_beat=session.ticks_per_beat)
    merged.tracks += [session.tracks[0], track]
    now_s, times_s = 0.0, []
    for event in merged:
        now_s += event.time
        if event.type == "note_on" and event.velocity:
            times_s.append(now_s)
    return np.array(times_s)


def check_notes(score: Score, start_beat: float | None = 0.0) -> None:
    """It is ``SCORE``, without click and chords; None: from whatever beat."""
    assert set(score.notes) == {"bass", "drums"}
    for stem, notes in SCORE.notes.items():
        first = score.notes[stem][0].start_beat if start_beat is None else start_beat
        begun = [note.start_beat - first for note in score.notes[stem]]
        assert begun == pytest.approx([note.start_beat for note in notes], abs=0.01)
        assert [note.pitch for note in score.notes[stem]] == [note.pitch for note in notes]


def test_midi_has_click_chords_sections_and_notes_at_their_times(folder, sheet):
    session = mido.MidiFile(folder / "song.mid")
    tracks = ["sheet", "bass", "drums", "click", "chords"]
    assert session.type == 1 and [track.name for track in session.tracks] == tracks
    start_s = begins_s(sheet)
    num_beats = len(sheet.beats_s) - 1
    clicks = beats_of(session, "click")
    assert clicks[:num_beats] == pytest.approx(np.array(sheet.beats_s[:-1]) + start_s, abs=2e-4)
    assert clicks[-1] + 1 > DURATION_S + start_s
    keys = [event.note for event in session.tracks[3] if event.type == "note_on"]
    strong = [keys[beat] == 76 for beat in range(num_beats)]
    assert [beat for beat, is_strong in enumerate(strong) if is_strong] == [
        beat for beat in sheet.downbeats if beat < num_beats
    ]
    drums = [sheet.time_of(note.start_beat) + start_s for note in SCORE.notes["drums"]]
    assert beats_of(session, "drums") == pytest.approx(np.array(drums), abs=2e-4)
    cues = [event.text for event in session.tracks[0] if event.type == "cue_marker"]
    assert cues == ["A", "B"]
    first = [event.note for event in session.tracks[4] if event.type == "note_on"][:5]
    assert {pitch % 12 for pitch in first} == {9, 0, 4, 7} and min(first) == 45
    score, again = read_midi(folder / "song.mid")
    assert again.chords[: len(sheet.chords)] == sheet.chords
    check_notes(score)
    for track in session.tracks:  # as a sequencer saves it that drops texts
        for event in [one for one in track if one.type == "text"]:
            track[track.index(event) + 1].time += event.time
            track.remove(event)
    session.save(folder / "others.mid")
    check_notes(read_midi(folder / "others.mid")[0], start_beat=None)


def test_stems_know_their_place_and_their_loop(folder, sheet):
    chunks = wav_chunks((folder / "stems" / "drums.wav").read_bytes())
    assert list(chunks).index("bext") < list(chunks).index("data")
    samples, rate = soundfile.read(folder / "stems" / "drums.wav", dtype="float32")
    assert rate == RATE and (samples == hits(sheet)).all()
    bext = chunks["bext"]
    assert bext.startswith(b"drums\0") and bext[256:].startswith(b"Stemweave\0")
    assert struct.unpack("<Q", bext[338:346])[0] == round(begins_s(sheet) * RATE)
    num_loops, *_, start, end = struct.unpack("<28xI4x8xII", chunks["smpl"][:52])
    bars_s = [sheet.time_of(float(sheet.downbeats[bar])) for bar in (0, 2)]
    expected = [max(round(time * RATE), 0) for time in bars_s]
    assert num_loops == 1 and [start, end] == [expected[0], expected[1] - 1]


def test_reaper_has_the_same_times(folder, sheet):
    project = reaper_chunks((folder / "song.rpp").read_text())
    start_s = begins_s(sheet)
    tracks = {one.set("NAME")[0][0]: one for one in project.all("TRACK")}
    notes = ["bass notes", "drums notes", "click notes", "chords notes"]
    assert list(tracks) == ["bass", "drums", *notes]
    for stem in ("bass", "drums"):
        (item,) = tracks[stem].all("ITEM")
        assert float(item.set("POSITION")[0][0]) == pytest.approx(start_s)
        assert float(item.set("LENGTH")[0][0]) == pytest.approx(DURATION_S)
        (source,) = item.all("SOURCE")
        assert source.words[1] == "WAVE" and (folder / source.set("FILE")[0][0]).is_file()
    points = [[float(word) for word in words] for words in project.all("TEMPOENVEX")[0].set("PT")]
    times_s, tempi = np.array([point[:2] for point in points]).T
    assert times_s[0] == 0 and all(point[2] == 1 for point in points)
    metres = {int(point[3]) for point in points if len(point) > 3}
    numerator, denominator = map(int, sheet.metre.split("/"))
    assert denominator * 65536 + numerator in metres
    quarters = np.concatenate([[0], np.cumsum(np.diff(times_s) * tempi[:-1] / 60)])
    (source,) = tracks["drums notes"].all("ITEM")[0].all("SOURCE")
    assert source.set("HASDATA") == [["1", "960", "QN"]]
    ticks = np.cumsum([int(words[0]) for words in source.set("E")])
    struck = [
        tick / 960
        for tick, words in zip(ticks, source.set("E"), strict=True)
        if words[1] == "99"  # note on, channel 10
    ]
    last = np.searchsorted(quarters, struck, side="right") - 1
    played_s = times_s[last] + (np.array(struck) - quarters[last]) * 60 / tempi[last]
    expected = [sheet.time_of(note.start_beat) + start_s for note in SCORE.notes["drums"]]
    assert played_s == pytest.approx(np.array(expected), abs=1e-3)
    names = [words[2] for words in project.set("MARKER") if words[3] == "0"]
    assert names[:3] == ["Am7", "F", "C"]
    regions = [words for words in project.set("MARKER") if words[3] == "1"]
    assert [words[2] for words in regions] == ["A", "", "B", ""]
    loop_s = [float(word) for word in project.set("SELECTION")[0]]
    bars_s = [sheet.time_of(float(sheet.downbeats[bar])) + start_s for bar in (0, 2)]
    assert project.set("LOOP") == [["1"]] and loop_s == pytest.approx(bars_s)


def test_dawproject_is_by_its_schema_and_has_the_same_times(folder, sheet):
    with zipfile.ZipFile(folder / "song.dawproject") as archive:
        assert archive.testzip() is None
        project = ElementTree.fromstring(archive.read("project.xml"))
        check_schema(project)
        about = ElementTree.fromstring(archive.read("metadata.xml"))
        check_schema(about)
        assert about.findtext("Title") == "song" and about.findtext("Genre") == "rock"
        for file in project.iter("File"):
            stem = Path(file.get("path")).name
            assert archive.read(file.get("path")) == (folder / "stems" / stem).read_bytes()
    points = [one.attrib for one in project.find("Arrangement/TempoAutomation").iter("RealPoint")]
    quarters = np.array([float(point["time"]) for point in points])
    tempi = np.array([float(point["value"]) for point in points])
    assert all(point["interpolation"] == "hold" for point in points)
    times_s = np.concatenate([[0], np.cumsum(np.diff(quarters) * 60 / tempi[:-1])])

    def seconds(quarter: float) -> float:
        last = np.searchsorted(quarters, quarter, side="right") - 1
        return float(times_s[last] + (quarter - quarters[last]) * 60 / tempi[last])

    start_s = begins_s(sheet)
    clips = {
        clip.get("name"): clip for clip in project.iter("Clip") if clip.find("Notes") is not None
    }
    sounds = [clip for clip in project.iter("Clip") if clip.find("Audio") is not None]
    assert [clip.get("name") for clip in sounds] == ["bass", "drums"]
    for clip in sounds:
        start, length = float(clip.get("time")), float(clip.get("duration"))
        assert seconds(start) == pytest.approx(start_s, abs=1e-6)
        assert seconds(start + length) == pytest.approx(start_s + DURATION_S, abs=1e-6)
        assert clip.get("contentTimeUnit") == "seconds"
    played = [seconds(float(note.get("time"))) for note in clips["drums"].iter("Note")]
    expected = [sheet.time_of(note.start_beat) + start_s for note in SCORE.notes["drums"]]
    assert played == pytest.approx(expected, abs=1e-3)
    markers = [one.get("name") for one in project.iter("Marker")]
    assert markers[:3] == ["Section A", "Am7", "F"]


def test_sections_follow_the_chords():
    eight = "Am | F | C | G | Am | F | C | G"
    sheet = LeadSheet.from_text(f"{eight} | E | E | E | E | E | E | E | E | {eight} | Am | F", 120)
    assert [letter for _, letter in sections(sheet)] == ["A", "B", "A", "A"]
    assert sections(LeadSheet.from_text(tempo_bpm=120, duration_s=8)) == []


def test_lead_ins_have_a_tempo_that_sequencers_take(tmp_path):
    from stemweave.music.midi import write_midi

    for first_s in (1e-4, 0.004, 0.006, 0.02, 0.1, 0.35, 0.39, 0.41, 3.1):
        write_midi(tmp_path / "a.mid", Score({}), make_sheet(first_s=first_s))
        events = mido.MidiFile(tmp_path / "a.mid").tracks[0]
        tempi = [60e6 / event.tempo for event in events if event.type == "set_tempo"]
        assert all(75 < tempo < 700 for tempo in tempi), (first_s, tempi)
        assert read_midi(tmp_path / "a.mid")[1].beats_s[0] == pytest.approx(first_s, abs=1e-4)


def test_what_is_no_folder_of_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder of results"):
        stem_sounds(tmp_path / "none")
    with pytest.raises(InputError, match="holds no sound"):
        stem_sounds(tmp_path)
    for name in ("bass.wav", "bass.flac"):
        soundfile.write(tmp_path / name, np.zeros(100), RATE)
    with pytest.raises(InputError, match=r"both bass\.flac and bass\.wav"):
        stem_sounds(tmp_path)
    (tmp_path / "bass.wav").rename(tmp_path / "My Song - Drums.wav")
    assert set(stem_sounds(tmp_path)) == {"bass", "drums"}
    with pytest.raises(InputError, match="bars 4 to 99 are no loop: there are bars 1 to"):
        files = export_files(tmp_path, "a", stem_sounds(tmp_path), make_sheet(), loop_bars=(4, 99))
        list(files)
