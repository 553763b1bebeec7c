"""Sheet and score as rows at the latent rate: what a denoiser is conditioned on.

A score's roll (H, 264) uint8: for bass, guitar and piano 72 sustained pitches each and the onset in
four sub-steps, for drums nine classes in four sub-steps; values are twice the velocity. A sheet's
rows (H, 43) float32: chord root, tones and bass (12 each), phase of beat and bar (sine, cosine
each), tempo, and whether rhythm and harmony are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score

LOWEST, PITCHES = 24, 72
"""MIDI pitches of a roll's rows: 24 to 95; others count as the nearest of these."""
SUB_STEPS = 4
"""Parts of a position in which onsets are distinguished."""
PITCHED = ("bass", "guitar", "piano")
DRUM_CLASSES: tuple[tuple[int, ...], ...] = (
    (35, 36),  # kick
    (37, 38, 39, 40),  # snare, side stick, clap
    (42, 44),  # closed hi-hat
    (46,),  # open hi-hat
    (49, 52, 55, 57),  # crash
    (51, 53, 59),  # ride
    (41, 43, 45),  # low toms
    (47, 48, 50),  # high toms
    (),  # everything else
)
"""General MIDI drum keys that are one row, in a roll's order."""
WIDTHS = {**dict.fromkeys(PITCHED, PITCHES + SUB_STEPS), "drums": len(DRUM_CLASSES) * SUB_STEPS}
"""Columns of each stem in a roll, in its order."""
ROLL_COLUMNS = sum(WIDTHS.values())

CHORD_COLUMNS = slice(0, 36)
RHYTHM_COLUMNS = slice(36, 41)
RHYTHM_KNOWN, HARMONY_KNOWN = 41, 42
SHEET_COLUMNS = 43
USUAL_TEMPO_BPM = 110.0
"""The tempo whose row is zero."""

ON_TIME = 1e-3
"""Of a sub-step: an onset so little before one belongs to it, whatever floats say."""

TimedNotes = Mapping[str, np.ndarray]
"""By stem (N, 4) float64: start and end in seconds, pitch, velocity; a missing stem is unknown."""


def roll_columns(stem: str) -> slice:
    names = list(WIDTHS)
    start = sum(WIDTHS[name] for name in names[: names.index(stem)])
    return slice(start, start + WIDTHS[stem])


def timed_notes(score: Score, sheet: LeadSheet) -> dict[str, np.ndarray]:
    """The notes of ``score`` in seconds, by the beats of ``sheet``, which must know them."""
    timed = {}
    for stem, notes in score.notes.items():
        rows = np.array(
            [(note.start_beat, note.end_beat, note.pitch, note.velocity) for note in notes], float
        ).reshape(-1, 4)
        rows[:, :2] = sheet.time_of(rows[:, :2])
        timed[stem] = rows
    return timed


def score_end_s(score: Score, sheet: LeadSheet) -> float | None:
    """When the bar of the last onset ends: all that ``score`` says; None without notes or bars."""
    onsets = [note.start_beat for notes in score.notes.values() for note in notes]
    if not onsets or sheet.beats_s is None or sheet.downbeats is None:
        return None
    downbeats = list(sheet.downbeats)
    last = max(onsets) + ON_TIME
    if last >= downbeats[-1]:  # beyond the sheet's own bars
        bar_beats = downbeats[-1] - downbeats[-2] if len(downbeats) > 1 else 1
        more = math.floor((last - downbeats[-1]) / bar_beats) + 1
        return sheet.time_of(float(downbeats[-1] + more * bar_beats))
    return sheet.time_of(float(next(beat for beat in downbeats if beat > last)))


