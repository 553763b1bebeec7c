import numpy as np
import pytest

from stemweave.music.events import (
    DURATION_STEPS,
    bars_of,
    chord_rows,
    duration_bucket,
    notes_of,
    segments_of,
)
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import ScoreNote


def sheet(metre: str = "4/4", chords: str = "Am7 | F | C G/B | %") -> LeadSheet:
    return LeadSheet.from_text(chords, tempo_bpm=120, metre=metre)


@pytest.mark.parametrize(("metre", "beats"), [("4/4", 4), ("3/4", 3), ("6/8", 2)])
def test_bars_are_those_of_the_sheet(metre, beats):
    bars = bars_of(sheet(metre, "Am | F | C | G"))
    assert [bar.start_beat for bar in bars] == [0, beats, 2 * beats, 3 * beats]
    assert all(bar.beats == beats for bar in bars)


def test_notes_on_the_grid_come_back():
    bars = bars_of(sheet())
    notes = tuple(
        ScoreNote(start, start + length, 40 + index, 4 + 8 * index)
        for index, (start, length) in enumerate(
            [(0, 1), (1 / 3, 0.25), (0.75, 0.5), (4, 2), (7 + 11 / 12, 1), (12, 4)]
        )
    )
    found = notes_of(segments_of(notes, bars), bars)
    for one, other in zip(found, notes, strict=True):
        assert one.start_beat == pytest.approx(other.start_beat)
        assert one.end_beat == pytest.approx(other.end_beat)
        assert (one.pitch, one.velocity) == (other.pitch, other.velocity)


def test_a_note_just_before_the_bar_belongs_to_it():
    bars = bars_of(sheet())
    segments = segments_of([ScoreNote(3.98, 5, 40, 80)], bars)
    assert [len(segment) for segment in segments] == [0, 1, 0, 0]
    assert segments[1][0, 0] == 0


def test_lengths_go_to_the_nearest_bucket_by_ratio():
    assert DURATION_STEPS[duration_bucket(12)] == 12
    assert DURATION_STEPS[duration_bucket(13)] == 12
    assert DURATION_STEPS[duration_bucket(0)] == 1
    assert DURATION_STEPS[duration_bucket(500)] == 96


def test_rows_hold_root_tones_and_bass_of_each_quarter_of_a_bar():
    rows = chord_rows(sheet(), bars_of(sheet()))
    assert rows.shape == (4, 4, 37)
    assert np.flatnonzero(rows[0, 0]).tolist() == [9, 12, 16, 19, 21, 33, 36]  # A C E G over A
    assert np.flatnonzero(rows[2, 3]).tolist() == [7, 14, 19, 23, 35, 36]  # G over B
    assert np.array_equal(rows[2], rows[3])
