"""The stem ``other`` of a song: voices, strings, winds, organs, synths over its chords.

A song has voices, instruments, both, or no such stem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stemweave.render.compose import ComposedSong, humanise
from stemweave.render.effects import draw_voice_effects
from stemweave.render.form import Form
from stemweave.render.lines import draw_comping, draw_melody, nearest
from stemweave.render.mixdown import draw_sounds, levelled, render_parts
from stemweave.render.score import Note, Part
from stemweave.render.singing import Manner, draw_manner, sing
from stemweave.render.synth import Synthesiser
from stemweave.render.voices import Recording

WITHOUT = 0.15
"""Share of songs that have no such stem."""
WITH_VOICE, WITH_INSTRUMENTS = 0.85, 0.85
"""Of the others."""
VOICE_LEVEL_DB = -20.0
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
"""Programs of percussion and noises that are heard now and then."""
LOW, HIGH = 54.0, 66.0
"""MIDI pitches that men's and women's voices are drawn around."""
TYPICAL_HZ = {False: 150.0, True: 320.0}
"""Of men's and women's recordings that need no other formants."""
LYRICS = 8
"""Recordings that one voice's words come from."""


def render_other(
    song: ComposedSong,
    recordings: Sequence[Recording],
    fonts: Sequence[tuple[Path, float]],
    synthesiser: Synthesiser,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """What else sounds in ``song``, mono (T,) at its level; None where nothing does."""
    if rng.random() < WITHOUT:
        return None
    layers: list[np.ndarray] = []
    if rng.random() < WITH_VOICE:
        layers += _voices(song, recordings, synthesiser.sample_rate, rng)
    if rng.random() < WITH_INSTRUMENTS or not layers:
        for parts in draw_instruments(song.form, song.others, rng):
            sound = draw_sounds(["other"], {"other": fonts}, rng, voiced=True)["other"]
            layers.append(render_parts(parts, sound, song.duration_s, synthesiser))
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


def in_sections(
    notes: Sequence[Note], form: Form, share: float, rng: np.random.Generator
) -> list[Note]:
    """The notes of sections of eight bars, each kept with the probability ``share``."""
    section_s = 8 * form.beats_per_bar * form.beat_s
    kept = rng.random(int(form.duration_s / section_s) + 2) < share
    return [note for note in notes if kept[int(max(note.start_s, 0.0) / section_s)]]


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


def _voices(
    song: ComposedSong,
    recordings: Sequence[Recording],
    sample_rate: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """A lead voice or speech, a choir, or both, each through its own effects."""
    form, samples = song.form, round(song.duration_s * sample_rate)
    kind = str(rng.choice(["lead", "speech", "choir"], p=[0.78, 0.17, 0.05]))
    voices = []
    if kind != "choir":
        draw = _draw_lead if kind == "lead" else _draw_speech
        level_db = VOICE_LEVEL_DB + rng.normal(0, 4)
        voices.append((draw(form, recordings, samples, sample_rate, rng), level_db))
    if kind == "choir" or rng.random() < 0.1:
        level_db = VOICE_LEVEL_DB - 4 + rng.normal(0, 3)
        voices.append((_draw_choir(form, recordings, samples, sample_rate, rng), level_db))
    return [
        levelled(voice, draw_voice_effects(form.beat_s, rng), float(level_db), sample_rate)
        for voice, level_db in voices
    ]


def _draw_lead(
    form: Form,
    recordings: Sequence[Recording],
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """A melody; some are doubled, some have a second voice in thirds or sixths."""
    female = bool(rng.random() < 0.5)
    centre = (HIGH if female else LOW) + rng.uniform(-4, 4)
    notes = in_sections(within_range(draw_melody(form, rng), centre), form, 0.9, rng)
    lyrics, manner = draw_singer(recordings, female, rng)
    voice = sing(notes, lyrics, manner, samples, sample_rate, rng)
    if rng.random() < 0.3:
        other = replace(manner, cents=rng.normal(0, 8), late_s=rng.normal(0, 0.012))
        doubled = sing(notes, lyrics, other, samples, sample_rate, rng)
        voice += doubled * np.float32(rng.uniform(0.3, 0.9))
    if rng.random() < 0.25:
        step = float(rng.choice([3.5, -3.5, 8.5, -5.0]))
        second = [replace(n, pitch=nearest(n.pitch + step, form.key.scale)) for n in notes]
        second = in_sections(second, form, 0.5, rng)
        if rng.random() < 0.5:
            lyrics, manner = draw_singer(recordings, female, rng)
        harmony = sing(second, lyrics, manner, samples, sample_rate, rng)
        voice += harmony * np.float32(rng.uniform(0.3, 0.8))
    return voice


def _draw_speech(
    form: Form,
    recordings: Sequence[Recording],
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Syllables on the beat's halves or quarters at the pitches of speech."""
    female = bool(rng.random() < 0.4)
    lyrics, manner = draw_singer(recordings, female, rng, spoken=True)
    base = (HIGH - 8 if female else LOW - 8) + rng.uniform(-3, 3)
    grid = 0.25 if form.beat_s > 0.45 and form.eighth == 0.5 else form.eighth
    notes = []
    for bar in range(len(form.bars)):
        if rng.random() < 0.15:
            continue
        for beat in np.arange(0, form.beats_per_bar - rng.integers(2), grid):
            if rng.random() < 0.8:
                start_s = (bar * form.beats_per_bar + beat) * form.beat_s
                pitch = round(base + rng.normal(0, 1.5))
                velocity = 96 if beat in form.strong_beats else 86
                notes.append(Note(start_s, start_s + grid * form.beat_s, pitch, velocity))
    notes = in_sections(notes, form, 0.85, rng)
    return sing(notes, lyrics, manner, samples, sample_rate, rng)


def _draw_choir(
    form: Form,
    recordings: Sequence[Recording],
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Chords that three singers hold on a syllable."""
    chords: dict[float, list[Note]] = {}
    for note in in_sections(draw_comping(form, "block", rng), form, 0.7, rng):
        chords.setdefault(round(note.start_s / form.beat_s), []).append(note)
    voice = np.zeros(samples, np.float32)
    for number in range(3):
        notes = [chord[min(number, len(chord) - 1)] for chord in chords.values()]
        lyrics, manner = draw_singer(recordings, number > 1, rng)
        manner = replace(manner, held=0.95, late_s=float(rng.normal(0, 0.02)))
        voice += sing(notes, lyrics, manner, samples, sample_rate, rng)
    return voice


def draw_singer(
    recordings: Sequence[Recording], female: bool, rng: np.random.Generator, spoken: bool = False
) -> tuple[list[Recording], Manner]:
    """A singer's recordings and manner, formants moved towards the voice that is wanted."""
    singers = sorted({one.singer for one in recordings})
    singer = singers[rng.integers(len(singers))]
    own = [one for one in recordings if one.singer == singer]
    wanted_hz = TYPICAL_HZ[female]
    own = sorted(own, key=lambda one: abs(np.log(one.f0_hz / wanted_hz)))[: 1 + len(own) // 2]
    lyrics = [own[rng.integers(len(own))] for _ in range(LYRICS)]
    manner = draw_manner(rng, spoken)
    nature = (wanted_hz / float(np.median([one.f0_hz for one in lyrics]))) ** 0.25
    return lyrics, replace(manner, formants=float(np.clip(manner.formants * nature, 0.75, 1.3)))


def within_range(notes: Sequence[Note], centre: float) -> list[Note]:
    """A melody by octaves near ``centre``, its outermost notes an octave nearer."""
    mean = np.mean([note.pitch for note in notes]) if notes else centre
    shift = 12 * round((centre - mean) / 12)
    return [
        replace(note, pitch=note.pitch + shift - 12 * round((note.pitch + shift - centre) / 24))
        for note in notes
    ]
