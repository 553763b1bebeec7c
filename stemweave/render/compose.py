"""Songs of our own: mma's accompaniment grooves over drawn chords, plus melodies.

A song is a function of (seed, index): key, tempo, chords, grooves, who plays what.
"""

from __future__ import annotations

import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from stemweave.music.harmony import Chord, Key, draw_progression
from stemweave.music.metre import beats_per_bar, chord_starts
from stemweave.music.midi_file import read_midi_file
from stemweave.render.form import Form
from stemweave.render.grooves import GrooveFamily
from stemweave.render.lines import draw_bass, draw_comping, draw_melody
from stemweave.render.riffs import draw_double_kick, draw_riff_parts
from stemweave.render.score import Note, Part, others_of, parts_of, stem_of
from stemweave.stems import PROGRAMS

MICROSECONDS_A_MINUTE = 60_000_000
CROSSED_WITH = 2
"""Further grooves of a crossed song."""
TEMPI_BPM: dict[str, tuple[float, float]] = {
    "4/4": (72, 168), "3/4": (76, 190), "5/4": (90, 190), "6/8": (45, 130), "12/8": (45, 115),
}  # fmt: skip
"""Felt beats a minute that songs of each metre have."""


@dataclass
class ComposedSong:
    """Parts of each stem, and how the song was made, from several ``grooves`` if it is crossed.

    ``duration_s`` has a second for what rings on. ``grid_beat_s`` is a beat of most parts, without
    ``exact_tempo`` mma's. ``others`` are the groove's parts of no stem, where they were wanted.
    """

    stems: dict[str, list[Part]]
    form: Form
    tempo_bpm: float
    duration_s: float
    grid_beat_s: float
    grooves: tuple[str, ...]
    riff: bool
    others: list[Part]

    @property
    def family(self) -> str:
        """The families by name."""
        return " + ".join(self.grooves)


class Unplayable(ValueError):
    """A draw that makes no song (mma refused the groove, no drums, ...): draw again."""


def compose_song(
    families: list[GrooveFamily],
    rng: np.random.Generator,
    target_duration_s: float = 64.0,
    riff: bool = False,
    crossed: bool = False,
    exact_tempo: bool = True,
    metres: Sequence[str] | None = None,
    with_others: bool = False,
    heavy: bool = False,
) -> ComposedSong:
    """Draw one song with all four stems; raises ``Unplayable`` if the draw does not make one.

    First a metre is drawn of ``metres`` (None: those of ``families``), where they are several. For
    ``riff``, ``crossed`` and ``exact_tempo`` see ``CompositionOptions``: without the last the
    grooves' parts drift, as mma's tempi are whole numbers. ``with_others`` keeps the parts of
    strings, winds and so on, which guitar or piano play otherwise. ``heavy`` riffs are lower, with
    faster drums.
    """
    metre = draw_metre(metres or sorted({family.metre for family in families}), rng)
    families = [family for family in families if family.metre == metre]
    family = families[rng.integers(len(families))]
    key = Key(int(rng.integers(12)), bool(rng.random() < 0.4))
    tempo_bpm = float(rng.uniform(*TEMPI_BPM[family.metre]))
    beat_s = 60 / tempo_bpm
    section_bars = int(rng.choice([4, 8]))
    section_s = section_bars * beats_per_bar(family.metre) * beat_s
    num_sections = max(round(target_duration_s / section_s), 2)
    seventh_probability = float(rng.choice([0.0, 0.1, 0.5, 0.9]))
    themes = [draw_progression(key, section_bars, seventh_probability, rng) for _ in range(3)]
    order = [int(rng.choice([0, 0, 1, 1, 2])) for _ in range(num_sections)]
    form = Form([chords for theme in order for chords in themes[theme]], key, beat_s, family.metre)
    accompany = partial(_accompany, themes=themes, order=order, tempo_bpm=tempo_bpm, rng=rng)
    played = [family]
    parts = accompany(family, exact_tempo)
    if crossed:
        played += [families[rng.integers(len(families))] for _ in range(CROSSED_WITH)]
        parts = cross_parts([parts, *(accompany(one, exact_tempo) for one in played[1:])], rng)
    others = others_of(parts) if with_others else []
    if with_others:
        parts = [part for part in parts if stem_of(part) is not None]
    stems = _assign(parts, form, rng)
    if riff:
        stems |= draw_riff_parts(form, rng, heavy)
        stems["bass"][0].program = int(rng.choice(PROGRAMS["bass"]))
        if heavy:
            stems["drums"].append(Part(0, True, draw_double_kick(form, rng)))
    _drop_out(stems, section_s, num_sections, rng)
    humanise(stems, rng)
    for stem, own_parts in stems.items():
        if sum(len(part.notes) for part in own_parts) < 8:
            raise Unplayable(f"{stem} hardly plays")
    names = tuple(one.library_file for one in played)
    grid_beat_s = beat_s if exact_tempo else _mma_beat_s(family, tempo_bpm)
    duration_s = form.duration_s + 1.0
    return ComposedSong(stems, form, tempo_bpm, duration_s, grid_beat_s, names, riff, others)


