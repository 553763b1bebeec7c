import numpy as np
import pytest

from stemweave.music.chords import parse_chord
from stemweave.music.drawing import draw_sheet
from stemweave.music.events import bars_of
from stemweave.music.lead_sheet import LeadSheet

STYLES = ("rock", "waltz")


def drawn(seed: int, duration_s: float = 30.0, given: LeadSheet | None = None) -> LeadSheet:
    return draw_sheet(duration_s, STYLES, np.random.default_rng(seed), given)


def test_a_thousand_seeds_draw_a_thousand_sheets():
    assert len({drawn(seed).to_json() for seed in range(1000)}) == 1000


@pytest.mark.parametrize("seed", range(20))
def test_a_drawn_sheet_is_whole(seed):
    sheet = drawn(seed)
    assert sheet.beats_s and sheet.beats_s[-1] >= 30.0
    assert sum(bar.beats for bar in bars_of(sheet)) == len(sheet.beats_s) - 1
    assert sheet.chords and sheet.chords[0].start_beat == 0
    assert sheet.chords[-1].start_beat < len(sheet.beats_s) - 1
    assert set(sheet.instruments) == {"bass", "drums", "guitar", "piano"}
    assert np.diff(sheet.beats_s) == pytest.approx(60 / sheet.tempo_bpm)
    assert LeadSheet.from_json(sheet.to_json()) == sheet


def test_what_is_given_stays():
    given = LeadSheet.from_text(
        "Am7 | F | C G/B | %", 96, "3/4", "A minor", "waltz", {"guitar": "nylon"}
    )
    sheet = drawn(0, 20.0, given)
    assert (sheet.tempo_bpm, sheet.metre, sheet.key, sheet.style) == (96, "3/4", "A minor", "waltz")
    assert sheet.instruments["guitar"] == "nylon"
    assert sheet.beats_s and sheet.beats_s[-1] >= 20.0
    for beat in (0, 12, 24):
        assert sheet.chord_at(beat) == parse_chord("Am7")
    assert sheet.chord_at(8) == parse_chord("G/B")


def test_a_given_key_gets_chords_of_that_key():
    in_key = {pitch % 12 for pitch in (0, 2, 4, 5, 7, 9, 11, 10, 1, 6)}
    sheet = drawn(3, 60.0, LeadSheet.from_text(key="C major"))
    roots = {change.chord.root for change in sheet.chords or () if change.chord}
    assert sheet.key == "C major"
    assert roots <= in_key and 0 in roots
