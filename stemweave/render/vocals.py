"""What voices do in a song: melodies with doubles and harmonies, rap, choirs, talk and chant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stemweave.render.effects import draw_voice_effects
from stemweave.render.form import Form
from stemweave.render.lines import draw_comping, draw_melody, nearest
from stemweave.render.mixdown import levelled
from stemweave.render.score import Note
from stemweave.render.singing import Manner, draw_manner, faded, sing
from stemweave.render.voices import Recording, read_waveform

LEVEL_DB = -20.0
LOW, HIGH = 53.0, 64.0
"""MIDI pitches that men's and women's voices are drawn around."""
TYPICAL_HZ = {False: 150.0, True: 320.0}
"""Of men's and women's recordings that need no other formants."""
CLIP_FADE_S = 0.01
LYRICS = 5
"""Recordings that one voice's words come from."""


@dataclass(frozen=True)
class Session:
    """What singers need to know."""

    form: Form
    recordings: Sequence[Recording]
    duration_s: float
    sample_rate: int

    @property
    def num_samples(self) -> int:
        return round(self.duration_s * self.sample_rate)

    def sung(
        self,
        notes: Sequence[Note],
        lyrics: Sequence[Recording],
        manner: Manner,
        rng: np.random.Generator,
        words: int,
    ) -> np.ndarray:
        """``sing`` for the whole song."""
        return sing(notes, lyrics, manner, self.num_samples, self.sample_rate, rng, words)


def draw_voices(session: Session, rng: np.random.Generator) -> list[np.ndarray]:
    """One or two layers (T,) at their levels, each through its own effects."""
    kinds: list[Callable[[Session, np.random.Generator], np.ndarray]] = [
        draw_lead,
        _draw_rap,
        draw_clips,
        _draw_choir,
    ]
    first = int(rng.choice(len(kinds), p=[0.7, 0.1, 0.16, 0.04]))
    drawn = [first, 3] if first != 3 and rng.random() < 0.08 else [first]
    layers = []
    for place, kind in enumerate(drawn):
        level_db = LEVEL_DB - 5 * place + rng.normal(0, 4)
        effects = draw_voice_effects(session.form.beat_s, rng)
        voice = kinds[kind](session, rng)
        layers.append(levelled(voice, effects, float(level_db), session.sample_rate))
    return layers


def draw_lead(session: Session, rng: np.random.Generator) -> np.ndarray:
    """A melody; some are doubled, some have a second voice in thirds or sixths."""
    form, female, words = session.form, bool(rng.random() < 0.5), int(rng.integers(2**31))
    centre = (HIGH if female else LOW) + rng.uniform(-4, 4)
    notes = within_range(draw_melody(form, rng), centre)
    lyrics, manner = draw_singer(session.recordings, female, rng)

    def take(notes: Sequence[Note], manner: Manner, gain: float) -> np.ndarray:
        return session.sung(notes, lyrics, manner, rng, words) * np.float32(gain)

    voice = take(notes, manner, 1.0)
    if rng.random() < 0.3:
        double = replace(manner, cents=rng.normal(0, 8), late_s=rng.normal(0, 0.012))
        voice += take(notes, double, rng.uniform(0.3, 0.9))
    if rng.random() < 0.25:
        step = float(rng.choice([3.5, -3.5, 8.5, -5.0]))
        second = [replace(n, pitch=nearest(n.pitch + step, form.key.scale)) for n in notes]
        formants = manner.formants * float(np.exp(rng.normal(0, 0.06)))
        other = replace(manner, formants=formants, late_s=rng.normal(0, 0.012))
        voice += take(in_sections(second, form, 0.5, rng), other, rng.uniform(0.3, 0.8))
    return voice


def _draw_rap(session: Session, rng: np.random.Generator) -> np.ndarray:
    """Syllables on the beat's halves or quarters at the pitches of speech."""
    form, female = session.form, bool(rng.random() < 0.4)
    lyrics, manner = draw_singer(session.recordings, female, rng, spoken=True)
    base = (HIGH if female else LOW) - 8 + rng.uniform(-3, 3)
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
    return session.sung(notes, lyrics, manner, rng, int(rng.integers(2**31)))


