"""MIDI files: ours come back as they were, other people's are understood, broken ones refused."""

import struct
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemweave.errors import InputError
from stemweave.music import midi_file
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.metre import quarters_per_beat
from stemweave.music.midi import read_midi, write_midi
from stemweave.music.midi_out import TICKS_PER_QUARTER
from stemweave.music.score import Score, ScoreNote, playable
from tests.music.test_lead_sheet import sheets
from tests.music.test_score import notes

FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
STEMS = ("bass", "drums", "guitar", "piano", "vocals")


@st.composite
def scores(draw) -> Score:
    stems = draw(st.lists(st.sampled_from(STEMS), unique=True))
    return Score({stem: playable(draw(st.lists(notes(), max_size=15))) for stem in stems})


@FEW
@given(sheets(), scores())
def test_what_we_write_comes_back(tmp_path: Path, sheet: LeadSheet, score: Score):
    path = tmp_path / "score.mid"
    write_midi(path, score, sheet)
    score_again, again = read_midi(path)
    tick = 1 / TICKS_PER_QUARTER / quarters_per_beat(sheet.metre or "4/4")
    assert set(score_again.notes) == set(score.notes)
    for stem, played in score.notes.items():
        assert len(played) == len(score_again.notes[stem])
        for one, other in zip(played, score_again.notes[stem], strict=True):
            assert (one.pitch, one.velocity) == (other.pitch, other.velocity)
            assert other.start_beat == pytest.approx(one.start_beat, abs=tick)
            assert other.end_beat == pytest.approx(one.end_beat, abs=tick)
    for name in ("downbeats", "metre", "key", "style", "instruments"):
        assert getattr(again, name) == getattr(sheet, name), name
    assert (again.beats_s is None) == (sheet.beats_s is None)
    if sheet.beats_s is not None:
        assert again.beats_s == pytest.approx(sheet.beats_s, abs=2e-4)
    assert again.tempo_bpm == pytest.approx(sheet.tempo_bpm, abs=0.1)
    assert (again.chords is None) == (sheet.chords is None)
    for one, other in zip(sheet.chords or (), again.chords or (), strict=True):
        assert other.chord == one.chord
        assert other.start_beat == pytest.approx(one.start_beat, abs=tick)
    # and the second time nothing moves at all
    write_midi(tmp_path / "again.mid", score_again, again)
    assert read_midi(tmp_path / "again.mid")[0] == score_again


def test_a_sequencer_opens_it_on_the_grid(tmp_path: Path):
    sheet = LeadSheet.from_text("Am7 | F", 97, "6/8", "A minor", instruments={"guitar": "nylon"})
    score = Score({"guitar": (ScoreNote(2, 3, 60, 90),), "drums": (ScoreNote(0, 0.1, 36, 99),)})
    write_midi(tmp_path / "score.mid", score, sheet)
    midi = mido.MidiFile(tmp_path / "score.mid")
    assert midi.type == 1 and [track.name for track in midi.tracks] == ["sheet", "guitar", "drums"]
    conductor = {event.type: event for event in midi.tracks[0]}
    assert (conductor["time_signature"].numerator, conductor["time_signature"].denominator) == (
        6,
        8,
    )
    assert conductor["set_tempo"].tempo == round(60e6 / 97 / 1.5)
    assert sum(event.type == "set_tempo" for event in midi.tracks[0]) == 1
    assert conductor["key_signature"].key == "Am"
    assert [event.text for event in midi.tracks[0] if event.type == "marker"] == ["Am7", "F"]
    assert midi.length == pytest.approx(sheet.duration_s, abs=1e-3)
    guitar, drums = midi.tracks[1:]
    assert {event.channel for event in drums if not event.is_meta} == {9}
    assert next(event for event in guitar if event.type == "program_change").program == 24
    assert next(event for event in guitar if event.type == "note_on").time == 2 * 1.5 * 960


