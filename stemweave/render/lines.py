"""Parts of our own beside the accompaniment grooves': melodies, comping, bass lines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stemweave.render.form import Form
from stemweave.render.score import Note


def nearest(pitch: float, pitch_classes: Sequence[int]) -> int:
    """The pitch nearest to ``pitch`` whose class is one of ``pitch_classes``."""
    candidates = [p for p in range(round(pitch) - 7, round(pitch) + 8) if p % 12 in pitch_classes]
    return min(candidates, key=lambda p: abs(p - pitch))


def draw_melody(form: Form, rng: np.random.Generator) -> list[Note]:
    """Lead line in phrases of two or four bars with rests; chord tones on strong beats."""
    register = rng.integers(62, 80)
    density = rng.uniform(0.35, 0.85)
    motifs = [_draw_rhythm(form, density, rng) for _ in range(3)]
    swing = rng.choice([0.0, 0.0, 1 / 6])
    pitch = float(register)
    notes: list[Note] = []
    bar = 0
    while bar < len(form.bars):
        phrase = int(rng.choice([2, 4]))
        resting = rng.random() < 0.3
        motif = motifs[rng.integers(len(motifs))]
        for inner in range(min(phrase, len(form.bars) - bar)):
            if resting or (inner == phrase - 1 and rng.random() < 0.4):
                continue
            onsets = motif if rng.random() < 0.7 else _draw_rhythm(form, density, rng)
            for onset, after in pairwise([*onsets, form.beats_per_bar]):
                beat = (bar + inner) * form.beats_per_bar + onset
                strong = onset in form.strong_beats or rng.random() < 0.35
                step = rng.normal(0, 3.0) + 0.15 * (register - pitch)
                classes = form.chord_at(beat).pitch_classes if strong else form.key.scale
                pitch = float(np.clip(nearest(pitch + step, classes), register - 12, register + 14))
                delayed = beat + (swing if onset % 1 == 0.5 else 0.0)
                length = (after - onset) * rng.uniform(0.5, 1.0)
                velocity = int(np.clip(rng.normal(92 if strong else 80, 9), 40, 120))
                start_s = delayed * form.beat_s
                notes.append(Note(start_s, start_s + length * form.beat_s, int(pitch), velocity))
        bar += phrase
    return notes


def _draw_rhythm(form: Form, density: float, rng: np.random.Generator) -> list[float]:
    """Onsets of one bar in beats, on a grid of eighths (sometimes sixteenths or triplets)."""
    grid = rng.choice(form.grids)
    positions = np.arange(0, form.beats_per_bar, grid)
    strength = np.where(positions % 1 == 0, 1.0, 0.6 if grid == form.eighth else 0.35)
    chosen = positions[rng.random(len(positions)) < density * strength]
    return [float(p) for p in chosen] or [0.0]


def draw_comping(form: Form, style: str, rng: np.random.Generator) -> list[Note]:
    """Chords through the song: ``strum``, ``arpeggio``, ``block`` or ``stab``."""
    centre = rng.integers(50, 66)
    motifs = [_draw_rhythm(form, rng.uniform(0.3, 0.9), rng) for _ in range(2)]
    strong = [float(beat) for beat in form.strong_beats]
    notes: list[Note] = []
    for bar in range(len(form.bars)):
        start = bar * form.beats_per_bar
        onsets = strong if style == "block" else motifs[0 if rng.random() < 0.8 else 1]
        if style == "arpeggio":
            onsets = [float(onset) for onset in np.arange(0, form.beats_per_bar, form.eighth)]
        for index, (onset, after) in enumerate(pairwise([*onsets, form.beats_per_bar])):
            classes = form.chord_at(start + onset).pitch_classes
            voicing = sorted({nearest(float(centre + 5 * k), classes) for k in range(4)})
            length = 0.2 if style == "stab" else (after - onset) * rng.uniform(0.8, 1.0)
            if style == "arpeggio":
                up_down = [*range(len(voicing)), *range(len(voicing) - 2, 0, -1)]
                voicing = [voicing[up_down[index % len(up_down)]]]
                length *= rng.uniform(1, 2.5)
            spread_s = rng.uniform(0.005, 0.02) if style == "strum" else 0.003
            velocity = rng.normal(85 if onset in form.strong_beats else 74, 7)
            for string, pitch in enumerate(voicing):
                start_s = (start + onset) * form.beat_s + string * spread_s
                loudness = int(np.clip(velocity + rng.normal(0, 3), 30, 120))
                notes.append(Note(start_s, start_s + length * form.beat_s, pitch, loudness))
    return notes


def draw_bass(form: Form, rng: np.random.Generator) -> list[Note]:
    """Roots and fifths with passing notes, on one rhythm motif."""
    motif = _draw_rhythm(form, rng.uniform(0.3, 0.8), rng)
    if 0.0 not in motif:
        motif = [0.0, *motif]
    notes: list[Note] = []
    for bar in range(len(form.bars)):
        for index, (onset, after) in enumerate(pairwise([*motif, form.beats_per_bar])):
            beat = bar * form.beats_per_bar + onset
            chord = form.chord_at(beat)
            root = 28 + (chord.root - 28) % 12
            further = index and rng.random() < 0.4
            pitch = root + (int(rng.choice([7, 12, 5, 10, -5])) if further else 0)
            start_s = beat * form.beat_s
            length_s = (after - onset) * form.beat_s * rng.uniform(0.6, 0.98)
            velocity = int(np.clip(rng.normal(95, 8), 40, 120))
            notes.append(Note(start_s, start_s + length_s, pitch, velocity))
    return notes
