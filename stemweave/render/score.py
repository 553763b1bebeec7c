"""Parts: the notes of each instrument in seconds, and the four classes that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stemweave.music.instruments import stem_of_track
from stemweave.music.midi_file import MidiSong
from stemweave.stems import STEMS


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


def parts_of(song: MidiSong) -> list[Part]:
    """Parts with at least one note of a MIDI file."""
    parts = []
    for track in song.tracks:
        if track.notes:
            times = song.seconds(np.array([(note.start, note.end) for note in track.notes]))
            notes = [
                Note(start_s, end_s, note.pitch, note.velocity)
                for (start_s, end_s), note in zip(times.tolist(), track.notes, strict=True)
            ]
            parts.append(Part(track.program, track.is_drum, notes, track.name))
    return parts


def stem_of(part: Part) -> str | None:
    """Class of a part, as ``stem_of_track`` says."""
    return stem_of_track(part.program, part.is_drum, part.name)


def classes_of(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """Parts by stem; other instruments (strings, leads, ...) are left out."""
    stems: dict[str, list[Part]] = {stem: [] for stem in STEMS}
    for part in parts:
        stem = stem_of(part)
        if stem is not None:
            stems[stem].append(part)
    return stems


def others_of(parts: Sequence[Part]) -> list[Part]:
    """Parts of no stem."""
    return [part for part in parts if stem_of(part) is None]


def end_s(stems: Mapping[str, Sequence[Part]]) -> float:
    """When the last note ends; 0 without notes."""
    ends = (note.end_s for parts in stems.values() for part in parts for note in part.notes)
    return max(ends, default=0.0)
