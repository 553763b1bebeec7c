"""What is in a MIDI file: tracks of notes, tempi, time and key signatures, texts; all in ticks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np

from stemweave.errors import InputError
from stemweave.music.guides import GUIDES
from stemweave.music.instruments import stem_of_track
from stemweave.music.metre import parse_metre

MAX_FILE_BYTES = 16 * 2**20
MAX_NOTES = 500_000
MAX_DURATION_S = 6 * 3600.0
DEFAULT_TEMPO = 500_000
"""Microseconds a quarter note until a file says otherwise."""
DRUM_CHANNEL = 9


@dataclass(frozen=True, slots=True)
class TickNote:
    """A note whose start and end are in ticks."""

    start: int
    end: int
    pitch: int
    velocity: int


@dataclass
class MidiTrack:
    """Notes of one program on one channel of a track, in the order in which they end."""

    name: str
    channel: int
    program: int
    notes: list[TickNote] = field(default_factory=list)

    @property
    def is_drum(self) -> bool:
        return self.channel == DRUM_CHANNEL

    @property
    def stem(self) -> str | None:
        """Class of the instrument, None for other instruments than a model's and for guides."""
        if self.name in GUIDES:
            return None
        return stem_of_track(self.program, self.is_drum, self.name)


@dataclass
class MidiSong:
    """A whole file. Ticks are those of ``ticks_per_quarter``; lists are sorted by them.

    Attributes:
        tempi: (tick, microseconds a quarter note).
        metres: (tick, metre).
        keys: (tick, key as mido writes it, e.g. "F#m").
        texts, markers, cues: (tick, text).
        last_tick: of the last event.
    """

    ticks_per_quarter: int
    tempi: list[tuple[int, int]] = field(default_factory=list)
    metres: list[tuple[int, str]] = field(default_factory=list)
    keys: list[tuple[int, str]] = field(default_factory=list)
    texts: list[tuple[int, str]] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)
    cues: list[tuple[int, str]] = field(default_factory=list)
    tracks: list[MidiTrack] = field(default_factory=list)
    last_tick: int = 0

    @property
    def last_note_tick(self) -> int:
        """When the last note ends; 0 without notes."""
        return max((note.end for track in self.tracks for note in track.notes), default=0)

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """Times of ticks, as the tempi say."""
        starts, scales, times = self._segments()
        index = np.searchsorted(starts, ticks, side="right") - 1
        return times[index] + scales[index] * (ticks - starts[index])

    def ticks(self, times_s: np.ndarray) -> np.ndarray:
        """Ticks at times, the inverse of ``seconds``."""
        starts, scales, times = self._segments()
        index = np.clip(np.searchsorted(times, times_s, side="right") - 1, 0, None)
        return starts[index] + (times_s - times[index]) / scales[index]

    def _segments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First tick, seconds a tick and time of every stretch of one tempo."""
        by_tick = {0: DEFAULT_TEMPO, **dict(self.tempi)}
        starts = sorted(by_tick)
        scales = [60.0 / ((6e7 / by_tick[tick]) * self.ticks_per_quarter) for tick in starts]
        times = [0.0]
        for (start, end), scale in zip(pairwise(starts), scales, strict=False):
            times.append(times[-1] + scale * (end - start))
        return np.array(starts), np.array(scales), np.array(times)


def read_midi_file(path: Path) -> MidiSong:
    """Read a MIDI file of format 0 or 1; ``InputError`` says why it cannot be used."""
    try:
        size = path.stat().st_size
        midi = mido.MidiFile(path, clip=True) if size <= MAX_FILE_BYTES else None
    except Exception as error:  # the parser raises whatever a broken byte leads to
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} is not a MIDI file that can be parsed ({reason})") from error
    if midi is None:
        raise InputError(f"{path} is too large for a MIDI file: at most {MAX_FILE_BYTES} bytes")
    if midi.type == 2:
        raise InputError(f"{path} holds independent patterns (MIDI format 2): save it as format 1")
    if not 0 < midi.ticks_per_beat < 2**15:
        raise InputError(
            f"{path} counts time in film frames (SMPTE), not in beats: save it with ticks a beat"
        )
    song = MidiSong(midi.ticks_per_beat)
    for track in midi.tracks:
        _read_track(track, song)
    for events in (song.tempi, song.metres, song.keys, song.texts, song.markers, song.cues):
        events.sort(key=lambda event: event[0])
    notes = sum(len(track.notes) for track in song.tracks)
    duration_s = float(song.seconds(np.array([song.last_note_tick]))[0])
    if notes > MAX_NOTES or duration_s > MAX_DURATION_S:
        raise InputError(
            f"{path} has {notes} notes in {duration_s / 60:.0f} minutes: at most {MAX_NOTES} in "
            f"{MAX_DURATION_S / 60:.0f} can be read"
        )
    return song


def _read_track(track: mido.MidiTrack, song: MidiSong) -> None:
    """Add one track's events and notes to ``song``."""
    tick = 0
    name = ""
    programs = [0] * 16
    sounding: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    parts: dict[tuple[int, int], MidiTrack] = {}
    for event in track:
        tick += event.time
        if event.type == "note_on" and event.velocity > 0:
            sounding[event.channel, event.note].append((tick, event.velocity))
        elif event.type in ("note_off", "note_on"):
            struck = sounding.pop((event.channel, event.note), [])
            closed = [(start, velocity) for start, velocity in struck if start != tick]
            if closed and len(closed) < len(struck):  # struck again before the end of the first
                sounding[event.channel, event.note] = struck[len(closed) :]
            for start, velocity in closed:
                program = programs[event.channel]
                part = parts.setdefault(
                    (program, event.channel), MidiTrack(name, event.channel, program)
                )
                part.notes.append(TickNote(start, tick, event.note, velocity))
        elif event.type == "program_change":
            programs[event.channel] = event.program
        elif event.is_meta:
            name = event.name if event.type == "track_name" else name
            _read_meta(event, tick, song)
    song.last_tick = max(song.last_tick, tick)
    song.tracks += parts.values()


def _read_meta(event: mido.MetaMessage, tick: int, song: MidiSong) -> None:
    if event.type == "set_tempo" and event.tempo > 0:
        song.tempi.append((tick, event.tempo))
    elif event.type == "key_signature":
        song.keys.append((tick, event.key))
    elif event.type in ("text", "marker", "cue_marker"):
        lists = {"text": song.texts, "marker": song.markers, "cue_marker": song.cues}
        lists[event.type].append((tick, event.text))
    elif event.type == "time_signature":
        try:
            metre = parse_metre(f"{event.numerator}/{event.denominator}")
        except InputError:  # none that anybody counts in
            return
        song.metres.append((tick, metre))
