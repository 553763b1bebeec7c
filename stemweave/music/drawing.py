"""Lead sheets drawn at random, so that a piece can begin from nothing; what a user gives stays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stemweave.music.chords import ChordChange, parse_chord
from stemweave.music.harmony import Key, draw_progression
from stemweave.music.instruments import INSTRUMENTS
from stemweave.music.keys import key_name, tonic_of
from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet, changes_of_bars, steady_beats
from stemweave.music.metre import beats_per_bar

TEMPO_BPM = (72.0, 168.0)
"""Range of drawn tempi, that of composed songs."""
METRES = ("4/4", "3/4", "6/8")
METRE_CHANCES = (0.8, 0.12, 0.08)
SECTION_BARS = 8
NUM_THEMES = 2


def draw_sheet(
    duration_s: float,
    styles: Sequence[str],
    rng: np.random.Generator,
    given: LeadSheet | None = None,
) -> LeadSheet:
    """A sheet of whole bars that cover ``duration_s``; fields that ``given`` has are kept.

    Given chords repeat until the end; given beats go on at their last tempo. As many draws are made
    of ``rng`` whatever is given, so that a seed means the same.
    """
    given = given or LeadSheet()
    metre = str(rng.choice(METRES, p=METRE_CHANCES))
    tempo_bpm = float(round(rng.uniform(*TEMPO_BPM), 1))
    key = key_name(int(rng.integers(12)), bool(rng.random() < 0.4))
    style = str(rng.choice(styles)) if styles else None
    instruments = {stem: str(rng.choice(list(kinds))) for stem, kinds in INSTRUMENTS.items()}
    if given.chords is not None or given.beats_s is not None:  # which leave no choice
        metre = DEFAULT_METRE
    metre, tempo_bpm = given.metre or metre, given.tempo_bpm or tempo_bpm
    bar_beats = beats_per_bar(metre)
    beats_s = _covering(given.beats_s, tempo_bpm, bar_beats, duration_s)
    num_bars = (len(beats_s) - 1) // bar_beats
    if given.chords is None:
        key = given.key or key
        chords = draw_chords(key, num_bars, bar_beats, rng)
    else:
        chords = repeated(given.chords, bar_beats, num_bars)
    return replace(
        given,
        beats_s=beats_s,
        downbeats=tuple(range((given.downbeats or (0,))[0], len(beats_s), bar_beats)),
        metre=metre,
        tempo_bpm=tempo_bpm,
        key=key if given.chords is None else given.key,
        chords=chords,
        style=given.style or style,
        instruments={**instruments, **given.instruments},
    )


def lasting(sheet: LeadSheet, duration_s: float) -> LeadSheet:
    """``sheet`` with beats that cover ``duration_s``, if it knows a tempo at least.

    Beats go on at their last tempo, bars as the last one. Chords begin anew where the bars that
    were there end (without beats, after their own last bar).
    """
    if not sheet.has_tempo:
        return sheet
    before, downbeats = sheet.beats_s, sheet.downbeats or ()
    bar_beats = 1
    if sheet.metre is not None:
        bar_beats = beats_per_bar(sheet.metre)
    elif len(downbeats) > 1:
        bar_beats = downbeats[-1] - downbeats[-2]
    beats_s = _covering(before, sheet.tempo_bpm or 0.0, bar_beats, duration_s)
    if beats_s == before:
        return sheet
    chords = sheet.chords
    if chords is not None:
        length = None if before is None else len(before) - 1
        chords = repeated(chords, bar_beats, (len(beats_s) - 1) // bar_beats, length)
    if sheet.metre is not None or len(downbeats) > 1:
        last = downbeats[-1] if downbeats else -bar_beats
        downbeats = (*downbeats, *range(last + bar_beats, len(beats_s), bar_beats))
    return replace(sheet, beats_s=beats_s, downbeats=downbeats or None, chords=chords)


def at_tempo(sheet: LeadSheet, tempo_bpm: float) -> LeadSheet:
    """``sheet`` with steady beats at another tempo, from 0 s; bars and chords stay."""
    if sheet.beats_s is None:
        return replace(sheet, tempo_bpm=tempo_bpm)
    beats_s = steady_beats(tempo_bpm, len(sheet.beats_s) - 1)
    return replace(sheet, tempo_bpm=tempo_bpm, beats_s=beats_s)


def draw_chords(
    key: str, num_bars: int, bar_beats: int, rng: np.random.Generator
) -> tuple[ChordChange, ...]:
    """Changes of ``num_bars`` bars in ``key``: two themes, each of a progression of its own."""
    seventh_probability = float(rng.choice([0.0, 0.1, 0.5, 0.9]))
    tonic = Key(*tonic_of(key))
    themes = [
        draw_progression(tonic, SECTION_BARS, seventh_probability, rng) for _ in range(NUM_THEMES)
    ]
    order = [int(rng.choice([0, 0, 1])) for _ in range(math.ceil(num_bars / SECTION_BARS))]
    bars = []
    for names in (bar for theme in order for bar in themes[theme]):
        places = [index * bar_beats / len(names) for index in range(len(names))]
        bars.append(
            [ChordChange(at, parse_chord(one.name)) for at, one in zip(places, names, strict=True)]
        )
    return changes_of_bars(bars[:num_bars], bar_beats, num_bars)


def repeated(
    chords: Sequence[ChordChange], bar_beats: int, num_bars: int, length: int | None = None
) -> tuple[ChordChange, ...]:
    """``chords``, ``length`` beats long (None: whole bars), over and over in ``num_bars`` bars."""
    last = chords[-1].start_beat if chords else 0.0
    length = length or (math.floor(last / bar_beats) + 1) * bar_beats
    return tuple(
        ChordChange(first + change.start_beat, change.chord)
        for first in range(0, num_bars * bar_beats, length)
        for change in chords
        if first + change.start_beat < num_bars * bar_beats
    )


def _covering(
    beats_s: tuple[float, ...] | None, tempo_bpm: float, bar_beats: int, duration_s: float
) -> tuple[float, ...]:
    """Times of the beats of whole bars that cover ``duration_s``."""
    if beats_s is None:
        num_bars = max(math.ceil(duration_s * tempo_bpm / 60 / bar_beats - 1e-6), 1)
        return steady_beats(tempo_bpm, num_bars * bar_beats)
    last_s = beats_s[-1] - beats_s[-2]
    more = max(math.ceil((duration_s - beats_s[-1]) / last_s - 1e-6), 0)
    more += -(len(beats_s) - 1 + more) % bar_beats
    return (*beats_s, *(beats_s[-1] + last_s * (index + 1) for index in range(more)))
