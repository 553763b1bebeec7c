"""Sheets from frames: beats on their grid, bars, harmony."""

import numpy as np
import pytest

from stemweave.music.chords import ChordChange, parse_chord
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.tracking import FrameFindings, find_beats, sheet_of_findings
from stemweave.training.stage_analyser import targets_of

FRAMES_PER_S = 50.0
METRES = ("4/4", "3/4", "6/8")


def findings(sheet: LeadSheet, duration_s: float, noise: float = 0.0) -> FrameFindings:
    """What a perfect analyser, or one with so much noise, finds of ``sheet``."""
    num_frames = round(duration_s * FRAMES_PER_S)
    known = targets_of(sheet, 0.0, num_frames, 1 / FRAMES_PER_S, METRES)
    rng = np.random.default_rng(0)

    def noisy(values: np.ndarray) -> np.ndarray:
        return np.clip(values + noise * rng.standard_normal(values.shape), 0, 1)

    one_hot = np.eye(13)
    return FrameFindings(
        beat=noisy(known["beat"]),
        downbeat=noisy(known["downbeat"]),
        metre=np.eye(len(METRES))[known["metre"]],
        tones=noisy(known["tones"]),
        bass=noisy(one_hot[known["bass"]]),
        root=noisy(one_hot[known["root"]]),
        metres=METRES,
        frames_per_s=FRAMES_PER_S,
    )


@pytest.mark.parametrize(
    ("tempo_bpm", "metre"),
    [(62.0, "4/4"), (90.0, "3/4"), (90.0, "6/8"), (135.0, "6/8"), (170.0, "4/4"), (203.7, "3/4")],
)
def test_sheets_come_back(tempo_bpm, metre):
    sheet = LeadSheet.from_text("Am | F | C | G", tempo_bpm, metre, duration_s=20.0)
    found = sheet_of_findings(findings(sheet, 20.0, noise=0.05), 20.0)
    assert found.tempo_bpm == pytest.approx(tempo_bpm, rel=0.001)
    assert found.metre == metre
    assert found.beats_s[: len(sheet.beats_s)] == pytest.approx(sheet.beats_s, abs=0.01)
    assert found.downbeats == sheet.downbeats
    assert [c.chord.symbol for c in found.chords[:4]] == ["Am", "F", "C", "G"]
    assert [c.start_beat for c in found.chords[:4]] == [c.start_beat for c in sheet.chords[:4]]
    assert found.key in ("A minor", "C major")


def test_a_piece_may_begin_anywhere_in_a_bar_and_bars_cover_it():
    sheet = LeadSheet.from_text("C", 120, "4/4", duration_s=12.0).excerpt(1.3, 11.3)
    found = sheet_of_findings(findings(sheet, 10.0), 10.0)
    assert found.beats_s[0] <= 0 < found.beats_s[4]
    assert found.beats_s[-1] >= 10.0 - 0.05
    downbeats_s = [found.beats_s[index] for index in found.downbeats]
    assert downbeats_s[1] == pytest.approx(0.7, abs=0.01)
    assert (len(found.beats_s) - 1) % 4 == 0


def test_changing_tempi_are_followed():
    beats_s = np.cumsum([0.0, *np.linspace(0.55, 0.45, 39)])
    sheet = LeadSheet(
        beats_s=tuple(beats_s),
        downbeats=tuple(range(0, 40, 4)),
        metre="4/4",
        chords=(ChordChange(0.0, parse_chord("C")),),
    )
    found = sheet_of_findings(findings(sheet, beats_s[-1]), beats_s[-1])
    distances = [np.abs(np.array(found.beats_s) - time).min() for time in beats_s[:-1]]
    assert max(distances) < 0.03


def test_nothing_is_found_in_nothing():
    empty = findings(LeadSheet.from_text("C", 120, "4/4", duration_s=10.0), 10.0)
    silent = FrameFindings(**{**vars(empty), "beat": np.zeros(500)})
    assert sheet_of_findings(silent, 10.0) == LeadSheet()
    assert len(find_beats(np.zeros(3), FRAMES_PER_S)) == 0
    broken = FrameFindings(**{**vars(empty), "beat": np.full(500, np.nan)})
    assert sheet_of_findings(broken, 10.0) == LeadSheet()
