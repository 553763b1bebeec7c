"""Rolls and rows against notes and chords whose places are known."""

import numpy as np
import pytest

from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.rolls import (
    CHORD_COLUMNS,
    HARMONY_KNOWN,
    PITCHES,
    RHYTHM_COLUMNS,
    RHYTHM_KNOWN,
    ROLL_COLUMNS,
    SHEET_COLUMNS,
    drum_class,
    roll_columns,
    roll_of_notes,
    sheet_rows,
    timed_notes,
)
from stemweave.music.score import Score, ScoreNote

POSITION_S = 0.08


def steady(tempo_bpm: float = 150.0, metre: str = "4/4", chords: str = "C | % | F G | %"):
    return LeadSheet.from_text(chords, tempo_bpm, metre)


def test_notes_sound_from_their_onset_to_their_end():
    sheet = steady(150)  # a beat is five positions
    notes = (ScoreNote(1.0, 2.0, 60, 100), ScoreNote(2.0, 2.05, 64, 50))
    timed = timed_notes(Score({"piano": notes, "bass": ()}), sheet)
    roll = roll_of_notes(timed, 0.0, 16, POSITION_S)
    assert roll.shape == (16, ROLL_COLUMNS) and roll.dtype == np.uint8
    piano = roll[:, roll_columns("piano")]
    assert (np.flatnonzero(piano[:, 60 - 24]) == np.arange(5, 10)).all()
    assert piano[5, 60 - 24] == 200
    assert np.flatnonzero(piano[:, 64 - 24]).tolist() == [10]
    assert np.argwhere(piano[:, PITCHES:]).tolist() == [[5, 0], [10, 0]]
    roll[:, roll_columns("piano")] = 0
    assert not roll.any()


@pytest.mark.parametrize("sub_step", range(4))
def test_onsets_keep_their_sub_step_wherever_the_window_begins(sub_step: int):
    sheet = steady(150)
    beat = (7 + sub_step / 4) * POSITION_S / 0.4
    score = Score({"drums": (ScoreNote(beat, beat, 38, 90),), "guitar": ()})
    for start in range(7):
        roll = roll_of_notes(timed_notes(score, sheet), start * POSITION_S, 12, POSITION_S)
        found = np.argwhere(roll[:, roll_columns("drums")])
        assert found.tolist() == [[7 - start, 1 * 4 + sub_step]]
    shifted = roll_of_notes(timed_notes(score, sheet), POSITION_S / 4, 12, POSITION_S)
    whole = 7 * 4 + sub_step - 1
    assert np.argwhere(shifted[:, roll_columns("drums")]).tolist() == [[whole // 4, 4 + whole % 4]]


def test_a_note_that_sounds_already_has_no_onset_and_what_is_past_is_gone():
    sheet = steady(150)
    notes = (ScoreNote(0.0, 4.0, 30, 64), ScoreNote(0.0, 1.0, 40, 64), ScoreNote(30, 31, 50, 64))
    timed = timed_notes(Score({"bass": notes}), sheet)
    bass = roll_of_notes(timed, 0.8, 8, POSITION_S)[:, roll_columns("bass")]
    assert bass[:, 30 - 24].all() and np.count_nonzero(bass) == 8


def test_pitches_out_of_range_and_unusual_drums_count_as_their_nearest():
    sheet = steady(150)
    high = Score({"piano": (ScoreNote(0, 1, 108, 64),), "drums": (ScoreNote(0, 1, 70, 64),)})
    roll = roll_of_notes(timed_notes(high, sheet), 0.0, 4, POSITION_S)
    assert roll[0, roll_columns("piano")][PITCHES - 1] == 128
    assert roll[0, roll_columns("drums")][8 * 4] == 128
    assert drum_class(np.array([36, 46, 59])).tolist() == [0, 3, 5]


@pytest.mark.parametrize(("metre", "per_bar"), [("4/4", 4), ("3/4", 3), ("6/8", 2)])
def test_phases_turn_once_a_beat_and_once_a_bar(metre: str, per_bar: int):
    sheet = steady(100, metre)
    rows = sheet_rows(sheet, 0.6 - POSITION_S / 2, 2, POSITION_S)[0, RHYTHM_COLUMNS]
    assert rows[:2] == pytest.approx([0, 1], abs=1e-5)  # on the second beat
    angle = 2 * np.pi / per_bar
    assert rows[2:4] == pytest.approx([np.sin(angle), np.cos(angle)], abs=1e-5)
    assert rows[4] == pytest.approx(np.log(100 / 110), abs=1e-5)


def test_chords_change_at_their_beat_and_rhythm_follows_the_beats():
    beats_s = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0)  # half as fast from the second bar on
    chords = LeadSheet.from_text("C | F/A").chords
    sheet = LeadSheet(beats_s, (0, 4, 8), "4/4", 120, None, chords)
    rows = sheet_rows(sheet, 0.0, 60, POSITION_S)
    assert rows.shape == (60, SHEET_COLUMNS) and rows.dtype == np.float32
    assert rows[:, HARMONY_KNOWN].all() and rows[:, RHYTHM_KNOWN].all()
    change = int(np.flatnonzero(rows[:, CHORD_COLUMNS][:, 5])[0])
    assert change == 25  # its middle is the first after 2 s
    assert np.flatnonzero(rows[change, CHORD_COLUMNS]).tolist() == [5, 12, 17, 21, 24 + 9]
    assert np.flatnonzero(rows[change - 1, CHORD_COLUMNS]).tolist() == [0, 12, 16, 19, 24]
    assert rows[0, 40] == pytest.approx(np.log(120 / 110), abs=1e-5)
    assert rows[40, 40] == pytest.approx(np.log(60 / 110), abs=1e-5)


def test_what_a_sheet_does_not_know_is_zeros():
    assert not sheet_rows(LeadSheet(style="jazz"), 0.0, 4, POSITION_S).any()
    beats_only = sheet_rows(LeadSheet((0.0, 0.5, 1.0)), 0.0, 4, POSITION_S)
    assert not beats_only.any()
    no_chords = sheet_rows(LeadSheet((0.0, 0.5, 1.0), (0, 2)), 0.0, 4, POSITION_S)
    assert no_chords[:, RHYTHM_KNOWN].all() and not no_chords[:, CHORD_COLUMNS].any()