def test_a_bar_of_nothing_leads_to_a_late_first_beat(tmp_path: Path):
    for start_s in (0.01, 0.3, 5.2):
        beats_s = tuple(start_s + 0.5 * beat for beat in range(9))
        write_midi(tmp_path / "late.mid", Score({}), LeadSheet(beats_s, (1, 5), "4/4"))
        midi = midi_file.read_midi_file(tmp_path / "late.mid")
        assert all(60e6 / tempo < 1000 for _, tempo in midi.tempi)
        assert read_midi(tmp_path / "late.mid")[1].beats_s == pytest.approx(beats_s, abs=1e-5)


def test_tempi_keep_every_beat_for_hours(tmp_path: Path):
    rng = np.random.default_rng(0)
    beats_s = tuple(np.cumsum(rng.normal(0.5, 0.02, 10_000)).tolist())
    write_midi(tmp_path / "score.mid", Score({}), LeadSheet(beats_s))
    again = read_midi(tmp_path / "score.mid")[1].beats_s
    assert again == pytest.approx(beats_s, abs=2e-4)


def write_file(path: Path, *tracks: list, **options) -> Path:
    mido.MidiFile(tracks=[mido.MidiTrack(track) for track in tracks], **options).save(path)
    return path


def played(pitches: list[int], length: int, channel: int = 0) -> list[mido.Message]:
    """Chords, or notes, one after the other."""
    events = []
    for chord in pitches:
        tones = chord if isinstance(chord, tuple) else (chord,)
        events += [mido.Message("note_on", note=p, channel=channel) for p in tones]
        offs = [mido.Message("note_off", note=p, channel=channel) for p in tones]
        events += [off.copy(time=length if not index else 0) for index, off in enumerate(offs)]
    return events


def test_files_of_others(tmp_path: Path):
    """Format 0, no time signature, a tempo that runs, drums on channel 10, strings left out."""
    meta = mido.MetaMessage
    song = [
        meta("set_tempo", tempo=500_000),
        mido.Message("program_change", channel=0, program=27),
        mido.Message("program_change", channel=1, program=33),
        mido.Message("program_change", channel=2, program=48),
        *played([(60, 64, 67)], 480 * 4),
        meta("set_tempo", tempo=250_000),
        *played([(65, 69, 72)], 480 * 4),
        *played([36], 480, channel=9),
        *played([60], 480, channel=2),
        *played([40], 240, channel=1),
    ]
    score, sheet = read_midi(write_file(tmp_path / "zero.mid", song, type=0))
    assert set(score.notes) == {"guitar", "drums", "bass"}
    assert sheet.instruments == {"guitar": "clean", "drums": "acoustic", "bass": "finger"}
    assert sheet.metre == "4/4" and sheet.downbeats == (0, 4, 8, 12)
    assert sheet.beats_s[:9] == pytest.approx([0, 0.5, 1, 1.5, 2, 2.25, 2.5, 2.75, 3])
    assert score.notes["drums"] == (ScoreNote(8, 9, 36, 64),)
    assert score.notes["bass"] == (ScoreNote(10, 10.5, 40, 64),)
    assert [(c.start_beat, c.chord.symbol) for c in sheet.chords][:2] == [(0, "C"), (4, "F")]


def test_bars_follow_time_signatures(tmp_path: Path):
    def signature(numerator: int, denominator: int, time: int = 0) -> mido.MetaMessage:
        return mido.MetaMessage(
            "time_signature", numerator=numerator, denominator=denominator, time=time
        )

    conductor = [
        mido.MetaMessage("key_signature", key="Eb"),
        signature(6, 8),
        signature(3, 4, time=480 * 3 * 4),
    ]
    path = write_file(tmp_path / "bars.mid", conductor, played([(48, 51, 55)] * 15, 480))
    _, sheet = read_midi(path)
    assert sheet.metre == "6/8" and sheet.key == "C minor"
    assert sheet.downbeats == (0, 2, 4, 6, 8, 11)
    assert np.diff(sheet.beats_s) == pytest.approx([0.75] * 8 + [0.5] * 3)


def test_a_file_that_somebody_went_on_writing_is_longer(tmp_path: Path):
    sheet = LeadSheet.from_text("C | F", 120)
    path = tmp_path / "score.mid"
    write_midi(path, Score({"piano": (ScoreNote(0, 1, 60, 90),)}), sheet)
    midi = mido.MidiFile(path)
    midi.tracks[1][-1:-1] = played([50], 960 * 20)
    midi.save(path)
    assert len(read_midi(path)[1].beats_s) == 25


