"""Rock riffs: low power chords on one rhythm, guitars doubled, bass along with them.

Accompaniment grooves have no such guitars, but much of what people want separated does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stemweave.render.form import Form
from stemweave.render.lines import nearest
from stemweave.render.score import Note, Part

LOWEST_GUITAR, LOWEST_BASS = 38, 26
"""MIDI pitches: the low strings, a whole tone down."""
KICK = 36
RIFF_PROGRAMS = (29, 30, 30, 29, 27, 28)
"""Overdriven, distorted, now and then clean or muted."""


@dataclass(frozen=True)
class Stroke:
    """One stroke of a riff: when, above the chord's root or the key's tonic, how played."""

    beat: float
    length: float
    interval: int | None
    """Semitones above the tonic; None: the chord's root."""
    is_chord: bool
    muted: bool


def draw_riff(form: Form, rng: np.random.Generator) -> list[Stroke]:
    """One or two bars: a pedal tone in even strokes, accents that move with chord or scale."""
    num_bars = int(rng.choice([1, 2]))
    grid = float(rng.choice([form.eighth, form.eighth, form.eighth / 2]))
    accent_probability, rest_probability = rng.uniform(0.2, 0.5), rng.uniform(0, 0.3)
    follows_chords = rng.random() < 0.6
    power_chords = rng.random() < 0.7
    scale = [(pitch_class - form.key.tonic) % 12 for pitch_class in form.key.scale]
    onsets = np.arange(0, num_bars * form.beats_per_bar, grid)
    kept = [float(onset) for onset in onsets if onset == 0 or rng.random() >= rest_probability]
    strokes = []
    for beat, after in pairwise([*kept, float(num_bars * form.beats_per_bar)]):
        accent = beat == 0 or rng.random() < accent_probability
        interval = None if follows_chords else 0
        if accent and beat > 0 and rng.random() < 0.6:
            interval = int(rng.choice(scale))
        strokes.append(
            Stroke(beat, after - beat, interval, accent and power_chords, muted=not accent)
        )
    return strokes


def play_riff(
    strokes: list[Stroke], form: Form, lowest: int, rng: np.random.Generator
) -> list[Note]:
    """The riff through the song, from ``lowest`` up; pass after pass not quite the same."""
    riff_bars = int(max(stroke.beat for stroke in strokes) // form.beats_per_bar) + 1
    guitar = lowest > LOWEST_BASS
    notes: list[Note] = []
    for bar in range(0, len(form.bars), riff_bars):
        for stroke in strokes:
            beat = bar * form.beats_per_bar + stroke.beat
            if beat >= form.num_beats or rng.random() < 0.03:
                continue
            pitch_class = form.chord_at(beat).root
            if stroke.interval is not None:
                pitch_class = form.key.tonic + stroke.interval
            pitch = lowest + (pitch_class - lowest) % 12
            length_s = (
                stroke.length * form.beat_s * (rng.uniform(0.3, 0.6) if stroke.muted else 0.95)
            )
            velocity = int(np.clip(rng.normal(88 if stroke.muted else 108, 6), 40, 127))
            intervals = (0, 7, 12) if stroke.is_chord and guitar else (0,)
            start_s = beat * form.beat_s
            notes += [Note(start_s, start_s + length_s, pitch + i, velocity) for i in intervals]
    return notes


def draw_tremolo(form: Form, rng: np.random.Generator) -> list[Stroke]:
    """A bar of even fast strokes, whose tone changes with some beats."""
    scale = [(pitch_class - form.key.tonic) % 12 for pitch_class in form.key.scale]
    strokes, interval = [], None
    for beat in np.arange(0, form.beats_per_bar, form.eighth / 2):
        if beat % 1 == 0:
            interval = int(rng.choice(scale)) if beat and rng.random() < 0.5 else None
        strokes.append(Stroke(float(beat), form.eighth / 2, interval, False, muted=False))
    return strokes


def draw_double_kick(form: Form, rng: np.random.Generator) -> list[Note]:
    """The bass drum on eighths or sixteenths through whole bars."""
    grid = form.eighth / int(rng.choice([1, 2, 2]))
    share = rng.uniform(0.3, 1.0)
    notes = []
    for bar in range(len(form.bars)):
        if rng.random() < share:
            for beat in bar * form.beats_per_bar + np.arange(0, form.beats_per_bar, grid):
                start_s = float(beat) * form.beat_s
                notes.append(Note(start_s, start_s + 0.05, KICK, int(rng.integers(88, 112))))
    return notes


def draw_riff_parts(
    form: Form, rng: np.random.Generator, heavy: bool = False
) -> dict[str, list[Part]]:
    """Guitar parts (rhythm, often doubled, sometimes a lead in thirds) and the bass below.

    ``heavy``: on strings tuned lower, now and then with tremolo picking.
    """
    tremolo = heavy and rng.random() < 0.3
    strokes = draw_tremolo(form, rng) if tremolo else draw_riff(form, rng)
    lower = int(rng.integers(0, 6)) if heavy else 0
    program = int(rng.choice(RIFF_PROGRAMS))
    guitars = [Part(program, False, play_riff(strokes, form, LOWEST_GUITAR - lower, rng), "riff")]
    if rng.random() < 0.5:
        other = int(rng.choice(RIFF_PROGRAMS))
        doubled = play_riff(strokes, form, LOWEST_GUITAR - lower, rng)
        guitars.append(Part(other, False, doubled, "riff, doubled"))
    if rng.random() < 0.3:
        third = [
            Note(n.start_s, n.end_s, nearest(n.pitch + 15.5, form.key.scale), n.velocity)
            for n in guitars[0].notes
            if n.velocity > 98
        ]
        guitars.append(Part(program, False, third, "riff, thirds"))
    bass = play_riff(strokes, form, LOWEST_BASS - lower, rng)
    return {"guitar": guitars, "bass": [Part(0, False, bass, "bass riff")]}
