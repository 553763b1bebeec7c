"""Sheets: from text, as JSON, between seconds and beats, cut."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemweave.errors import InputError
from stemweave.music.chords import ChordChange, parse_chord
from stemweave.music.instruments import INSTRUMENTS
from stemweave.music.keys import key_name
from stemweave.music.lead_sheet import LeadSheet, read_sheet
from stemweave.music.styles import STYLES

METRES = ("2/4", "3/4", "4/4", "5/4", "7/8", "6/8", "9/8", "12/8", "2/2")
SYMBOLS = ("C", "Am7", "F#m7b5", "Bbmaj7/D", "G7#9", "Ebsus4", "Db/F")


@st.composite
def sheets(draw) -> LeadSheet:
    """Sheets of any kind; what is known agrees with itself."""
    known = st.booleans()
    steps = draw(st.lists(st.floats(0.13, 2.5), min_size=2, max_size=40))
    if draw(known):  # steady
        steps = [steps[0]] * len(steps)
    start_s = draw(st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.7, 12.0]))
    beats_s = tuple(float(time) for time in start_s + np.cumsum([0.0, *steps]))
    knows_beats = draw(known)
    indices = st.lists(st.integers(0, len(steps)), min_size=1, max_size=9, unique=True)
    at = draw(st.lists(st.integers(0, 4 * len(steps)), max_size=12, unique=True))
    changes = tuple(
        ChordChange(beat / 4, draw(st.none() | st.sampled_from(SYMBOLS).map(parse_chord)))
        for beat in sorted(at)
    )
    tempo_bpm = round(60 / float(np.median(np.diff(beats_s))), 3)
    instruments = {
        stem: draw(st.sampled_from(list(classes)))
        for stem, classes in INSTRUMENTS.items()
        if draw(known)
    }
    return LeadSheet(
        beats_s if knows_beats else None,
        tuple(sorted(draw(indices))) if knows_beats and draw(known) else None,
        draw(st.sampled_from(METRES)) if draw(known) else None,
        tempo_bpm if draw(known) else None,
        key_name(draw(st.integers(0, 11)), draw(known)) if draw(known) else None,
        changes if draw(known) else None,
        draw(st.none() | st.sampled_from(list(STYLES))),
        instruments,
    )


@given(sheets())
def test_json_keeps_every_field(sheet: LeadSheet):
    assert LeadSheet.from_json(sheet.to_json()) == sheet


@given(sheets(), st.floats(-10, 100))
def test_beats_and_seconds_are_inverse(sheet: LeadSheet, beat: float):
    if sheet.beats_s is None:
        with pytest.raises(ValueError, match="does not know"):
            sheet.beat_at(1.0)
        return
    time_s = sheet.time_of(beat)
    assert isinstance(time_s, float) and sheet.beat_at(time_s) == pytest.approx(beat, abs=1e-6)
    array = sheet.time_of(np.array([beat, 0.0]))
    assert array == pytest.approx([time_s, sheet.beats_s[0]])


def test_from_text():
    sheet = LeadSheet.from_text(
        "Am7 | F | C G/B | %", 96, "3/4", "a moll", "Bossa Nova", {"guitar": "nylon"}
    )
    assert sheet.beats_s == tuple(beat * 0.625 for beat in range(13))
    assert sheet.downbeats == (0, 3, 6, 9, 12) and sheet.duration_s == 7.5
    assert sheet.key == "A minor" and sheet.style == "bossa-nova"
    assert [change.start_beat for change in sheet.chords] == [0, 3, 6, 8, 9, 11]
    assert sheet.chord_at(7.9).symbol == "C" and sheet.chord_at(100).symbol == "G/B"
    # a chord that goes on is no change; the chords repeat over the duration
    longer = LeadSheet.from_text("C | C | G", 120, duration_s=15)
    assert len(longer.beats_s) == 8 * 4 + 1 and longer.metre == "4/4"
    assert [change.start_beat for change in longer.chords] == [0, 8, 12, 20, 24]
    assert LeadSheet.from_text() == LeadSheet()
    only_tempo = LeadSheet.from_text(tempo_bpm=100, duration_s=10)
    assert len(only_tempo.beats_s) == 21 and only_tempo.downbeats is None
    unmeasured = LeadSheet.from_text("C | G")
    assert unmeasured.beats_s is None and unmeasured.chords[1].start_beat == 4
    with pytest.raises(InputError, match="tempo of 0 is out of range"):
        LeadSheet.from_text("C", 0)


def test_six_eighths_have_two_beats():
    sheet = LeadSheet.from_text("C G", 60, "6/8")
    assert sheet.beats_s == (0, 1, 2) and sheet.chords[1].start_beat == 1


def test_cut_sheets():
    sheet = LeadSheet.from_text("C | F | G | Am", 120)
    cut = sheet.excerpt(2.2, 6.0)
    assert cut.beats_s == pytest.approx([-0.2 + 0.5 * beat for beat in range(9)])
    assert cut.downbeats == (0, 4, 8)
    assert [(c.start_beat, c.chord.symbol) for c in cut.chords] == [(0, "F"), (4, "G")]
    assert sheet.excerpt(0, 8) == sheet


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("beats_s", [0.0, 0.0], "rising"),
        ("beats_s", [0.0, "1"], "a number is expected"),
        ("beats_s", [0.0, float("nan")], "a number is expected"),
        ("downbeats", [0, 99], "indices"),
        ("downbeats", [True], "whole number"),
        ("metre", "4/5", "not a metre"),
        ("tempo_bpm", -1, "out of range"),
        ("tempo_bpm", True, "number"),
        ("key", "H minor", "not a key"),
        ("chords", [[0, "Xm"]], "Xm is not a chord"),
        ("chords", [[2, "C"], [1, "F"]], "sorted"),
        ("chords", {"0": "C"}, "a list"),
        ("style", "skiffle", "not a style"),
        ("instruments", {"bass": 3}, "text"),
        ("tempo", 120, "unknown field tempo"),
        ("version", 2, "version 2"),
    ],
)
def test_sheets_that_are_none(tmp_path: Path, field, value, said):
    described = {"version": 1, "beats_s": [0.0, 0.5, 1.0], field: value}
    (tmp_path / "sheet.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match=said) as caught:
        read_sheet(tmp_path / "sheet.json")
    assert "sheet.json" in str(caught.value)


def test_files_that_are_no_sheets(tmp_path: Path):
    path = tmp_path / "sheet.json"
    for content in (b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"version": 1, "version": 3}'):
        path.write_bytes(content)
        with pytest.raises(InputError, match="sheet"):
            read_sheet(path)
    with pytest.raises(InputError, match="cannot read"):
        read_sheet(tmp_path / "missing.json")
