"""Scores: notes by part, the four classes, and reading them from MIDI files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pretty_midi

from stemweave.stems import STEMS, stem_of_program


@dataclass(frozen=True)
class Note:
    """Start and end in seconds, MIDI pitch 0–127, velocity 1–127."""

    start_s: float
    end_s: float
    pitch: int
    velocity: int


@dataclass
class Part:
    """The notes of one instrument."""

    program: int
    is_drum: bool
    notes: list[Note] = field(default_factory=list)
    name: str = ""

    @property
    def mean_pitch(self) -> float:
        return sum(note.pitch for note in self.notes) / max(len(self.notes), 1)


class UnreadableMidi(ValueError):
    """A MIDI file that cannot be used; the message says why."""


def read_midi(path: Path) -> list[Part]:
    """Parts with at least one note; raises ``UnreadableMidi``."""
    try:
        midi = pretty_midi.PrettyMIDI(str(path))
    except Exception as error:  # the parser raises whatever a broken byte leads to
        reason = str(error) or type(error).__name__
        raise UnreadableMidi(f"not a MIDI file that can be parsed ({reason})") from error
    parts = []
    for instrument in midi.instruments:
        notes = [Note(note.start, note.end, note.pitch, note.velocity) for note in instrument.notes]
        if notes:
            parts.append(Part(instrument.program, instrument.is_drum, notes, instrument.name))
    if not parts:
        raise UnreadableMidi("no notes")
    return parts


def stem_of(part: Part) -> str | None:
    """Class of a part: drums by channel, the others by program (or a bass by its name)."""
    if part.is_drum:
        return "drums"
    if part.name.lower().startswith(("bass", "walk")):
        return "bass"
    return stem_of_program(part.program)


def classes_of(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """Parts by stem; other instruments (strings, leads, ...) are left out."""
    stems: dict[str, list[Part]] = {stem: [] for stem in STEMS}
    for part in parts:
        stem = stem_of(part)
        if stem is not None:
            stems[stem].append(part)
    return stems


def end_s(stems: Mapping[str, Sequence[Part]]) -> float:
    """When the last note ends; 0 without notes."""
    ends = (note.end_s for parts in stems.values() for part in parts for note in part.notes)
    return max(ends, default=0.0)
