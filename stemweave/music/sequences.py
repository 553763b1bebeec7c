"""Windows of bars as sequences of events, given segments first (``models.score_transformer``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stemweave.music.events import (
    DURATION,
    PITCH,
    STEP,
    VELOCITY,
    Segment,
    bars_of,
    chord_rows,
    transposed,
)
from stemweave.music.instruments import number_of
from stemweave.music.lead_sheet import LeadSheet

DRUM_PITCHES_FROM = 128
FIELDS = ("step", "pitch", "duration", "velocity", "stem", "segment", "given")


@dataclass
class BarWindow:
    """Bars of a piece that the score model reads or writes at once.

    ``segments`` by stem, what it plays in each bar; ``beats`` of each bar; ``chords`` as
    ``events.chord_rows``. Numbers of style and instruments are 0, ``log_tempo`` NaN if unknown.
    """

    segments: dict[str, list[Segment]]
    beats: np.ndarray
    chords: np.ndarray
    instruments: dict[str, int]
    style: int
    log_tempo: float

    @property
    def num_bars(self) -> int:
        return len(self.beats)

    def part(self, start: int, stop: int) -> BarWindow:
        """Bars ``start`` to ``stop``."""
        segments = {stem: own[start:stop] for stem, own in self.segments.items()}
        beats, chords = self.beats[start:stop], self.chords[start:stop]
        return replace(self, segments=segments, beats=beats, chords=chords)

    def in_other_key(self, semitones: int) -> BarWindow:
        """The same, higher by so many semitones; drums stay."""
        segments = {
            stem: own if stem == "drums" else [_moved(segment, semitones) for segment in own]
            for stem, own in self.segments.items()
        }
        return replace(self, segments=segments, chords=transposed(self.chords, semitones))


def _moved(segment: Segment, semitones: int) -> Segment:
    moved = segment.copy()
    moved[:, PITCH] = np.clip(moved[:, PITCH].astype(int) + semitones, 0, 127)
    return moved


def window_of(
    sheet: LeadSheet,
    segments: dict[str, list[Segment]],
    styles: Sequence[str],
    instruments: Sequence[str],
) -> BarWindow:
    """All bars of ``sheet`` with ``segments`` in them.

    ``styles`` and ``instruments`` ("guitar/nylon") name what has a number, from 1 on.
    """
    bars = bars_of(sheet)
    played = {
        stem: number_of(instruments, f"{stem}/{name}") for stem, name in sheet.instruments.items()
    }
    tempo = math.log(sheet.tempo_bpm) if sheet.tempo_bpm else math.nan
    beats = np.array([bar.beats for bar in bars])
    chords = chord_rows(sheet, bars)
    return BarWindow(segments, beats, chords, played, number_of(styles, sheet.style), tempo)


def segment_order(
    given: Mapping[str, np.ndarray], stems: Sequence[str], num_bars: int
) -> list[tuple[int, int, bool]]:
    """Bar, stem number and whether ``given`` (a bool a bar) of every segment, given ones first."""
    places = [
        (bar, number, bool(given[stem][bar]))
        for bar in range(num_bars)
        for number, stem in enumerate(stems)
    ]
    return sorted(places, key=lambda place: not place[2])


def segment_fields(
    window: BarWindow, order: Sequence[tuple[int, int, bool]], stems: Sequence[str]
) -> dict[str, np.ndarray]:
    """Arrays for ``Segments``, without the axis of the batch."""
    bars = np.array([bar for bar, _, _ in order])
    return {
        "bar": bars,
        "beats": window.beats[bars].astype(np.int64),
        "chords": window.chords[bars].astype(np.float32),
        "instrument": np.array([window.instruments.get(stems[n], 0) for _, n, _ in order]),
        "style": np.array(window.style),
        "log_tempo": np.array(window.log_tempo, dtype=np.float32),
    }


def header(number: int, index: int, given: bool, step: int) -> np.ndarray:
    """One event (1, ``FIELDS``) that begins segment ``index`` of stem ``number``."""
    return np.array([[step, 0, 0, 0, number, index, int(given)]])


def note_events(
    segment: Segment, number: int, index: int, given: bool, is_drums: bool
) -> np.ndarray:
    """Events (N, ``FIELDS``) of a segment's notes."""
    events = np.zeros((len(segment), len(FIELDS)), dtype=np.int64)
    events[:, 0] = segment[:, STEP]
    events[:, 1] = segment[:, PITCH].astype(np.int64) + DRUM_PITCHES_FROM * is_drums
    events[:, 2], events[:, 3] = segment[:, DURATION], segment[:, VELOCITY]
    events[:, 4:] = number, index, int(given)
    return events


def sequence_of(
    window: BarWindow,
    order: Sequence[tuple[int, int, bool]],
    stems: Sequence[str],
    header_step: int,
) -> np.ndarray:
    """Events (L, ``FIELDS``) of all segments in ``order``."""
    pieces = []
    for index, (bar, number, given) in enumerate(order):
        pieces.append(header(number, index, given, header_step))
        segment = window.segments[stems[number]][bar]
        pieces.append(note_events(segment, number, index, given, stems[number] == "drums"))
    return np.concatenate(pieces)