def roll_of_notes(
    notes: TimedNotes, start_s: float, num_positions: int, position_s: float
) -> np.ndarray:
    """(H, 264) uint8 of notes from ``start_s`` on; unknown stems are zeros."""
    roll = np.zeros((num_positions, ROLL_COLUMNS), np.uint8)
    for stem, rows in notes.items():
        if stem in WIDTHS and len(rows):
            own = roll[:, roll_columns(stem)]
            onset, end = (
                (rows[:, column] - start_s) / (position_s / SUB_STEPS) for column in (0, 1)
            )
            first = np.floor(onset + ON_TIME).astype(int)  # sub-step of the onset
            level = np.minimum(255, 2 * rows[:, 3]).astype(np.uint8)
            begins = (first >= 0) & (first < num_positions * SUB_STEPS)
            position, sub_step = np.divmod(first[begins], SUB_STEPS)
            if stem == "drums":
                column = drum_class(rows[begins, 2]) * SUB_STEPS + sub_step
            else:
                _sustain(own, rows[:, 2], first // SUB_STEPS, end / SUB_STEPS, level)
                column = PITCHES + sub_step
            np.maximum.at(own, (position, column), level[begins])
    return roll


def _sustain(
    own: np.ndarray, pitch: np.ndarray, first: np.ndarray, end: np.ndarray, level: np.ndarray
) -> None:
    """Mark pitches in every position that they sound in, at least in that of their onset."""
    last = np.maximum(np.ceil(end - ON_TIME).astype(int), first + 1)
    first, last = first.clip(0, len(own)), last.clip(0, len(own))
    lengths = last - first
    begins = np.cumsum(lengths) - lengths
    positions = np.arange(lengths.sum()) + np.repeat(first - begins, lengths)
    row = (pitch.astype(int) - LOWEST).clip(0, PITCHES - 1)
    np.maximum.at(own, (positions, np.repeat(row, lengths)), np.repeat(level, lengths))


def drum_class(keys: np.ndarray) -> np.ndarray:
    """The row of each General MIDI drum key."""
    classes = np.full(128, len(DRUM_CLASSES) - 1)
    for index, members in enumerate(DRUM_CLASSES):
        classes[list(members)] = index
    return classes[keys.astype(int).clip(0, 127)]


def sheet_rows(
    sheet: LeadSheet, start_s: float, num_positions: int, position_s: float
) -> np.ndarray:
    """(H, 43) float32 of ``sheet`` at the middle of every position from ``start_s`` on.

    What the sheet does not know is zeros.
    """
    rows = np.zeros((num_positions, SHEET_COLUMNS), np.float32)
    if sheet.beats_s is None:
        return rows
    times = start_s + (np.arange(num_positions) + 0.5) * position_s
    beats = np.asarray(sheet.beat_at(times))
    if sheet.downbeats is not None and len(sheet.downbeats) > 1:
        rows[:, RHYTHM_COLUMNS] = _rhythm(sheet, beats)
        rows[:, RHYTHM_KNOWN] = 1
    if sheet.chords is not None:
        rows[:, CHORD_COLUMNS] = _harmony(sheet.chords, beats)
        rows[:, HARMONY_KNOWN] = 1
    return rows


def _rhythm(sheet: LeadSheet, beats: np.ndarray) -> np.ndarray:
    """Phases and tempo (H, 5) at ``beats`` (H,), counted on beyond both ends of the sheet."""
    downbeats = np.asarray(sheet.downbeats, float)
    bar = np.clip(np.searchsorted(downbeats, beats + 1e-9, side="right") - 1, 0, None)
    bar = np.minimum(bar, len(downbeats) - 2)
    bar_phase = (beats - downbeats[bar]) / (downbeats[bar + 1] - downbeats[bar])
    beat_times = np.asarray(sheet.time_of(np.stack([np.floor(beats), np.floor(beats) + 1])))
    tempo_bpm = 60 / (beat_times[1] - beat_times[0])
    angles = 2 * np.pi * np.stack([beats, bar_phase])
    columns = [np.sin(angles), np.cos(angles)]
    phases = np.stack(columns, axis=1).reshape(4, -1)  # sine and cosine of the beat, of the bar
    return np.concatenate([phases, np.log(tempo_bpm / USUAL_TEMPO_BPM)[None]]).T


def _harmony(changes: Any, beats: np.ndarray) -> np.ndarray:
    """Root, tones and bass (H, 36) of the chord at each of ``beats`` (H,); none: zeros."""
    table = np.zeros((len(changes) + 1, 36), np.float32)  # row 0: before the first chord
    for index, change in enumerate(changes, start=1):
        if change.chord is not None:
            table[index, change.chord.rows] = 1
    starts = np.array([change.start_beat for change in changes], float)
    return table[np.searchsorted(starts, beats + 1e-9, side="right")]
