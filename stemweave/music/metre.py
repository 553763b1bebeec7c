"""Metres ("4/4", "6/8"): how many felt beats a bar has, and how long a beat is.

A beat is a quarter note in x/4, a dotted quarter in 6/8, 9/8 and 12/8, an eighth in other x/8.
"""

from __future__ import annotations

import math
import re

from stemweave.errors import InputError

LARGEST_NUMERATOR = 32
UNITS = (1, 2, 4, 8, 16, 32, 64)


def parse_metre(text: str) -> str:
    """``text`` as a metre such as "3/4"; ``InputError`` if it is none."""
    found = re.fullmatch(r"\s*(\d{1,2})\s*/\s*(\d{1,2})\s*", text)
    numbers = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= numbers[0] <= LARGEST_NUMERATOR or numbers[1] not in UNITS:
        raise InputError(f"{text} is not a metre: write one such as 4/4, 3/4 or 6/8")
    return f"{numbers[0]}/{numbers[1]}"


def is_compound(metre: str) -> bool:
    """Whether a beat has three parts: 6/8, 9/8, 12/8 and the like in sixteenths."""
    numerator, unit = numbers_of(metre)
    return unit >= 8 and numerator > 3 and numerator % 3 == 0


def beats_per_bar(metre: str) -> int:
    """Felt beats: 4 in 4/4 and 12/8, 2 in 6/8."""
    numerator, _ = numbers_of(metre)
    return numerator // 3 if is_compound(metre) else numerator


def quarters_per_beat(metre: str) -> float:
    """Quarter notes, which MIDI counts, in a felt beat: 1 in 4/4, 1.5 in 6/8, 0.5 in 7/8."""
    _, unit = numbers_of(metre)
    return (12 if is_compound(metre) else 4) / unit


def chord_starts(num_chords: int, beats: int) -> list[float]:
    """Where ``num_chords`` chords begin in a bar of so many beats: on beats, the first ones longer.

    Two chords in 3/4 have two beats and one, three in 4/4 two, one and one. More chords than beats
    share the bar equally.
    """
    if num_chords > beats:
        return [index * beats / num_chords for index in range(num_chords)]
    return [float(math.ceil(index * beats / num_chords)) for index in range(num_chords)]


def numbers_of(metre: str) -> tuple[int, int]:
    """Numerator and unit."""
    numerator, unit = metre.split("/")
    return int(numerator), int(unit)
