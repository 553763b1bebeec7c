"""Parts of our own beside the accompaniment grooves': melodies, comping, bass lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stemweave.render.harmony import Chord, Key
from stemweave.render.score import Note

BEATS_PER_BAR = 4

Bars = Sequence[Sequence[Chord]]


def chord_at(bars: Bars, beat: float) -> Chord:
    """The chord that sounds at ``beat`` beats from the beginning."""
    bar = min(int(beat // BEATS_PER_BAR), len(bars) - 1)
    chords = bars[bar]
    share = (beat - bar * BEATS_PER_BAR) / BEATS_PER_BAR
    return chords[min(max(int(share * len(chords)), 0), len(chords) - 1)]


def nearest(pitch: float, pitch_classes: Sequence[int]) -> int:
    """The pitch nearest to ``pitch`` whose class is one of ``pitch_classes``."""
    candidates = [p for p in range(round(pitch) - 7, round(pitch) + 8) if p % 12 in pitch_classes]
    return min(candidates, key=lambda p: abs(p - pitch))


def draw_melody(bars: Bars, key: Key, beat_s: float, rng: np.random.Generator) -> list[Note]:
    """Lead line in phrases of two or four bars with rests; chord tones on strong beats.

    A rhythm motif is drawn once and reused with variations, as tunes do.
    """
    register = rng.integers(62, 80)
    density = rng.uniform(0.35, 0.85)
    motifs = [_draw_rhythm(density, rng) for _ in range(3)]
    swing = rng.choice([0.0, 0.0, 1 / 6])
    pitch = float(register)
    notes: list[Note] = []
    bar = 0
    while bar < len(bars):
        phrase = int(rng.choice([2, 4]))
        resting = rng.random() < 0.3
        motif = motifs[rng.integers(len(motifs))]
        for inner in range(min(phrase, len(bars) - bar)):
            if resting or (inner == phrase - 1 and rng.random() < 0.4):
                continue
            onsets = motif if rng.random() < 0.7 else _draw_rhythm(density, rng)
            for index, onset in enumerate(onsets):
                after = onsets[index + 1] if index + 1 < len(onsets) else BEATS_PER_BAR
                beat = (bar + inner) * BEATS_PER_BAR + onset
                strong = onset % 2 == 0 or rng.random() < 0.35
                step = rng.normal(0, 3.0) + 0.15 * (register - pitch)
                classes = chord_at(bars, beat).pitch_classes if strong else key.scale
                pitch = float(np.clip(nearest(pitch + step, classes), register - 12, register + 14))
                delayed = beat + (swing if onset % 1 == 0.5 else 0.0)
                length = (after - onset) * rng.uniform(0.5, 1.0)
                velocity = int(np.clip(rng.normal(92 if strong else 80, 9), 40, 120))
                start_s = delayed * beat_s
                notes.append(Note(start_s, start_s + length * beat_s, int(pitch), velocity))
        bar += phrase
    return notes


def _draw_rhythm(density: float, rng: np.random.Generator) -> list[float]:
    """Onsets of one bar in beats, on a grid of eighths (sometimes sixteenths or triplets)."""
    grid = rng.choice([0.5, 0.5, 0.5, 0.25, 1 / 3])
    positions = np.arange(0, BEATS_PER_BAR, grid)
    strength = np.where(positions % 1 == 0, 1.0, 0.6 if grid == 0.5 else 0.35)
    chosen = positions[rng.random(len(positions)) < density * strength]
    return [float(p) for p in chosen] or [0.0]


def draw_comping(bars: Bars, beat_s: float, style: str, rng: np.random.Generator) -> list[Note]:
    """Chords through the song: ``strum``, ``arpeggio``, ``block`` or ``stab``."""
    centre = rng.integers(50, 66)
    motifs = [_draw_rhythm(rng.uniform(0.3, 0.9), rng) for _ in range(2)]
    notes: list[Note] = []
    for bar in range(len(bars)):
        start = bar * BEATS_PER_BAR
        onsets = [0.0, 2.0] if style == "block" else motifs[0 if rng.random() < 0.8 else 1]
        if style == "arpeggio":
            onsets = [float(onset) for onset in np.arange(0, BEATS_PER_BAR, 0.5)]
        for index, onset in enumerate(onsets):
            classes = chord_at(bars, start + onset).pitch_classes
            voicing = sorted({nearest(float(centre + 5 * k), classes) for k in range(4)})
            after = onsets[index + 1] if index + 1 < len(onsets) else BEATS_PER_BAR
            length = 0.2 if style == "stab" else (after - onset) * rng.uniform(0.8, 1.0)
            if style == "arpeggio":
                up_down = [*range(len(voicing)), *range(len(voicing) - 2, 0, -1)]
                voicing = [voicing[up_down[index % len(up_down)]]]
                length *= rng.uniform(1, 2.5)
            spread_s = rng.uniform(0.005, 0.02) if style == "strum" else 0.003
            velocity = rng.normal(85 if onset % 2 == 0 else 74, 7)
            for string, pitch in enumerate(voicing):
                start_s = (start + onset) * beat_s + string * spread_s
                loudness = int(np.clip(velocity + rng.normal(0, 3), 30, 120))
                notes.append(Note(start_s, start_s + length * beat_s, pitch, loudness))
    return notes


def draw_bass(bars: Bars, beat_s: float, rng: np.random.Generator) -> list[Note]:
    """Roots and fifths with passing notes, on one rhythm motif."""
    motif = _draw_rhythm(rng.uniform(0.3, 0.8), rng)
    if 0.0 not in motif:
        motif = [0.0, *motif]
    notes: list[Note] = []
    for bar in range(len(bars)):
        for index, onset in enumerate(motif):
            beat = bar * BEATS_PER_BAR + onset
            chord = chord_at(bars, beat)
            root = 28 + (chord.root - 28) % 12
            after = motif[index + 1] if index + 1 < len(motif) else BEATS_PER_BAR
            pitch = root
            if index and rng.random() < 0.4:
                pitch = root + int(rng.choice([7, 12, 5, 10, -5]))
            start_s = beat * beat_s
            length_s = (after - onset) * beat_s * rng.uniform(0.6, 0.98)
            velocity = int(np.clip(rng.normal(95, 8), 40, 120))
            notes.append(Note(start_s, start_s + length_s, pitch, velocity))
    return notes
