"""Keys: "A minor", "Bb major", by the names that key signatures have."""

from __future__ import annotations

import re

from pychord.utils import note_to_val

from stemweave.errors import InputError

MAJOR_TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
MINOR_TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
"""The usual name of each pitch class as a tonic."""
FIFTHS = (
    "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#",
)  # fmt: skip
"""Names of notes a fifth from one to the next."""
SIGNATURE_FIFTHS = (0, -5, 2, -3, 4, -1, -6, 1, -4, 3, -2, 5)
"""Sharps (flats below zero) of the major key on each pitch class."""
SIGNATURES = {
    "major": (*MAJOR_TONICS, "C#", "F#", "Cb"),
    "minor": (*MINOR_TONICS, "D#", "A#", "Ab"),
}
"""Tonics that have a key signature."""


def key_name(tonic: int, minor: bool) -> str:
    """The usual name of a key by the pitch class of its tonic, e.g. "C# minor"."""
    return f"{MINOR_TONICS[tonic % 12]} minor" if minor else f"{MAJOR_TONICS[tonic % 12]} major"


def note_name(pitch_class: int, key: str | None = None) -> str:
    """Name of a note as ``key`` spells it: five fifths below its tonic to six above it.

    In minor the leading tone and that of the dominant are raised: C# and F# in G minor.
    """
    tonic, minor = (0, False) if key is None else tonic_of(key)
    fifths = SIGNATURE_FIFTHS[(tonic + 3 * minor) % 12]
    lowest = fifths - (2 if minor else 5)
    index = lowest + (7 * pitch_class - lowest) % 12 + FIFTHS.index("C")
    # beyond, a plain name is easier to read than E# or Cb
    return FIFTHS[index] if 0 <= index < len(FIFTHS) else MAJOR_TONICS[pitch_class % 12]


def parse_key(text: str) -> str:
    """``text`` ("Am", "A minor", "a moll", "F#", "Bb maj") as "A minor"; ``InputError`` if none."""
    found = re.fullmatch(
        r"\s*([A-Ga-g])\s*(#|♯|b|♭|-sharp|-flat)?\s*(major|maj|dur|M|minor|min|moll|m)?\s*",
        text.replace(" sharp", "-sharp").replace(" flat", "-flat"),
    )
    if not found:
        raise InputError(f"{text} is not a key: write one such as A minor or Bb major")
    letter, sign, mode = found.groups()
    minor = mode in ("minor", "min", "moll", "m")
    accidental = {"♯": "#", "-sharp": "#", "♭": "b", "-flat": "b"}.get(sign, sign or "")
    tonic = letter.upper() + accidental
    name = "minor" if minor else "major"
    return f"{tonic} {name}" if tonic in SIGNATURES[name] else key_name(note_to_val(tonic), minor)


def tonic_of(key: str) -> tuple[int, bool]:
    """Pitch class of the tonic, and whether the mode is minor, of a key that ``parse_key`` gave."""
    tonic, mode = key.split()
    return note_to_val(tonic) % 12, mode == "minor"
