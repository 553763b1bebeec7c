"""MIDI files as scores with their sheets: ours exactly, other people's as far as they say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stemweave.errors import InputError
from stemweave.music.chords import ChordChange, parse_symbol
from stemweave.music.estimate import estimate_chords, estimate_key
from stemweave.music.guides import GUIDES
from stemweave.music.instruments import instrument_of, parse_instruments
from stemweave.music.keys import key_name, parse_key, tonic_of
from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet, interpolate
from stemweave.music.metre import beats_per_bar, parse_metre, quarters_per_beat
from stemweave.music.midi_file import MidiSong, MidiTrack, TickNote, read_midi_file
from stemweave.music.midi_out import SCORE_FILE, SIGN, write_midi
from stemweave.music.score import Score, ScoreNote, playable
from stemweave.music.styles import parse_style

__all__ = ["SCORE_FILE", "part_of", "read_midi", "score_and_sheet", "write_midi"]

MAX_BEATS = 200_000


def read_midi(path: Path) -> tuple[Score, LeadSheet]:
    """Score and sheet of a MIDI file; raises ``InputError`` that says why it cannot be used.

    From other people's files: beats and bars from tempi and time signatures (4/4 without one),
    chords from markers if all are chords, else from the notes, key from signature and notes,
    instruments from programs. Stems that the file does not have are missing in the score.
    """
    song = read_midi_file(path)
    try:
        return score_and_sheet(song)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no score that can be read: {error}") from error


def score_and_sheet(song: MidiSong) -> tuple[Score, LeadSheet]:
    """What ``read_midi`` gives, of a file that is already read."""
    said = _what_we_said(song)
    return _of_others(song) if said is None else _of_ours(song, said)


def part_of(song: MidiSong, stem: str) -> tuple[ScoreNote, ...]:
    """Notes of ``stem`` in a file, else of its one instrument; raises ``InputError`` without."""
    own = score_and_sheet(song)[0].notes.get(stem)
    if own:
        return own
    is_drums = stem == "drums"
    tracks = [one for one in song.tracks if one.notes and one.name not in GUIDES]
    fitting = [track for track in tracks if track.is_drum == is_drums]
    if len(fitting) != 1:
        many = "several instruments, none of them" if fitting else "no"
        raise InputError(f"the MIDI file has {many} {stem}: leave one part in it")
    return _score_notes(fitting[0].notes, _bars(song)[0])


def _what_we_said(song: MidiSong) -> dict[str, Any] | None:
    """Our text at the beginning, None in files of others."""
    for tick, text in song.texts:
        if tick == 0 and text.startswith(SIGN):
            said = json.loads(text.removeprefix(SIGN))
            if not isinstance(said, dict) or said.get("version") != 1:
                raise ValueError("its sheet is of an unknown version")
            return said
    return None


def _of_ours(song: MidiSong, said: Mapping[str, Any]) -> tuple[Score, LeadSheet]:
    unknown = set(said.get("unknown", ()))
    metre = parse_metre(said["metre"])
    beat_ticks = quarters_per_beat(metre) * song.ticks_per_quarter
    first_tick = said.get("first_quarter", 0) * song.ticks_per_quarter
    bar_beats = beats_per_bar(metre)
    num_beats = int(said["beats"])
    written = (song.last_note_tick - first_tick) / beat_ticks
    if written > max(num_beats, said.get("ends", 0)) + bar_beats:  # somebody has gone on writing
        num_beats = math.ceil(written / bar_beats) * bar_beats
    if not 1 <= num_beats <= MAX_BEATS:
        raise ValueError(f"it has {num_beats} beats")
    ticks = first_tick + np.arange(num_beats + 1) * beat_ticks
    beats_s = song.seconds(ticks) + said.get("start_s", 0.0)
    if beats_s[0] < said.get("first_beat_s", 0.0) < beats_s[1]:
        beats_s[0] = said["first_beat_s"]
    downbeats = said.get("downbeats") or range(0, num_beats + 1, bar_beats)
    instruments = parse_instruments(said.get("instruments", {}))
    tracks = {one.name: one for one in song.tracks if one.notes and one.name not in GUIDES}
    for stem in set(instruments) & set(tracks):  # somebody may have chosen another program
        instrument = instrument_of(stem, tracks[stem].program)
        instruments[stem] = instrument or instruments[stem]
    notes = {stem: _score_notes(track.notes, ticks) for stem, track in tracks.items()}
    fields: dict[str, Any] = {
        "beats_s": tuple(beats_s.tolist()),
        "downbeats": tuple(downbeats),
        "metre": metre,
        "tempo_bpm": _median_tempo(beats_s),
        "key": _signed_key(song),
        "chords": _marked_chords(song, ticks) or (),
    }
    sheet = LeadSheet(
        **{name: value for name, value in fields.items() if name not in unknown},
        style=None if "style" not in said else parse_style(said["style"]),
        instruments=instruments,
    )
    return Score({**{stem: () for stem in said.get("silent", ())}, **notes}), sheet


def _of_others(song: MidiSong) -> tuple[Score, LeadSheet]:
    ticks, downbeats, metre = _bars(song)
    beats_s = song.seconds(ticks)
    stems: dict[str, list[MidiTrack]] = {}
    for track in song.tracks:
        if track.stem is not None and track.notes:
            stems.setdefault(track.stem, []).append(track)
    notes = {
        stem: _score_notes([note for track in tracks for note in track.notes], ticks)
        for stem, tracks in stems.items()
    }
    pitched = [note for track in song.tracks if not track.is_drum for note in track.notes]
    harmony = _score_notes(pitched, ticks)
    key = _likely_key(song, harmony)
    chords = _marked_chords(song, ticks) if _markers_are_chords(song) else None
    if chords is None and harmony:
        chords = estimate_chords(harmony, len(ticks) - 1, downbeats, key)
    sheet = LeadSheet(
        tuple(beats_s.tolist()),
        downbeats,
        metre,
        _median_tempo(beats_s),
        key,
        chords,
        instruments=_instruments(stems),
    )
    return Score(notes), sheet


def _bars(song: MidiSong) -> tuple[np.ndarray, tuple[int, ...], str]:
    """Ticks of beats, indices of those that begin bars, and the metre of most of the file."""
    metres = dict(song.metres)
    metres.setdefault(0, DEFAULT_METRE)
    starts = sorted(metres)
    last = max(song.last_note_tick, 1)
    ticks: list[float] = []
    downbeats: list[int] = []
    share: dict[str, float] = {}
    for start, until in zip(starts, [*starts[1:], math.inf], strict=True):
        if start >= last:
            break
        metre = metres[start]
        step = quarters_per_beat(metre) * song.ticks_per_quarter
        bar = beats_per_bar(metre) * step
        end = until if until < last else start + math.ceil((last - start) / bar) * bar
        if (end - start) / step > MAX_BEATS:
            raise ValueError(f"it has more than {MAX_BEATS} beats")
        share[metre] = share.get(metre, 0.0) + end - start
        for index, tick in enumerate(np.arange(start, end - 1e-6, step)):
            if index % beats_per_bar(metre) == 0:
                downbeats.append(len(ticks))
            ticks.append(float(tick))
    downbeats.append(len(ticks))
    return np.array([*ticks, end]), tuple(downbeats), max(share, key=lambda metre: share[metre])


def _score_notes(notes: Iterable[TickNote], beat_ticks: np.ndarray) -> tuple[ScoreNote, ...]:
    """Notes in beats; what begins before the first beat or ends after the last counts on."""
    listed = list(notes)
    if not listed:
        return ()
    ends = np.array([(note.start, note.end) for note in listed], np.float64)
    beats = interpolate(ends, beat_ticks, np.arange(len(beat_ticks), dtype=np.float64))
    return playable(
        ScoreNote(float(start), float(end), note.pitch, note.velocity)
        for (start, end), note in zip(beats, listed, strict=True)
    )


def _median_tempo(beats_s: np.ndarray) -> float:
    return round(60 / float(np.median(np.diff(beats_s))), 3)


def _signed_key(song: MidiSong) -> str | None:
    return parse_key(song.keys[0][1]) if song.keys else None


def _likely_key(song: MidiSong, harmony: Sequence[ScoreNote]) -> str | None:
    """By signature and notes: many files are in C major only by name, minor ones in major."""
    signed = _signed_key(song)
    if signed is None or signed == "C major":
        return estimate_key(harmony)
    tonic, minor = tonic_of(signed)
    if minor or not harmony:
        return signed
    return estimate_key(harmony, among=(signed, key_name(tonic + 9, minor=True)))


def _markers_are_chords(song: MidiSong) -> bool:
    """Whether every marker is a chord, and not all are letters, which name sections, too."""
    texts = [text.strip() for _, text in song.markers]
    if not any(len(text) > 1 for text in texts):
        return False
    try:
        for text in texts:
            parse_symbol(text)
    except InputError:
        return False
    return True


def _marked_chords(song: MidiSong, beat_ticks: np.ndarray) -> tuple[ChordChange, ...]:
    beats = np.arange(len(beat_ticks), dtype=np.float64)
    at = np.array([tick for tick, _ in song.markers], np.float64)
    starts = interpolate(at, beat_ticks, beats) if len(at) else at
    changes = {
        float(start): ChordChange(float(start), parse_symbol(text))
        for start, (_, text) in zip(starts, song.markers, strict=True)
    }
    return tuple(changes.values())


def _instruments(stems: Mapping[str, Sequence[MidiTrack]]) -> dict[str, str]:
    """Class of the program that plays most of each stem's notes, where it has one."""
    classes = {}
    for stem, tracks in stems.items():
        most = max(tracks, key=lambda track: len(track.notes))
        classes[stem] = instrument_of(stem, most.program)
    return {stem: instrument for stem, instrument in classes.items() if instrument is not None}
