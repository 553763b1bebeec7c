"""Measures of obedience on sounds whose notes, chords and onsets are known."""

import math

import numpy as np
import pytest
import torch

from stemweave.data.song_conditions import SongConditions
from stemweave.evaluation import obedience
from stemweave.evaluation.obedience import Obedience, mass_on_chords, notes_played, onsets_on_grid
from stemweave.evaluation.table import Table
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.rolls import roll_of_notes, timed_notes
from stemweave.music.score import Score, ScoreNote

RATE = 16_000
SHEET = LeadSheet.from_text("C | F", 120, "4/4")  # 4 s
CHORDS = {"C": (60, 64, 67), "F": (65, 69, 72)}


def tone(pitch: int, start_s: float, end_s: float, length_s: float = 4.0) -> np.ndarray:
    time_s = np.arange(round(length_s * RATE)) / RATE
    sounding = (time_s >= start_s) & (time_s < end_s)
    wave = sum(np.sin(2 * np.pi * k * 440 * 2 ** ((pitch - 69) / 12) * time_s) / k for k in (1, 2))
    return (0.1 * wave * sounding).astype(np.float32)


def clicks(times_s: np.ndarray, length_s: float = 4.0) -> np.ndarray:
    waveform = np.zeros(round(length_s * RATE), np.float32)
    burst = 0.3 * np.random.default_rng(0).normal(size=1500) * np.exp(-np.arange(1500) / 300)
    for time_s in times_s:
        place = waveform[round(time_s * RATE) :][:1500]
        place += burst[: len(place)].astype(np.float32)
    return waveform


def rolled(notes: dict[str, list[tuple[float, float, int]]]) -> np.ndarray:
    timed = {
        stem: np.array([(start, end, pitch, 90) for start, end, pitch in own])
        for stem, own in notes.items()
    }
    return roll_of_notes(timed, 0.0, 50, 0.08)


def test_pitches_are_found_where_they_are_written():
    written = [(0.0, 1.0, 60), (1.0, 2.0, 64), (2.0, 3.0, 67), (3.0, 4.0, 62)]
    played = sum(tone(pitch, start, end) for start, end, pitch in written)
    roll, other = rolled({"piano": written}), rolled({"piano": [(0.0, 4.0, 66)]})
    assert notes_played("piano", played, RATE, roll) > 0.7
    assert notes_played("piano", played, RATE, other) < 0.05
    assert math.isnan(notes_played("piano", 0 * played, RATE, roll))
    twice = np.repeat(played, 2)  # the same at another rate
    assert notes_played("piano", twice, 2 * RATE, roll) > 0.6


def test_drums_are_found_where_they_are_written():
    times_s = np.array([0.21, 0.55, 0.93, 1.6, 2.02, 2.9, 3.4])
    roll = rolled({"drums": [(t, t, 36) for t in times_s]})
    late = rolled({"drums": [(t + 0.17, t + 0.17, 36) for t in times_s]})
    played = clicks(times_s)
    assert notes_played("drums", played, RATE, roll) > 0.5
    assert notes_played("drums", played, RATE, late) < 0.2


@pytest.mark.parametrize(("late_s", "expected"), [(0.0, 1.0), (0.015, 1.0), (0.06, 0.0)])
def test_onsets_on_the_grid(late_s: float, expected: float):
    times_s = np.arange(2, 30, 2) * 0.125 + late_s
    drums = clicks(times_s)
    assert onsets_on_grid(drums, RATE, SHEET, 0.0) == pytest.approx(expected, abs=0.1)
    moved = LeadSheet(tuple(beat - 0.3 for beat in SHEET.beats_s), SHEET.downbeats, "4/4")
    assert onsets_on_grid(drums, RATE, moved, -0.3) == pytest.approx(expected, abs=0.1)
    assert math.isnan(onsets_on_grid(drums * 0, RATE, SHEET, 0.0))
    assert math.isnan(onsets_on_grid(drums, RATE, LeadSheet(), 0.0))


def test_a_dotted_beat_has_six_sixteenths():
    waltz = LeadSheet.from_text("C | C", 60, "6/8")  # a beat of one second
    sixths = clicks(np.arange(1, 20) / 6)
    quarters = clicks(np.arange(1, 15) / 4 + 0.0)
    assert onsets_on_grid(sixths, RATE, waltz, 0.0) > 0.9
    assert onsets_on_grid(quarters, RATE, waltz, 0.0) < 0.7


def test_chord_tones_have_the_mass_where_the_chords_are():
    right = sum(tone(p, 0, 2) for p in CHORDS["C"]) + sum(tone(p, 2, 4) for p in CHORDS["F"])
    wrong = sum(tone(p, 0, 4) for p in (61, 66, 70))
    assert mass_on_chords(right, RATE, SHEET, 0.0) > 0.7
    assert mass_on_chords(wrong, RATE, SHEET, 0.0) < 0.2
    assert mass_on_chords(right[2 * RATE :], RATE, SHEET, 2.0) > 0.7
    assert math.isnan(mass_on_chords(right * 0, RATE, SHEET, 0.0))
    assert math.isnan(mass_on_chords(right, RATE, LeadSheet(), 0.0))


def test_rows_are_compared_with_the_piece_before():
    score = Score({"drums": tuple(ScoreNote(beat, beat, 36, 90) for beat in range(8))})
    songs = [
        SongConditions(SHEET, timed_notes(score, SHEET)),
        SongConditions(SHEET, {"drums": np.array([[0.2, 0.2, 36, 90], [2.3, 2.3, 36, 90]])}),
    ]
    collected = Obedience(["drums", "piano"], RATE)
    for song in songs:
        stems = np.stack([clicks(song.notes["drums"][:, 0]), tone(60, 0, 2)])
        collected.add("ours", torch.from_numpy(stems), song, 0.0)
    table = Table("t")
    table.put_all(collected.values)
    assert table.value(obedience.PLAYED, "ours", "drums") > 0.5
    assert table.value(obedience.PLAYED_OTHER, "ours", "drums") < 0.2
    assert table.measures[obedience.PLAYED]["ours"]["drums"].count == 2
    assert "piano" not in table.measures[obedience.PLAYED]["ours"]  # its notes are unknown
    assert table.value(obedience.SHEET, "ours", obedience.ON_CHORD) > 0.7
