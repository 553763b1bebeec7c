"""Chord symbols: what a musician writes, as pitch classes; and bars of them as text.

pychord knows the qualities; other spellings ("CΔ", "C°", "Cmi7") become ones that it knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pychord import Chord as NamedChord
from pychord.quality import Quality, QualityManager
from pychord.utils import note_to_val

from stemweave.errors import InputError
from stemweave.music.metre import beats_per_bar, chord_starts

NO_CHORD = "N.C."
NO_CHORD_SPELLINGS = ("n.c.", "nc", "n.c", "n", "-")
REPEATED_BAR = "%"
SAME_CHORD = "/"

SPELLINGS = (
    ("♭", "b"), ("♯", "#"), ("Δ7", "maj7"), ("△7", "maj7"), ("Δ", "maj7"), ("△", "maj7"),
    ("ø7", "m7b5"), ("ø", "m7b5"), ("°", "dim"), ("6/9", "69"),
)  # fmt: skip
"""Signs for what pychord writes in letters."""

QUALITY_SPELLINGS = (
    (r"^(?:minor|min|Min|MIN|mi|Mi|-|m)(?:major|maj|Maj|ma|Ma|M)7?$", "mmaj7"),
    (r"^(?:major|Maj|MAJ|Ma|ma)(?![a-z])", "maj"),
    (r"^(?:minor|Min|MIN|min|mi|Mi)(?![a-z])", "m"),
    (r"^-(?=\d)", "m"),
    (r"^M$", "maj"),
    (r"^\+(?=$|\d)", "aug"),
    (r"^aug7", "7#5"),
    (r"^aug9", "9#5"),
    (r"^dom", ""),
    (r"^maj6", "6"),
    (r"alt$", "#9#5"),
    (r"^sus9", "9sus4"),
    (r"^sus7", "7sus4"),
    (r"sus$", "sus4"),
)
"""Parts of qualities that others write otherwise than pychord."""

MINOR_THIRTEENTH = ("1", "b3", "5", "b7", "9", "11", "13")
"""What "m13" is, which pychord lacks."""


@dataclass(frozen=True)
class Chord:
    """A chord by its canonical symbol, e.g. "Am7", "C/E"; pitch classes are 0–11 from C.

    ``tones`` go from the root up, without a bass note that is none of them; ``bass`` is the root
    but in slash chords.
    """

    symbol: str
    root: int
    tones: tuple[int, ...]
    bass: int

    @property
    def rows(self) -> list[int]:
        """Which of 36 rows are one: root, tones and bass, a dozen pitch classes each."""
        return [self.root, *(12 + tone for tone in self.tones), 24 + self.bass]


@dataclass(frozen=True)
class ChordChange:
    """A chord from ``start_beat`` to the next change; None: no chord is played."""

    start_beat: float
    chord: Chord | None


@lru_cache(maxsize=4096)
def parse_chord(symbol: str) -> Chord:
    """The chord that ``symbol`` names; ``InputError`` if nobody knows it."""
    name = symbol.strip()
    for sign, letters in SPELLINGS:
        name = name.replace(sign, letters)
    found = re.fullmatch(r"([A-G](?:bb?|##?)?)([^/]*)(?:/([A-G](?:bb?|##?)?))?", name)
    if not found:
        raise InputError(f"{symbol} is not a chord: write symbols such as Am7, F#dim, Bb or C/E")
    root, quality, bass = found.groups()
    try:
        named = NamedChord(root + _known_quality(quality))
    except ValueError as error:
        raise InputError(f"{symbol} is not a chord: {quality} is no known quality") from error
    quality = _canonical_qualities()[named.quality.components]
    root_class = note_to_val(root) % 12
    tones = tuple(dict.fromkeys((root_class + step) % 12 for step in named.quality.components))
    bass_class = root_class if bass is None else note_to_val(bass) % 12
    over = f"/{bass}" if bass_class != root_class else ""
    return Chord(root + quality + over, root_class, tones, bass_class)


def tone_name(symbol: str, pitch_class: int) -> str:
    """How a chord spells one of its tones: "G#" in "E", though "Ab" be the same key."""
    names = NamedChord(symbol).components(visible=True)
    return next(name for name in names if note_to_val(name) % 12 == pitch_class)


def _known_quality(quality: str) -> str:
    qualities = _qualities()
    if quality in qualities:
        return quality
    plain = re.sub(r"[(),\s]", "", quality)
    for pattern, replacement in QUALITY_SPELLINGS:
        if plain in qualities:
            break
        plain = re.sub(pattern, replacement, plain)
    return plain


@lru_cache(maxsize=1)
def _qualities() -> dict[str, Quality]:
    manager = QualityManager()
    manager.set_quality("m13", MINOR_THIRTEENTH)
    return manager.get_qualities()


@lru_cache(maxsize=1)
def _canonical_qualities() -> dict[tuple[int, ...], str]:
    """For every set of notes the one of pychord's names without "+", "-" and "M", if there is."""

    def oddity(name: str) -> tuple[bool, bool]:
        return any(sign in name for sign in "+-"), name.startswith("M")

    names: dict[tuple[int, ...], str] = {}
    for name, quality in _qualities().items():
        known = names.get(quality.components)
        if known is None or oddity(name) < oddity(known):
            names[quality.components] = name
    return names


def parse_bars(text: str, metre: str) -> list[list[ChordChange]]:
    """Changes of each bar, from beat 0 of the bar, of text such as "Am7 | F | C G/B | %".

    Bars end at "|" or a line's end. "%" is the bar before again, "/" one more share of the chord
    before, "N.C." no chord. Chords share a bar as ``chord_starts`` says. Raises ``InputError`` that
    names the symbol and the bar that are not understood.
    """
    written = [bar.split() for bar in re.split(r"[|\n]+", text) if bar.strip()]
    if not written:
        raise InputError("no chords given: write bars such as Am7 | F | C G/B | %")
    bars: list[list[ChordChange]] = []
    chord: Chord | None = None
    for number, symbols in enumerate(written, start=1):
        if symbols == [REPEATED_BAR]:
            if not bars:
                raise InputError(f"bar 1 is {REPEATED_BAR}, but there is no bar before it")
            bars.append(bars[-1])
            chord = bars[-1][-1].chord
            continue
        changes: list[ChordChange] = []
        starts = chord_starts(len(symbols), beats_per_bar(metre))
        for start, symbol in zip(starts, symbols, strict=True):
            if symbol in (SAME_CHORD, REPEATED_BAR) and (changes or bars):
                if not changes:
                    changes.append(ChordChange(start, chord))
                continue
            try:
                chord = parse_symbol(symbol)
            except InputError as error:
                raise InputError(f"bar {number}: {error}") from error
            changes.append(ChordChange(start, chord))
        bars.append(changes)
    return bars


def parse_symbol(symbol: str) -> Chord | None:
    """A chord, or None for "N.C."; ``InputError`` if it is neither."""
    return None if symbol.strip().lower() in NO_CHORD_SPELLINGS else parse_chord(symbol)