def draw_metre(metres: Sequence[str], rng: np.random.Generator) -> str:
    """One of ``metres``, one named twice twice as often; a single one costs no draw."""
    among = sorted(metres)
    return among[rng.integers(len(among))] if len(set(among)) > 1 else among[0]


def _accompany(
    family: GrooveFamily,
    exact_tempo: bool,
    themes: list[list[list[Chord]]],
    order: list[int],
    tempo_bpm: float,
    rng: np.random.Generator,
) -> list[Part]:
    """The parts of ``family``, which has a groove for each of the ``themes``."""
    grooves = [family.grooves[rng.integers(len(family.grooves))] for _ in themes]
    mma_tempo_bpm = tempo_bpm * family.mma_beats / beats_per_bar(family.metre)
    lines, number = [f"Tempo {mma_tempo_bpm:.3f}"], count(1)
    for theme in order:
        lines.append(f"Groove {family.library_file}:{grooves[theme]}")
        lines += [f"{next(number)} {_mma_bar(chords, family)}" for chords in themes[theme]]
    score = "\n".join(lines) + "\n"
    # mma draws, too: without a seed its grooves' chances would be others in every run
    parts = _run_mma(f"RndSeed {zlib.crc32(score.encode())}\n{score}")
    if exact_tempo:
        factor = 60 / tempo_bpm / _mma_beat_s(family, tempo_bpm)
        for part in parts:
            part.notes = [
                Note(n.start_s * factor, n.end_s * factor, n.pitch, n.velocity) for n in part.notes
            ]
    return parts


def _mma_beat_s(family: GrooveFamily, tempo_bpm: float) -> float:
    """A felt beat as mma plays it: whole beats a minute, whole microseconds a beat."""
    ratio = family.mma_beats / beats_per_bar(family.metre)
    return MICROSECONDS_A_MINUTE // int(round(tempo_bpm * ratio, 3)) * 1e-6 * ratio


def _mma_bar(chords: list[Chord], family: GrooveFamily) -> str:
    """A bar's chords as mma reads them, each with the mma beat that it begins on."""
    if family.metre == "4/4":  # so written that songs of old seeds stay
        return " / ".join(chord.name for chord in chords)
    beats = beats_per_bar(family.metre)
    starts = [1 + s * family.mma_beats / beats for s in chord_starts(len(chords), beats)]
    return " ".join(f"{c.name}@{at:g}" for c, at in zip(chords, starts, strict=True))


def cross_parts(groups: list[list[Part]], rng: np.random.Generator) -> list[Part]:
    """Every stem's parts from one of ``groups``; guitars' and pianos' exchanged half of the time.

    Networks learn otherwise who plays what in which groove, and take unseen music for it.
    """
    crossed: list[Part] = []
    for stem in (*PROGRAMS, "drums", None):
        having = [[part for part in group if stem_of(part) == stem] for group in groups]
        having = [parts for parts in having if parts]
        if having:
            crossed += having[rng.integers(len(having))]
    if rng.random() < 0.5:
        exchanged = {"guitar": PROGRAMS["piano"][0], "piano": PROGRAMS["guitar"][0]}
        for part in crossed:
            part.program = exchanged.get(stem_of(part) or "", part.program)
    return crossed


