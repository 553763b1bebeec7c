"""What a sequencer shows and plays beside the stems: click, chords as notes, sections."""

from __future__ import annotations

from collections.abc import Iterator

from stemweave.music.chords import Chord
from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet
from stemweave.music.metre import beats_per_bar
from stemweave.music.score import ScoreNote

CLICK, CHORDS = "click", "chords"
GUIDES = (CLICK, CHORDS)
"""Names of tracks that no stem has."""
CLICK_KEYS = (76, 77)
"""General MIDI's high and low wood block, of downbeats and of other beats."""
CLICK_VELOCITIES = (110, 80)
CLICK_BEATS = 0.125
LOWEST_BASS, LOWEST_TONE = 36, 55
CHORD_VELOCITY = 64
SECTION_BARS = 8


def guide_notes(sheet: LeadSheet) -> dict[str, tuple[ScoreNote, ...]]:
    """Notes of the ``GUIDES`` for as long as ``sheet`` knows beats, none where it does not."""
    if sheet.beats_s is None:
        return {}
    num_beats = len(sheet.beats_s) - 1
    return {CLICK: tuple(_clicks(sheet, num_beats)), CHORDS: tuple(_chords(sheet, num_beats))}


def sections(sheet: LeadSheet) -> list[tuple[float, str]]:
    """The beats at which sections of eight bars begin, and their letters: equal chords, equal ones.

    None of a sheet without chords. A shorter last section is like one that begins as it does.
    """
    if sheet.beats_s is None or not sheet.chords:
        return []
    bars = bar_lines(sheet)
    starts = bars[:-1:SECTION_BARS]
    known: list[list[tuple[float, str]]] = []
    found = []
    for start, end in zip(starts, [*starts[1:], bars[-1]], strict=True):
        chords = _chords_between(sheet, start, end)
        alike = [one for one in known if one[: len(chords)] == chords]
        if not alike:
            known.append(chords)
        letter = known.index(alike[0] if alike else chords)
        found.append((float(start), chr(ord("A") + letter % 26)))
    return found


def bar_lines(sheet: LeadSheet) -> list[int]:
    """Beats that begin bars, and the one that ends the last, of a sheet that knows its beats."""
    assert sheet.beats_s is not None
    num_beats = len(sheet.beats_s) - 1
    bar_beats = beats_per_bar(sheet.metre or DEFAULT_METRE)
    lines = list(sheet.downbeats or range(0, num_beats + 1, bar_beats))
    return lines if lines[-1] == num_beats else [*lines, num_beats]


def _clicks(sheet: LeadSheet, num_beats: int) -> Iterator[ScoreNote]:
    downbeats = set(bar_lines(sheet))
    for beat in range(num_beats):
        kind = int(beat not in downbeats)
        yield ScoreNote(beat, beat + CLICK_BEATS, CLICK_KEYS[kind], CLICK_VELOCITIES[kind])


def _chords(sheet: LeadSheet, num_beats: int) -> Iterator[ScoreNote]:
    changes = [change for change in sheet.chords or () if change.start_beat < num_beats]
    ends = [*(change.start_beat for change in changes[1:]), float(num_beats)]
    for change, end in zip(changes, ends, strict=True):
        for pitch in _voicing(change.chord) if change.chord else ():
            yield ScoreNote(max(change.start_beat, 0.0), end, pitch, CHORD_VELOCITY)


def _voicing(chord: Chord) -> list[int]:
    """The bass below, all tones in close position above it."""
    tones = sorted(LOWEST_TONE + (tone - LOWEST_TONE) % 12 for tone in chord.tones)
    return [LOWEST_BASS + (chord.bass - LOWEST_BASS) % 12, *tones]


def _chords_between(sheet: LeadSheet, start: float, end: float) -> list[tuple[float, str]]:
    """What sounds from ``start`` on, and the changes until ``end``, in beats from ``start``."""
    first = sheet.chord_at(start)
    later = [change for change in sheet.chords or () if start < change.start_beat < end]
    return [
        (0.0, first.symbol if first else ""),
        *((one.start_beat - start, one.chord.symbol if one.chord else "") for one in later),
    ]
