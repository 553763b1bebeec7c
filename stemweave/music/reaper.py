"""Reaper's project file: nested chunks of text, ``<NAME ... >``, a line for each setting.

After ReaTeam's "State Chunk Definitions" and files that Reaper writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stemweave.music.midi_file import MidiTrack
from stemweave.music.session import Session

SQUARE = 1
"""Shape of an envelope that keeps each value until the next point."""
SETS_METRE = 1
ALL_NOTES_OFF = (0xB0, 123, 0)


def reaper_project(session: Session) -> str:
    """The text of ``session``'s .rpp; sounds are named by their last two parts."""
    rate = max(info.sample_rate for info in session.infos.values())
    tempo_map = session.tempo_map()
    numerator, denominator = tempo_map[0].metre or (4, 4)
    start_s, end_s = session.loop_s or (0.0, 0.0)
    sounds: list[str] = []
    for stem, path in session.sounds.items():
        source = _chunk("SOURCE WAVE", [f"FILE {_quoted('/'.join(path.parts[-2:]))}"])
        sounds += _track(stem, session.start_s, session.infos[stem].duration_s, source)
    lines = _chunk(
        'REAPER_PROJECT 0.1 "7.0/stemweave" 0',
        [
            f"TEMPO {tempo_map[0].tempo_bpm:.10f} {numerator} {denominator}",
            f"SAMPLERATE {rate} 0 0",
            f"LOOP {int(session.loop_s is not None)}",
            f"SELECTION {start_s:.10f} {end_s:.10f}",
            *_markers(session),
            *_chunk("TEMPOENVEX", ["ACT 1 -1", "VIS 1 0 1", *_tempo_points(session)]),
            *sounds,
            *(line for track in session.note_tracks for line in _note_track(session, track)),
        ],
    )
    return "\n".join(lines) + "\n"


def _chunk(head: str, lines: Iterable[str]) -> list[str]:
    return [f"<{head}", *(f"  {line}" for line in lines), ">"]


def _quoted(text: str) -> str:
    """Reaper takes three kinds of quotes and no escapes."""
    plain = " ".join(text.split())
    quote = next((one for one in "\"'`" if one not in plain), "`")
    return f"{quote}{plain.replace('`', chr(39)) if quote == '`' else plain}{quote}"


def _markers(session: Session) -> Iterator[str]:
    """Chords as markers; sections as regions, which have two lines each."""
    for number, (tick, chord) in enumerate(session.midi.markers, start=1):
        yield f"MARKER {number} {session.time_s(tick):.10f} {_quoted(chord)} 0"
    cues = session.midi.cues
    ends_s = [*(session.time_s(tick) for tick, _ in cues[1:]), session.end_s]
    for number, ((tick, name), end_s) in enumerate(zip(cues, ends_s, strict=True), start=1):
        yield f"MARKER {number} {session.time_s(tick):.10f} {_quoted(name)} 1"
        yield f'MARKER {number} {end_s:.10f} "" 1'


def _tempo_points(session: Session) -> Iterator[str]:
    for point in session.tempo_map():
        metre = ""
        if point.metre is not None:
            numerator, denominator = point.metre
            metre = f" {denominator << 16 | numerator} 0 {SETS_METRE}"
        yield f"PT {point.time_s:.12f} {point.tempo_bpm:.10f} {SQUARE}{metre}"


def _note_track(session: Session, track: MidiTrack) -> list[str]:
    events = [(note.start, 1, (0x90, note.pitch, note.velocity)) for note in track.notes]
    events += [(note.end, 0, (0x80, note.pitch, 0)) for note in track.notes]
    last = max(session.midi.last_tick, max(note.end for note in track.notes))
    events.append((last, 2, ALL_NOTES_OFF))
    lines = [f"HASDATA 1 {session.midi.ticks_per_quarter} QN"]
    now = 0
    for tick, _, (status, first, second) in sorted(events):
        lines.append(f"E {tick - now} {status | track.channel:02x} {first:02x} {second:02x}")
        now = tick
    source = _chunk("SOURCE MIDI", lines)
    return _track(f"{track.name} notes", 0.0, session.time_s(last), source)


def _track(name: str, start_s: float, duration_s: float, source: list[str]) -> list[str]:
    place = [f"POSITION {start_s:.12f}", f"LENGTH {duration_s:.12f}", "LOOP 0"]
    item = _chunk("ITEM", [*place, f"NAME {_quoted(name)}", *source])
    return _chunk("TRACK", [f"NAME {_quoted(name)}", *item])
