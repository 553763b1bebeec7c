"""Kinds of each instrument, as sheets name them, and the General MIDI programs that sound so."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stemweave.errors import InputError
from stemweave.stems import stem_of_program

INSTRUMENTS: dict[str, dict[str, tuple[int, ...]]] = {
    "bass": {
        "finger": (33,), "pick": (34,), "slap": (36, 37), "fretless": (35,), "upright": (32,),
        "synth": (38, 39),
    },
    "drums": {
        "acoustic": (0, 1, 16, 32), "brushes": (40,), "electronic": (24, 25, 30), "room": (8,),
    },
    "guitar": {
        "nylon": (24,), "steel": (25,), "jazz": (26,), "clean": (27, 31), "muted": (28,),
        "overdriven": (29,), "distorted": (30,),
    },
    "piano": {
        "grand": (0,), "bright": (1, 2), "honky-tonk": (3,), "electric 1": (4,),
        "electric 2": (5,),
    },
}  # fmt: skip
"""By stem: classes in the order of a model's numbers, each with its programs (drums: kits of the GS
standard), the usual one first."""
INSTRUMENT_CLASSES = tuple(
    f"{stem}/{name}" for stem, classes in INSTRUMENTS.items() for name in classes
)
"""All kinds of all stems, in the order of a model's numbers."""


def number_of(names: Collection[str], name: str | None) -> int:
    """A model's number of ``name``: its place in ``names`` from 1 on, 0 if it is unknown."""
    return list(names).index(name) + 1 if name is not None and name in names else 0


def instrument_of(stem: str, program: int) -> str | None:
    """Class that a program (drums: kit) of ``stem`` has, None if it has none."""
    classes = INSTRUMENTS.get(stem, {})
    return next((name for name, programs in classes.items() if program in programs), None)


def parse_instruments(given: Mapping[str, str]) -> dict[str, str]:
    """``given`` with classes as in ``INSTRUMENTS`` ("electric" is the first), or ``InputError``."""
    parsed = {}
    for stem, name in given.items():
        if stem not in INSTRUMENTS:
            raise InputError(f"no instruments of {stem}: choose of {', '.join(INSTRUMENTS)}")
        wanted = name.strip().lower().replace("-", " ").replace("_", " ")
        classes = {known.replace("-", " "): known for known in INSTRUMENTS[stem]}
        matching = [known for plain, known in classes.items() if plain.startswith(wanted)]
        if not wanted or not matching:
            known = ", ".join(INSTRUMENTS[stem])
            raise InputError(f"{name or 'nothing'} is not a kind of {stem}: choose of {known}")
        parsed[stem] = classes.get(wanted, matching[0])
    return parsed


def stem_of_track(program: int, is_drum: bool, name: str = "") -> str | None:
    """Class of a MIDI track: drums by channel, the others by program (or a bass by its name)."""
    if is_drum:
        return "drums"
    if name.lower().startswith(("bass", "walk")):
        return "bass"
    return stem_of_program(program)
