"""A piece as a DAW sees it: tracks of sound and of notes over one tempo map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemweave.io.decode import AudioInfo
from stemweave.music.lead_sheet import DEFAULT_METRE
from stemweave.music.metre import numbers_of
from stemweave.music.midi_file import DEFAULT_TEMPO, MidiSong, MidiTrack


@dataclass(frozen=True)
class TempoPoint:
    """From ``tick`` on: quarter notes a minute, and the metre where it begins or changes."""

    tick: int
    time_s: float
    tempo_bpm: float
    metre: tuple[int, int] | None


@dataclass(frozen=True)
class Session:
    """All times are those of ``midi``, the piece's MIDI file, which has tempi, markers and notes.

    Every stem begins at ``start_s``; ``sounds`` are files by stem, perhaps not made yet, of which
    ``infos`` say what they will hold; ``loop_s`` is repeated.
    """

    title: str
    midi: MidiSong
    start_s: float
    sounds: dict[str, Path]
    infos: dict[str, AudioInfo]
    loop_s: tuple[float, float] | None = None
    style: str | None = None

    @property
    def note_tracks(self) -> list[MidiTrack]:
        return [track for track in self.midi.tracks if track.notes]

    @property
    def end_s(self) -> float:
        """When the last stem ends."""
        return self.start_s + max(info.duration_s for info in self.infos.values())

    def tempo_map(self) -> list[TempoPoint]:
        """Where tempo or metre change, from tick 0 on."""
        tempi = {0: DEFAULT_TEMPO, **dict(self.midi.tempi)}
        metres = {0: DEFAULT_METRE, **dict(self.midi.metres)}
        points = []
        tempo = tempi[0]
        for tick in sorted(tempi | metres):
            tempo = tempi.get(tick, tempo)
            metre = numbers_of(metres[tick]) if tick in metres else None
            points.append(TempoPoint(tick, self.time_s(tick), 6e7 / tempo, metre))
        return points

    def time_s(self, tick: int) -> float:
        return float(self.midi.seconds(np.array([tick]))[0])

    def quarter(self, time_s: float) -> float:
        """Quarter notes from the beginning to a time."""
        return float(self.midi.ticks(np.array([time_s]))[0]) / self.midi.ticks_per_quarter
