"""Scores with their sheets as MIDI files that any sequencer opens on the grid.

Format 1, 960 ticks a quarter note: a track of tempi, signatures and chords as markers, and one for
every stem. A text at the beginning says what MIDI cannot: unknown fields, style, instruments.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np

from stemweave.errors import InputError
from stemweave.io.files import appearing
from stemweave.music.chords import NO_CHORD
from stemweave.music.guides import CLICK, guide_notes, sections
from stemweave.music.instruments import INSTRUMENTS
from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet
from stemweave.music.metre import beats_per_bar, is_compound, numbers_of, quarters_per_beat
from stemweave.music.midi_file import DRUM_CHANNEL
from stemweave.music.score import Score, ScoreNote, playable

SCORE_FILE = "score.mid"
"""Name of a score beside the stems of its piece."""
TICKS_PER_QUARTER = 960
SIGN = "stemweave sheet "
"""Begins the text that says what MIDI cannot."""
DEFAULT_TEMPO_BPM = 120.0
DEFAULT_PROGRAMS = {"bass": 33, "guitar": 25}
"""Programs of stems whose instrument is unknown; others sound as a piano."""
LARGEST_TIMING_ERROR_S = 1e-4
"""A tempo goes on while beats are no further off than this."""
SHORTEST_LEAD_IN_S = 0.005
"""A first beat that comes sooner begins the file: no sequencer has a tempo for so short a bar."""
MAX_MICROSECONDS = 2**24 - 1
Events = list[tuple[int, int, mido.Message | mido.MetaMessage]]
"""Tick, rank among events of one tick, event."""


def write_midi(path: Path, score: Score, sheet: LeadSheet, guides: bool = False) -> None:
    """Write ``score`` and everything that ``sheet`` knows; ``read_midi`` gives both again.

    A sheet that does not know its beats has them at its tempo, or 120 a minute. ``guides`` adds a
    click, the chords as notes, and sections as cue points, which ``read_midi`` leaves out.

    Raises:
        InputError: if there are more stems than MIDI channels, or the file cannot be written.
    """
    grid = _Grid(sheet, score)
    midi = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER)
    conductor = [
        *_tempo_events(grid),
        *_bar_events(grid, sheet),
        *_sheet_events(grid, sheet, score),
    ]
    if guides:
        for beat, letter in sections(sheet):
            conductor.append((grid.tick(beat), 2, mido.MetaMessage("cue_marker", text=letter)))
    midi.tracks.append(_track(conductor, "sheet", grid.end_tick))
    channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    for stem, notes in {**score.notes, **(guide_notes(sheet) if guides else {})}.items():
        is_drum = stem in ("drums", CLICK)
        if not is_drum and not channels:
            raise InputError(f"{path} cannot hold more than 15 stems beside drums")
        channel = DRUM_CHANNEL if is_drum else channels.pop(0)
        events = _note_events(playable(notes), grid, channel)
        program = _program(stem, sheet.instruments.get(stem))
        events.append((0, 0, mido.Message("program_change", channel=channel, program=program)))
        midi.tracks.append(_track(events, stem, 0))
    try:
        with appearing(path) as partial:
            midi.save(partial)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


class _Grid:
    """Where beats are in ticks. Before the first beat there may be a short bar of nothing."""

    def __init__(self, sheet: LeadSheet, score: Score) -> None:
        self.metre = sheet.metre or DEFAULT_METRE
        self.beat_ticks = round(quarters_per_beat(self.metre) * TICKS_PER_QUARTER)
        if sheet.beats_s is None:
            beat_s = 60 / (sheet.tempo_bpm or DEFAULT_TEMPO_BPM)
            last = max(score.end_beat, sheet.chords[-1].start_beat + 1 if sheet.chords else 1.0)
            self.beats_s = np.arange(int(np.ceil(last)) + 1) * beat_s
        else:
            self.beats_s = np.array(sheet.beats_s)
        self.first_beat_s = float(self.beats_s[0])
        if 0 < self.first_beat_s < SHORTEST_LEAD_IN_S:
            self.beats_s[0] = 0.0
        self.first_tick = self._lead_in_ticks()
        self.end_tick = self.first_tick + (len(self.beats_s) - 1) * self.beat_ticks

    def _lead_in_ticks(self) -> int:
        """Ticks before the first beat, so many that their tempo is near that of the beats."""
        start_s = self.beats_s[0]
        if start_s <= 0:
            return 0
        beat_s = self.beats_s[1] - start_s
        if start_s >= beat_s:
            return round(float(start_s / beat_s)) * self.beat_ticks
        ticks = start_s / beat_s * self.beat_ticks
        units = (4, 8, 16, 32, 64)  # the denominator of a bar of one note
        return min(
            (TICKS_PER_QUARTER * 4 // unit for unit in units),
            key=lambda one: abs(math.log(one / ticks)),
        )

    def tick(self, beat: float) -> int:
        return max(self.first_tick + round(beat * self.beat_ticks), 0)


def _tempo_events(grid: _Grid) -> Events:
    """As few tempi as keep every beat at its time; errors do not add up."""
    ticks = [grid.first_tick + index * grid.beat_ticks for index in range(len(grid.beats_s))]
    times = [float(time) for time in grid.beats_s]
    if grid.first_tick:
        ticks, times = [0, *ticks], [0.0, *times]
    shift_s = times[0]  # of beats before the file's beginning
    events: Events = []
    now_s, tempo = 0.0, 0
    for (tick, end), until in zip(pairwise(ticks), times[1:], strict=True):
        quarters = (end - tick) / TICKS_PER_QUARTER
        if abs(now_s + tempo * 1e-6 * quarters - (until - shift_s)) > LARGEST_TIMING_ERROR_S:
            wanted = round((until - shift_s - now_s) / quarters * 1e6)
            tempo = min(max(wanted, 1), MAX_MICROSECONDS)
            events.append((tick, 1, mido.MetaMessage("set_tempo", tempo=tempo)))
        now_s += tempo * 1e-6 * quarters
    return events


def _bar_events(grid: _Grid, sheet: LeadSheet) -> Events:
    """Time signatures: of the metre, and of bars that are longer or shorter."""
    num_beats = len(grid.beats_s) - 1
    bar_beats = beats_per_bar(grid.metre)
    downbeats = list(sheet.downbeats) if sheet.downbeats else [0]
    starts = [beat for beat in downbeats if beat < num_beats]
    if not starts or starts[0] > 0:
        starts = [0, *starts]
    lengths = [end - start for start, end in pairwise(starts)] + [bar_beats]
    numerator, unit = numbers_of(grid.metre)
    events: Events = []
    if grid.first_tick:  # the bar of nothing before the first beat
        count, rest = divmod(grid.first_tick, grid.beat_ticks)
        lead_in = 1, TICKS_PER_QUARTER * 4 // grid.first_tick
        if rest == 0:
            lead_in = min(count * (3 if is_compound(grid.metre) else 1), 255), unit
        events.append((0, 1, _time_signature(*lead_in)))
    current = 0
    for start, length in zip(starts, lengths, strict=True):
        if length % bar_beats == 0:  # also bars whose lines the sheet does not give
            length = bar_beats
        if length != current:
            current = length
            beats = min(numerator * length // bar_beats, 255)
            events.append((grid.tick(start), 1, _time_signature(beats, unit)))
    return events


def _time_signature(numerator: int, denominator: int) -> mido.MetaMessage:
    return mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)


def _sheet_events(grid: _Grid, sheet: LeadSheet, score: Score) -> Events:
    """Our text, key and chords."""
    num_beats = len(grid.beats_s) - 1
    said: dict[str, Any] = {"version": 1, "metre": grid.metre, "beats": num_beats}
    fields = ("beats_s", "downbeats", "metre", "tempo_bpm", "key", "chords")
    unknown = [name for name in fields if getattr(sheet, name) is None]
    if grid.first_tick:
        said["first_quarter"] = grid.first_tick / TICKS_PER_QUARTER
    if grid.beats_s[0] < 0:
        said["start_s"] = grid.first_beat_s
    elif grid.first_beat_s != grid.beats_s[0]:
        said["first_beat_s"] = grid.first_beat_s
    if score.end_beat > num_beats:
        said["ends"] = score.end_beat
    regular = tuple(range(0, num_beats + 1, beats_per_bar(grid.metre)))
    if sheet.downbeats not in (None, regular):
        said["downbeats"] = sheet.downbeats
    for name, value in (
        ("unknown", unknown),
        ("style", sheet.style),
        ("instruments", dict(sheet.instruments)),
        ("silent", [stem for stem, notes in score.notes.items() if not notes]),
    ):
        if value:
            said[name] = value
    events: Events = [(0, 0, mido.MetaMessage("text", text=SIGN + json.dumps(said)))]
    if sheet.key is not None:
        tonic, mode = sheet.key.split()
        key = tonic + ("m" if mode == "minor" else "")
        events.append((0, 1, mido.MetaMessage("key_signature", key=key)))
    for change in sheet.chords or ():
        symbol = change.chord.symbol if change.chord else NO_CHORD
        events.append((grid.tick(change.start_beat), 2, mido.MetaMessage("marker", text=symbol)))
    return events


def _note_events(notes: Iterable[ScoreNote], grid: _Grid, channel: int) -> Events:
    """On and off of every note; a note of no length is one tick long."""
    events: Events = []
    for note in notes:
        start = grid.tick(note.start_beat)
        end = max(grid.tick(note.end_beat), start + 1)
        on = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
        off = mido.Message("note_off", channel=channel, note=note.pitch)
        events += [(start, 2, on), (end, 1, off)]
    return events


def _program(stem: str, instrument: str | None) -> int:
    if instrument is None:
        return DEFAULT_PROGRAMS.get(stem, 0)
    return INSTRUMENTS[stem][instrument][0]


def _track(events: Events, name: str, end_tick: int) -> mido.MidiTrack:
    """A track in order of time, until ``end_tick`` at least."""
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    now = 0
    for tick, _, event in sorted(events, key=lambda event: event[:2]):
        track.append(event.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(end_tick - now, 0)))
    return track
