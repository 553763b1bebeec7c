"""Scores as events on a grid of twelfths of a beat: what the score model reads and writes.

A *segment* is what one stem plays in one bar: an array (N, 4) of step in the bar, pitch, duration
bucket and velocity bucket, in the order of time and then pitch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stemweave.errors import InputError
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score, ScoreNote

STEPS_PER_BEAT = 12
MAX_BAR_BEATS = 8
MAX_STEPS = STEPS_PER_BEAT * MAX_BAR_BEATS
DURATION_STEPS = np.array(
    [1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 18, 21, 24, 30, 36, 42, 48, 60, 72, 96]
)
"""Length of a note in steps, by bucket."""
VELOCITY_WIDTH = 8
NUM_VELOCITIES = 128 // VELOCITY_WIDTH
STEP, PITCH, DURATION, VELOCITY = range(4)
CHORD_SLOTS = 4
"""Places in a bar at which its harmony is read."""
CHORD_ROWS = 37
"""Root, chord tones and bass as pitch classes, and whether the harmony is known."""

Segment = np.ndarray


@dataclass(frozen=True)
class Bar:
    """Where a bar lies on the sheet: the beat that begins it, and how many it has."""

    start_beat: float
    beats: int


def bars_of(sheet: LeadSheet) -> list[Bar]:
    """The whole bars of a sheet.

    Raises ``InputError`` if the sheet has no beats or downbeats, or a bar is too long for the grid.
    """
    if sheet.beats_s is None or sheet.downbeats is None:
        raise InputError("the sheet has no bars: give it beats and downbeats, or tempo and metre")
    starts = sheet.downbeats
    bars = [Bar(float(a), b - a) for a, b in pairwise(starts)]
    if bars and len(sheet.beats_s) - 1 - starts[-1] == bars[-1].beats:
        bars.append(Bar(float(starts[-1]), bars[-1].beats))
    longest = max((bar.beats for bar in bars), default=0)
    if longest > MAX_BAR_BEATS:
        raise InputError(f"a bar of {longest} beats is too long: {MAX_BAR_BEATS} at most")
    return bars


def bars_between(sheet: LeadSheet, start_s: float, end_s: float) -> tuple[int, int]:
    """The first of the sheet's whole bars that sounds between two times, and the one after them."""
    bars = bars_of(sheet)
    begun = [float(sheet.time_of(bar.start_beat)) for bar in bars]
    ended = [float(sheet.time_of(bar.start_beat + bar.beats)) for bar in bars]
    inside = [i for i in range(len(bars)) if begun[i] < end_s - 1e-3 and ended[i] > start_s + 1e-3]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def segments_of(notes: Sequence[ScoreNote], bars: Sequence[Bar]) -> list[Segment]:
    """What ``notes`` play in each of ``bars``; notes outside all bars are left out."""
    rows: list[list[tuple[int, int, int, int]]] = [[] for _ in bars]
    starts = np.array([bar.start_beat for bar in bars])
    for note in notes:
        # half a step early still belongs to the bar
        place = int(np.searchsorted(starts, note.start_beat + 0.5 / STEPS_PER_BEAT, "right")) - 1
        if place < 0:
            continue
        step = max(round((note.start_beat - starts[place]) * STEPS_PER_BEAT), 0)
        if step >= bars[place].beats * STEPS_PER_BEAT:
            continue
        steps = (note.end_beat - note.start_beat) * STEPS_PER_BEAT
        rows[place].append(
            (step, note.pitch, duration_bucket(steps), note.velocity // VELOCITY_WIDTH)
        )
    return [np.array(sorted(set(row)), dtype=np.uint8).reshape(-1, 4) for row in rows]


def duration_bucket(steps: float) -> int:
    """The bucket nearest to a length in grid steps, by ratio."""
    return int(np.argmin(np.abs(np.log(DURATION_STEPS / max(steps, 0.5)))))


def notes_of(segments: Sequence[Segment], bars: Sequence[Bar]) -> tuple[ScoreNote, ...]:
    """The notes that ``segments``, one for each of ``bars``, stand for."""
    notes = []
    for segment, bar in zip(segments, bars, strict=True):
        for step, pitch, duration, velocity in segment.tolist():
            start = bar.start_beat + step / STEPS_PER_BEAT
            end = start + float(DURATION_STEPS[duration]) / STEPS_PER_BEAT
            loudness = velocity * VELOCITY_WIDTH + VELOCITY_WIDTH // 2
            notes.append(ScoreNote(start, end, pitch, loudness))
    return tuple(notes)


def score_segments(
    score: Score, bars: Sequence[Bar], stems: Sequence[str]
) -> dict[str, list[Segment]]:
    """Segments of each of ``stems`` that the score knows."""
    return {stem: segments_of(score.notes[stem], bars) for stem in stems if stem in score.notes}


def chord_rows(sheet: LeadSheet, bars: Sequence[Bar]) -> np.ndarray:
    """Harmony (bars, ``CHORD_SLOTS``, ``CHORD_ROWS``) uint8 of each bar; zeros where unknown."""
    rows = np.zeros((len(bars), CHORD_SLOTS, CHORD_ROWS), dtype=np.uint8)
    if not sheet.chords:
        return rows
    changes = np.array([change.start_beat for change in sheet.chords])
    for index, bar in enumerate(bars):
        for slot in range(CHORD_SLOTS):
            beat = bar.start_beat + (slot + 0.5) * bar.beats / CHORD_SLOTS
            current = int(np.searchsorted(changes, beat, "right")) - 1
            if current >= 0:
                chord = sheet.chords[current].chord
                # no chord: known to be none
                rows[index, slot, [36, *(chord.rows if chord else ())]] = 1
    return rows


def transposed(rows: np.ndarray, semitones: int) -> np.ndarray:
    """``chord_rows`` in another key."""
    moved = rows.copy()
    for first in (0, 12, 24):
        moved[..., first : first + 12] = np.roll(rows[..., first : first + 12], semitones, axis=-1)
    return moved