def _draw_choir(session: Session, rng: np.random.Generator) -> np.ndarray:
    """Chords that three singers hold on a syllable."""
    form = session.form
    chords: dict[float, list[Note]] = {}
    for note in in_sections(draw_comping(form, "block", rng), form, 0.7, rng):
        chords.setdefault(round(note.start_s / form.beat_s), []).append(note)
    voice = np.zeros(session.num_samples, np.float32)
    words = int(rng.integers(2**31))
    for number in range(3):
        notes = [chord[min(number, len(chord) - 1)] for chord in chords.values()]
        lyrics, manner = draw_singer(session.recordings, number > 1, rng)
        manner = replace(manner, held=0.95, late_s=float(rng.normal(0, 0.02)))
        voice += session.sung(notes, lyrics, manner, rng, words)
    return voice


def draw_clips(session: Session, rng: np.random.Generator) -> np.ndarray:
    """Recordings as they are, from bars' beginnings on: talk, or chant tuned to the chords."""
    form, rate = session.form, session.sample_rate
    clips = _of_one_singer(session.recordings, rng)
    speed = float(np.exp(rng.normal(0, 0.06)))
    voice = np.zeros(session.num_samples, np.float32)
    bar_s = form.beats_per_bar * form.beat_s
    bar = int(rng.integers(3))
    while bar < len(form.bars):
        clip = clips[int(rng.integers(len(clips)))]
        if not clip.spoken:
            pitch = 69 + 12 * np.log2(clip.f0_hz / 440)
            classes = form.chord_at(bar * form.beats_per_bar).pitch_classes
            speed = 2 ** ((nearest(pitch, classes) - pitch) / 12)
        waveform = faded(read_waveform(clip, rate / speed), CLIP_FADE_S, rate)
        start = round(bar * bar_s * rate)
        waveform = waveform[: max(len(voice) - start, 0)]
        voice[start : start + len(waveform)] += waveform
        bar += -(-len(waveform) // round(bar_s * rate)) + int(rng.random() < 0.2)
    return voice


def _of_one_singer(recordings: Sequence[Recording], rng: np.random.Generator) -> list[Recording]:
    singer = recordings[int(rng.integers(len(recordings)))].singer
    return [one for one in recordings if one.singer == singer]


def draw_singer(
    recordings: Sequence[Recording], female: bool, rng: np.random.Generator, spoken: bool = False
) -> tuple[list[Recording], Manner]:
    """A singer's recordings and manner, formants moved towards the voice that is wanted."""
    wanted_hz = TYPICAL_HZ[female]
    own = _of_one_singer(recordings, rng)
    own = sorted(own, key=lambda one: abs(np.log(one.f0_hz / wanted_hz)))[: 1 + len(own) // 2]
    lyrics = [own[int(rng.integers(len(own)))] for _ in range(LYRICS)]
    manner = draw_manner(rng, spoken)
    nature = (wanted_hz / float(np.median([one.f0_hz for one in lyrics]))) ** 0.25
    return lyrics, replace(manner, formants=float(np.clip(manner.formants * nature, 0.75, 1.3)))


def in_sections(
    notes: Sequence[Note], form: Form, share: float, rng: np.random.Generator
) -> list[Note]:
    """The notes of sections of eight bars, each kept with the probability ``share``."""
    section_s = 8 * form.beats_per_bar * form.beat_s
    kept = rng.random(int(form.duration_s / section_s) + 2) < share
    return [note for note in notes if kept[int(max(note.start_s, 0.0) / section_s)]]


def within_range(notes: Sequence[Note], centre: float) -> list[Note]:
    """A melody by octaves near ``centre``, its outermost notes an octave nearer."""
    mean = np.mean([note.pitch for note in notes]) if notes else centre
    shift = 12 * round((centre - mean) / 12)
    return [
        replace(note, pitch=note.pitch + shift - 12 * round((note.pitch + shift - centre) / 24))
        for note in notes
    ]
