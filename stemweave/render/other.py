"""The stem ``other`` of a song: voices, strings, winds, organs, synths over its chords.

A song has voices, instruments, both, or no such stem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stemweave.render.compose import humanise
from stemweave.render.form import Form
from stemweave.render.lines import draw_comping, draw_melody
from stemweave.render.mixdown import draw_sounds, render_parts
from stemweave.render.score import Note, Part
from stemweave.render.synth import Synthesiser
from stemweave.render.vocals import Session, draw_voices, in_sections
from stemweave.render.voices import Recording

WITHOUT = 0.15
"""Share of songs that have no such stem."""
WITH_VOICE, WITH_INSTRUMENTS = 0.95, 0.8
"""Of the others."""
FAMILIES: dict[tuple[int, ...], float] = {
    (16, 17, 18, 19, 20): 3,  # organs
    (21, 22, 23): 1,  # accordions, harmonica
    (40, 41, 42, 43, 44, 45, 46): 2,  # bowed, plucked
    (48, 49, 50, 51): 5,  # strings
    (52, 53, 54): 1,  # choirs
    (56, 57, 58, 59, 60, 61, 62, 63): 4,  # brass
    (64, 65, 66, 67): 2.5,  # saxophones
    (68, 69, 70, 71, 72, 73, 74, 75, 77, 78, 79): 3,  # winds
    (80, 81, 82, 83, 84, 85, 86, 87): 4,  # leads
    (88, 89, 90, 91, 92, 93, 94, 95): 4,  # pads
    (47, 55, *range(96, 104)): 1,  # hits and effects
    (8, 9, 10, 11, 12, 13, 14, 15): 1.5,  # bells
    (104, 105, 106, 107, 108, 109, 110, 111): 1,  # from elsewhere
}
"""General MIDI programs outside the four classes, and how often each group is drawn."""
HITS = range(112, 128)
"""Programs of percussion and noises that sound now and then."""


def render_other(
    form: Form,
    others: Sequence[Part],
    duration_s: float,
    recordings: Sequence[Recording],
    fonts: Sequence[tuple[Path, float]],
    synthesiser: Synthesiser,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """What sounds in a song beside ``others``, mono (T,) at its level; None: nothing."""
    if rng.random() < WITHOUT:
        return None
    layers: list[np.ndarray] = []
    if rng.random() < WITH_VOICE:
        session = Session(form, recordings, duration_s, synthesiser.sample_rate)
        layers += draw_voices(session, rng)
    if rng.random() < WITH_INSTRUMENTS or not layers:
        for parts in draw_instruments(form, others, rng):
            sound = draw_sounds(["other"], {"other": fonts}, rng, voiced=True)["other"]
            layers.append(render_parts(parts, sound, duration_s, synthesiser))
    return np.stack(layers).sum(axis=0, dtype=np.float32)


def draw_instruments(
    form: Form, others: Sequence[Part], rng: np.random.Generator
) -> Iterator[list[Part]]:
    """One to three layers of parts: those of the groove, pads, melodies, chords, rarely hits."""
    if others:
        for part in others:
            kept = draw_program(rng) if rng.random() < 0.5 else part.program
            part.program = kept
        yield _played(others, rng)
    for _ in range(int(rng.choice([0, 1, 2]) if others else rng.choice([1, 2, 2, 3]))):
        style = str(rng.choice(["pad", "pad", "melody", "melody", "arpeggio", "stab", "strum"]))
        if style == "melody":
            notes = draw_melody(form, rng)
        else:
            notes = draw_comping(form, "block" if style == "pad" else style, rng)
        shift = 12 * int(rng.choice([-1, 0, 0, 0, 1]))
        notes = [replace(note, pitch=note.pitch + shift) for note in notes]
        part = Part(draw_program(rng), False, in_sections(notes, form, 0.8, rng))
        yield _played([part], rng)
    if rng.random() < 0.08:
        yield _played([Part(int(rng.choice(HITS)), False, _draw_hits(form, rng))], rng)


def draw_program(rng: np.random.Generator) -> int:
    """A General MIDI program that belongs to none of the four classes."""
    groups = list(FAMILIES)
    shares = np.array(list(FAMILIES.values())) / sum(FAMILIES.values())
    return int(rng.choice(groups[rng.choice(len(groups), p=shares)]))


def _played(parts: Sequence[Part], rng: np.random.Generator) -> list[Part]:
    layer = {"other": list(parts)}
    humanise(layer, rng)
    return layer["other"]


def _draw_hits(form: Form, rng: np.random.Generator) -> list[Note]:
    """One every few bars, on or off the beat."""
    beats = np.flatnonzero(rng.random(form.num_beats * 2) < rng.uniform(0.02, 0.12)) / 2
    pitch = int(rng.integers(48, 72))
    return [
        Note(beat * form.beat_s, (beat + 1) * form.beat_s, pitch, int(rng.integers(70, 120)))
        for beat in beats
    ]
