"""The frame of a song that its parts are written in: bars of chords, key, metre, tempo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemweave.music.harmony import QUALITIES, Chord, Key
from stemweave.music.keys import tonic_of
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.metre import beats_per_bar, chord_starts, is_compound

STRONG_BEATS: dict[str, tuple[int, ...]] = {
    "4/4": (0, 2), "12/8": (0, 2), "3/4": (0,), "6/8": (0, 1), "5/4": (0, 3),
}  # fmt: skip
"""Beats of a bar that carry its harmony."""


@dataclass(frozen=True)
class Form:
    """Chords of every bar in a key, a metre and a tempo.

    Attributes:
        bars: chords of each bar, which share it as ``chord_starts`` says.
        beat_s: length of a felt beat in seconds.
    """

    bars: Sequence[Sequence[Chord]]
    key: Key
    beat_s: float
    metre: str = "4/4"

    @property
    def beats_per_bar(self) -> int:
        return beats_per_bar(self.metre)

    @property
    def num_beats(self) -> int:
        return len(self.bars) * self.beats_per_bar

    @property
    def duration_s(self) -> float:
        return len(self.bars) * self.beats_per_bar * self.beat_s

    @property
    def strong_beats(self) -> tuple[int, ...]:
        return STRONG_BEATS[self.metre]

    @property
    def eighth(self) -> float:
        """Beats of an eighth note: half of them, or a third."""
        return 1 / 3 if is_compound(self.metre) else 0.5

    @property
    def grids(self) -> tuple[float, ...]:
        """Grids in beats that lines are drawn on, as often as they are drawn."""
        if is_compound(self.metre):
            return (1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 6)
        return (0.5, 0.5, 0.5, 0.25, 1 / 3)

    def chord_at(self, beat: float) -> Chord:
        """The chord that sounds at ``beat`` beats from the beginning."""
        bar = min(int(beat // self.beats_per_bar), len(self.bars) - 1)
        chords = self.bars[bar]
        inside = beat - bar * self.beats_per_bar
        starts = chord_starts(len(chords), self.beats_per_bar)
        return chords[max(sum(start <= inside for start in starts) - 1, 0)]


def form_of_sheet(sheet: LeadSheet) -> Form:
    """Bars of a sheet that knows its beats, with its chords where ``Chord`` has their kind nearly.

    The form's beats are even; those of the sheet need not be (see ``LeadSheet.time_of``).
    """
    assert sheet.beats_s is not None
    metre = sheet.metre if sheet.metre in STRONG_BEATS else "4/4"
    beats = beats_per_bar(metre)
    key = Key(*tonic_of(sheet.key)) if sheet.key else Key(0, False)
    chords = [Chord(key.tonic, "minor" if key.minor else "major")]
    for beat in range(len(sheet.beats_s) - 1):
        known = sheet.chord_at(float(beat))
        chords.append(chords[-1] if known is None else _nearest_chord(known.root, known.tones))
    bars = [chords[at : at + beats] for at in range(1, len(chords), beats)]
    return Form(bars, key, float(np.median(np.diff(sheet.beats_s))), metre)


def _nearest_chord(root: int, tones: Sequence[int]) -> Chord:
    chords = [Chord(root, quality) for quality in QUALITIES]
    return min(chords, key=lambda chord: len(set(chord.pitch_classes) ^ set(tones)))
