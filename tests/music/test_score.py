"""Scores of notes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemweave.music.score import Score, ScoreNote, playable


@st.composite
def notes(draw) -> ScoreNote:
    """Notes on a grid of 960 ticks a beat."""
    start = draw(st.integers(0, 40 * 960))
    length = draw(st.integers(1, 4000))
    return ScoreNote(
        start / 960, (start + length) / 960, draw(st.integers(0, 127)), draw(st.integers(1, 127))
    )


@given(st.lists(notes(), max_size=60))
def test_playable_notes_do_not_overlap(given_notes: list[ScoreNote]):
    played = playable(given_notes)
    assert playable(played) == played
    for pitch in range(128):
        own = [note for note in played if note.pitch == pitch]
        for one, other in pairwise(own):
            assert one.end_beat <= other.start_beat and one.start_beat < other.start_beat
    assert {(n.start_beat, n.pitch) for n in played} == {
        (n.start_beat, n.pitch) for n in given_notes
    }


def test_scores_are_sorted_and_checked():
    one, two = ScoreNote(1, 2, 60, 90), ScoreNote(0, 3, 62, 90)
    score = Score({"piano": (one, two), "bass": ()})
    assert score.notes["piano"] == (two, one) and score.end_beat == 3
    assert Score({}).end_beat == 0
    for wrong in (
        ScoreNote(0, 1, 128, 90),
        ScoreNote(0, 1, 60, 0),
        ScoreNote(2, 1, 60, 90),
        ScoreNote(0, float("inf"), 60, 90),
        ScoreNote(float("nan"), 1, 60, 90),
    ):
        with pytest.raises(ValueError, match="cannot be played"):
            Score({"piano": (wrong,)})


def test_cut_scores():
    score = Score({"bass": (ScoreNote(0, 4, 40, 90), ScoreNote(6, 7, 41, 90))})
    assert score.excerpt(2, 6.5).notes["bass"] == (
        ScoreNote(0, 2, 40, 90),
        ScoreNote(4, 4.5, 41, 90),
    )
