"""Keys: "A minor", "Bb major", by the names that key signatures have."""

from __future__ import annotations

import re

from pychord.utils import note_to_val

from stemweave.files import InputError

MAJOR_TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
MINOR_TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
"""The usual name of each pitch class as a tonic."""
SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SHARP_TONICS = (2, 4, 7, 9, 11)
"""Major tonics whose key signature has sharps."""
SIGNATURES = {
    "major": (*MAJOR_TONICS, "C#", "F#", "Cb"),
    "minor": (*MINOR_TONICS, "D#", "A#", "Ab"),
}
"""Tonics that have a key signature."""


def key_name(tonic: int, minor: bool) -> str:
    """The usual name of a key by the pitch class of its tonic, e.g. "C# minor"."""
    return f"{MINOR_TONICS[tonic % 12]} minor" if minor else f"{MAJOR_TONICS[tonic % 12]} major"


def note_name(pitch_class: int, key: str | None = None) -> str:
    """Name of a note as ``key`` spells it: with sharps in keys of sharps, else with flats."""
    tonic, minor = (0, False) if key is None else tonic_of(key)
    sharps = (tonic + 3 * minor) % 12 in SHARP_TONICS
    return (SHARP_NAMES if sharps else MAJOR_TONICS)[pitch_class % 12]


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