def test_markers_are_chords_if_all_are(tmp_path: Path):
    def sheet_of(*markers: str) -> list[str]:
        conductor = [
            mido.MetaMessage("marker", text=text, time=960 * bool(index))
            for index, text in enumerate(markers)
        ]
        path = write_file(tmp_path / "marked.mid", conductor, played([(62, 65, 69)], 1920))
        return [change.chord.symbol for change in read_midi(path)[1].chords]

    assert sheet_of("C", "Am7") == ["C", "Am7"]
    assert sheet_of("A", "B") == ["Dm"]  # sections
    assert sheet_of("Cm", "Verse") == ["Dm"]


def test_a_sequencer_that_changes_tempo_or_program_is_followed(tmp_path: Path):
    sheet = LeadSheet.from_text("C | F", 120, instruments={"guitar": "nylon"})
    path = tmp_path / "score.mid"
    write_midi(path, Score({"guitar": (ScoreNote(0, 1, 60, 90),)}), sheet)
    midi = mido.MidiFile(path)
    for track in midi.tracks:
        for event in track:
            if event.type == "set_tempo":
                event.tempo = 600_000
            if event.type == "program_change":
                event.program = 30
    midi.save(path)
    score, again = read_midi(path)
    assert again.tempo_bpm == 100 and again.instruments == {"guitar": "distorted"}
    assert score.notes["guitar"] == (ScoreNote(0, 1, 60, 90),)


def test_notes_struck_twice_and_never_ended(tmp_path: Path):
    on = [mido.Message("note_on", note=60, time=480), mido.Message("note_on", note=60, time=480)]
    hanging = [*on, mido.Message("note_off", note=60, time=480), mido.Message("note_on", note=50)]
    score, _ = read_midi(write_file(tmp_path / "twice.mid", hanging))
    assert score.notes["piano"] == (ScoreNote(1, 2, 60, 64), ScoreNote(2, 3, 60, 64))


def header(kind: int, tracks: int, division: int) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, kind, tracks, division)


def test_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bad.mid"
    track = b"MTrk" + struct.pack(">I", 4) + b"\0\xff\x2f\0"
    for content, said in (
        (b"", "parsed"),
        (b"MThd nonsense", "parsed"),
        (b"RIFF" + bytes(40), "parsed"),
        (header(1, 2, 480) + track, "parsed"),
        (header(2, 1, 480) + track, "format 2"),
        (header(1, 1, 0xE728) + track, "SMPTE"),
        (header(1, 1, 0) + track, "SMPTE|parsed"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said) as caught:
            read_midi(path)
        assert "bad.mid" in str(caught.value)
    with pytest.raises(InputError, match="cannot read"):
        read_midi(tmp_path / "missing.mid")
    write_file(path, played([60], 2**27))
    with pytest.raises(InputError, match=r"1 notes in .* minutes"):
        read_midi(path)
    write_file(path, [mido.MetaMessage("set_tempo", tempo=1), *played([60], 2**27)])
    with pytest.raises(InputError, match="beats"):
        read_midi(path)
    monkeypatch.setattr(midi_file, "MAX_FILE_BYTES", 10)
    with pytest.raises(InputError, match="too large"):
        read_midi(path)


@FEW
@given(st.data())
def test_broken_bytes_are_one_sentence(tmp_path: Path, data: st.DataObject):
    path = tmp_path / "broken.mid"
    sheet = LeadSheet.from_text("C | F", 120, key="C", style="tango")
    write_midi(path, Score({"bass": (ScoreNote(0, 1, 40, 90),)}), sheet)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        score, sheet = read_midi(path)
    except InputError as error:
        assert "broken.mid" in str(error)
    else:
        assert isinstance(score, Score) and isinstance(sheet, LeadSheet)


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_midi(tmp_path / "file" / "score.mid", Score({}), LeadSheet())
    with pytest.raises(InputError, match="more than 15 stems"):
        write_midi(tmp_path / "a.mid", Score({f"s{i}": () for i in range(16)}), LeadSheet())
    assert not (tmp_path / "a.mid").exists()