def _run_mma(score: str) -> list[Part]:
    with tempfile.TemporaryDirectory() as folder:
        source, midi = Path(folder) / "song.mma", Path(folder) / "song.mid"
        source.write_text(score)
        done = subprocess.run(
            ["mma", "-w", str(source), "-f", str(midi)], capture_output=True, text=True, cwd=folder
        )
        if done.returncode or not midi.exists():
            raise Unplayable("mma: " + (done.stdout + done.stderr).strip()[-200:])
        parts = parts_of(read_midi_file(midi))
    if not parts:
        raise Unplayable("mma: no notes")
    return parts


def _assign(parts: list[Part], form: Form, rng: np.random.Generator) -> dict[str, list[Part]]:
    """Give every part to a stem, fill stems that nobody plays, add melodies."""
    stems: dict[str, list[Part]] = {"bass": [], "drums": [], "guitar": [], "piano": []}
    others: list[Part] = []
    for part in parts:
        stem = stem_of(part)
        stems[stem].append(part) if stem else others.append(part)
    if not stems["drums"]:
        raise Unplayable("no drums")
    chordal = ["guitar", "piano"]
    rng.shuffle(chordal)
    for part in others:
        missing = [stem for stem in chordal if not stems[stem]]
        if missing:
            stems[missing[0]].append(part)
        elif rng.random() < 0.3:
            stems[chordal[0]].append(part)
    for one, other in (chordal, chordal[::-1]):
        if len(stems[one]) >= 2 and not stems[other]:
            stems[other].append(stems[one].pop())
    for stem in chordal:
        # grooves often give both instruments the same chords: then one gets a part of its own
        if not stems[stem] or rng.random() < 0.3:
            style = str(rng.choice(["strum", "arpeggio", "block", "stab"]))
            stems[stem] = [Part(0, False, draw_comping(form, style, rng))]
    if not stems["bass"] or rng.random() < 0.15:
        stems["bass"] = [Part(0, False, draw_bass(form, rng))]
    if rng.random() < 0.65:
        melody = Part(0, False, draw_melody(form, rng), "melody")
        soloist = chordal[0]
        if rng.random() < 0.35:  # the melody instead of the chords, not above them
            stems[soloist] = []
        stems[soloist].append(melody)
    for stem, programs in PROGRAMS.items():
        program = int(rng.choice(programs))
        for part in stems[stem]:
            part.is_drum = False
            if part.name == "melody" and len(stems[stem]) > 1 and rng.random() < 0.5:
                part.program = int(rng.choice(programs))
            else:
                part.program = program
    if rng.random() < 0.5:
        shift = int(rng.choice([-12, 12]))
        for part in stems[chordal[1]]:
            mean_pitch = sum(note.pitch for note in part.notes) / max(len(part.notes), 1)
            if 48 <= mean_pitch + shift <= 84:
                part.notes = [replace(n, pitch=min(n.pitch + shift, 108)) for n in part.notes]
    return stems


def _drop_out(
    stems: dict[str, list[Part]], section_s: float, num_sections: int, rng: np.random.Generator
) -> None:
    """Silence a stem in a section now and then, never more than two at once."""
    for section in range(num_sections):
        start_s, end_s = section * section_s, (section + 1) * section_s
        silent = [stem for stem in stems if rng.random() < 0.1][:2]
        for stem in silent:
            for part in stems[stem]:
                part.notes = [n for n in part.notes if not start_s - 0.05 <= n.start_s < end_s]


def humanise(stems: dict[str, list[Part]], rng: np.random.Generator) -> None:
    """Jitter in time and velocity, and a level of dynamics for each part."""
    for stem, parts in stems.items():
        jitter_s = rng.uniform(0, 0.004 if stem == "drums" else 0.01)
        dynamics = rng.uniform(0.75, 1.15)
        for part in parts:
            notes = []
            for note in part.notes:
                shift_s = float(np.clip(rng.normal(0, jitter_s), -0.03, 0.03))
                velocity = int(np.clip(note.velocity * dynamics + rng.normal(0, 4), 15, 127))
                start_s = max(note.start_s + shift_s, 0.0)
                end_s = max(note.end_s + shift_s, start_s)
                notes.append(Note(start_s, end_s, note.pitch, velocity))
            part.notes = notes
