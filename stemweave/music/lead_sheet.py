"""A lead sheet: when the beats are, metre, key, chords, style and instruments of a piece.

Every field may be absent (None), which means unknown. ``sheet.json`` beside a piece keeps it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stemweave.errors import InputError
from stemweave.music.chords import NO_CHORD, Chord, ChordChange, parse_bars, parse_symbol
from stemweave.music.instruments import parse_instruments
from stemweave.music.keys import parse_key
from stemweave.music.metre import beats_per_bar, parse_metre
from stemweave.music.styles import parse_style

SHEET_FILE = "sheet.json"
"""Name of a sheet beside the stems of its piece."""
VERSION = 1
DEFAULT_METRE = "4/4"
MAX_FILE_BYTES = 16 * 2**20
TEMPO_RANGE_BPM = (10.0, 500.0)

Times = TypeVar("Times", float, np.ndarray)


@dataclass(frozen=True)
class LeadSheet:
    """What musicians agree on before they play.

    Attributes:
        beats_s: times of the felt beats in seconds, also of the one that ends the last bar.
        downbeats: indices into ``beats_s`` of the beats that begin bars.
        metre: e.g. "4/4", "3/4", "6/8" (see ``metre``).
        tempo_bpm: median of beats a minute.
        key: e.g. "A minor" (see ``keys``).
        chords: changes, sorted by their start in beats from the first of ``beats_s``.
        style: one of ``styles.STYLES``.
        instruments: class (see ``instruments``) by stem; a missing stem is unknown.

    Raises:
        ValueError: if times or changes are not in order.
    """

    beats_s: tuple[float, ...] | None = None
    downbeats: tuple[int, ...] | None = None
    metre: str | None = None
    tempo_bpm: float | None = None
    key: str | None = None
    chords: tuple[ChordChange, ...] | None = None
    style: str | None = None
    instruments: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.beats_s is not None:
            finite = all(math.isfinite(time) for time in self.beats_s)
            if len(self.beats_s) < 2 or not finite or not _rising(self.beats_s):
                raise ValueError("beats_s must be at least two rising times in seconds")
        if self.downbeats is not None and (
            self.beats_s is None
            or not self.downbeats
            or not _rising(self.downbeats)
            or any(not 0 <= beat < len(self.beats_s) for beat in self.downbeats)
        ):
            raise ValueError("downbeats must be at least one, rising, indices into beats_s")
        if self.chords is not None and not _rising([c.start_beat for c in self.chords]):
            raise ValueError("chords must be sorted by start_beat")

    @property
    def duration_s(self) -> float | None:
        """When the last bar ends, None if beats are unknown."""
        return None if self.beats_s is None else self.beats_s[-1]

    @property
    def has_tempo(self) -> bool:
        """Whether it says when beats are, or at least how fast they follow."""
        return self.beats_s is not None or self.tempo_bpm is not None

    def beat_at(self, time_s: Times) -> Times:
        """Beats from the first one at a time in seconds (or an array of them)."""
        beats_s = self._known_beats()
        return interpolate(time_s, beats_s, np.arange(len(beats_s), dtype=np.float64))

    def time_of(self, beat: Times) -> Times:
        """Seconds of a beat (or of an array of them), fractions between beats included."""
        beats_s = self._known_beats()
        return interpolate(beat, np.arange(len(beats_s), dtype=np.float64), beats_s)

    def chord_at(self, beat: float) -> Chord | None:
        """The chord that sounds at a beat; None: none does, or it is unknown."""
        started = [change for change in self.chords or () if change.start_beat <= beat]
        return started[-1].chord if started else None

    def excerpt(self, start_s: float, end_s: float) -> LeadSheet:
        """The sheet of a cut: from the last beat before it, which may be before 0 s, to its end."""
        beats_s = self._known_beats()
        last = len(beats_s) - 1
        first = min(max(math.floor(self.beat_at(start_s) + 1e-6), 0), last - 1)
        end = min(max(math.ceil(self.beat_at(end_s) - 1e-6), first + 1), last)
        downbeats = [beat - first for beat in self.downbeats or () if first <= beat <= end]
        chords = self.chords
        if chords is not None:
            known = [ChordChange(0.0, c.chord) for c in chords if c.start_beat <= first][-1:]
            later = [c for c in chords if first < c.start_beat < end]
            chords = (*known, *(ChordChange(c.start_beat - first, c.chord) for c in later))
        return replace(
            self,
            beats_s=tuple((beats_s[first : end + 1] - start_s).tolist()),
            downbeats=tuple(downbeats) or None,
            chords=chords,
        )

    def _known_beats(self) -> np.ndarray:
        if self.beats_s is None:
            raise ValueError("this sheet does not know its beats")
        return np.array(self.beats_s)

    @classmethod
    def from_text(
        cls,
        chords: str | None = None,
        tempo_bpm: float | None = None,
        metre: str | None = None,
        key: str | None = None,
        style: str | None = None,
        instruments: Mapping[str, str] | None = None,
        *,
        duration_s: float | None = None,
    ) -> LeadSheet:
        """The sheet of what a user writes; whatever is not given is unknown.

        ``chords`` are bars such as "Am7 | F | C G/B | %" (see ``chords.parse_bars``), in 4/4 if no
        metre is given. With a tempo, beats are known: of the chords' bars, or with ``duration_s``
        of so many whole bars as cover it, over which the chords repeat.

        Raises:
            InputError: for what cannot be understood, or a tempo out of range.
        """
        if tempo_bpm is not None:
            _checked_tempo(tempo_bpm)
        given_metre = None if metre is None else parse_metre(metre)
        bar_beats = beats_per_bar(given_metre or DEFAULT_METRE)
        bars = [] if chords is None else parse_bars(chords, given_metre or DEFAULT_METRE)
        num_bars = len(bars)
        if tempo_bpm is not None and duration_s is not None:
            bar_s = bar_beats * 60 / tempo_bpm
            num_bars = max(math.ceil(duration_s / bar_s - 1e-6), 1)
        knows_bars = given_metre is not None or bool(bars)
        beats_s = downbeats = None
        if tempo_bpm is not None and num_bars:
            beats_s = steady_beats(tempo_bpm, num_bars * bar_beats)
            downbeats = tuple(range(0, len(beats_s), bar_beats)) if knows_bars else None
        return cls(
            beats_s,
            downbeats,
            (given_metre or DEFAULT_METRE) if knows_bars else None,
            tempo_bpm,
            None if key is None else parse_key(key),
            changes_of_bars(bars, bar_beats, num_bars) if bars else None,
            None if style is None else parse_style(style),
            parse_instruments(instruments or {}),
        )

    def to_json(self) -> str:
        """The text of ``sheet.json``; ``from_json`` gives an equal sheet."""
        changes = None
        if self.chords is not None:
            changes = [[c.start_beat, c.chord.symbol if c.chord else NO_CHORD] for c in self.chords]
        described = {
            "version": VERSION,
            "tempo_bpm": self.tempo_bpm,
            "metre": self.metre,
            "key": self.key,
            "style": self.style,
            "instruments": dict(self.instruments) or None,
            "chords": changes,
            "downbeats": self.downbeats,
            "beats_s": self.beats_s,
        }
        lines = [f' "{k}": {json.dumps(v)}' for k, v in described.items() if v is not None]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> LeadSheet:
        """Read the text of a ``sheet.json``; ``InputError`` if it is none."""
        try:
            given = json.loads(text)
            if not isinstance(given, dict):
                raise ValueError("an object of fields is expected")
            version = given.pop("version", None)
            if version != VERSION:
                raise ValueError(f"version {version} is unknown, expected {VERSION}")
            return cls(**_fields(given))
        except (ValueError, RecursionError) as error:
            raise InputError(f"not a sheet: {error}") from error


def read_sheet(path: Path) -> LeadSheet:
    """Read a ``sheet.json``; ``InputError`` that names it if it cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is too large for a sheet: at most {MAX_FILE_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a sheet: it is no text") from error
    try:
        return LeadSheet.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def steady_beats(tempo_bpm: float, num_beats: int) -> tuple[float, ...]:
    """Times of ``num_beats`` beats and of the one that ends the last, from 0 s."""
    return tuple(beat * 60 / tempo_bpm for beat in range(num_beats + 1))


def changes_of_bars(
    bars: Sequence[Sequence[ChordChange]], bar_beats: int, num_bars: int
) -> tuple[ChordChange, ...]:
    """Changes of ``num_bars`` bars, whose own count from 0; a chord that goes on is no change."""
    changes: list[ChordChange] = []
    for number in range(num_bars):
        for change in bars[number % len(bars)]:
            if not changes or changes[-1].chord != change.chord:
                start_beat = number * bar_beats + change.start_beat
                changes.append(ChordChange(start_beat, change.chord))
    return tuple(changes)


def _rising(values: Sequence[float]) -> bool:
    return all(one < other for one, other in pairwise(values))


def interpolate(at: Times, known: np.ndarray, values: np.ndarray) -> Times:
    """``values`` at ``known`` points, between them and outside as the first or last two go on."""
    last = len(known) - 2
    index = np.clip(np.searchsorted(known, at, side="right") - 1, 0, last)
    share = (at - known[index]) / (known[index + 1] - known[index])
    result = values[index] + share * (values[index + 1] - values[index])
    return result if isinstance(at, np.ndarray) else float(result)


def _checked_tempo(tempo_bpm: float) -> float:
    low, high = TEMPO_RANGE_BPM
    if not low <= tempo_bpm <= high:
        raise InputError(
            f"a tempo of {tempo_bpm:g} is out of range: {low:g} to {high:g} beats a minute"
        )
    return tempo_bpm


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``LeadSheet`` from a JSON object, each of the right type and known by name."""
    readers = {
        "beats_s": lambda value: tuple(_number(time) for time in _list(value)),
        "downbeats": lambda value: tuple(_integer(beat) for beat in _list(value)),
        "metre": lambda value: parse_metre(_text(value)),
        "tempo_bpm": lambda value: _checked_tempo(_number(value)),
        "key": lambda value: parse_key(_text(value)),
        "chords": lambda value: tuple(_change(change) for change in _list(value)),
        "style": lambda value: parse_style(_text(value)),
        "instruments": _instruments,
    }
    unknown = sorted(set(given) - set(readers))
    if unknown:
        raise ValueError(f"unknown field {unknown[0]}")
    fields = {}
    for name, value in given.items():
        if value is not None:
            try:
                fields[name] = readers[name](value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    return fields


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"text is expected, not {value}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a number is expected, not {value}")
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a whole number is expected, not {value}")
    return value


def _change(value: Any) -> ChordChange:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f'[start_beat, "symbol"] is expected, not {value}')
    return ChordChange(_number(value[0]), parse_symbol(_text(value[1])))


def _instruments(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("an object of stems is expected")
    return parse_instruments({stem: _text(name) for stem, name in value.items()})
