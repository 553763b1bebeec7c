"""Grooves of Debian's ``mma``: every file of its library is a family, in one or two metres."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stemweave.errors import InputError

MMA_LIBRARY = Path("/usr/share/mma/lib")
NOT_A_VERSE_IN_4_4 = re.compile(r"intro|end|fill|break|sus|tag|test", re.IGNORECASE)
NOT_A_VERSE = re.compile(f"{NOT_A_VERSE_IN_4_4.pattern}|metronome", re.IGNORECASE)
"""Of 4/4 it is as before there were others: songs are functions of their seeds."""

BARS: dict[str, tuple[str, int]] = {
    "3": ("3/4", 3), "3/4": ("3/4", 3), "5": ("5/4", 5), "6": ("6/8", 6), "6/8": ("6/8", 6),
    "2": ("6/8", 2),
}  # fmt: skip
"""By what a file says of its time: the metre of its music, and mma's beats in a bar."""
OTHER_BARS: dict[str, tuple[str, int]] = {
    "stdlib/afro-cuban": ("6/8", 3), "casio/oldieballad": ("12/8", 4),
    "casio/slowrock": ("12/8", 4), "pflib/slowrock": ("12/8", 4), "stdlib/ballad128": ("12/8", 4),
    "stdlib/ballad68": ("12/8", 4), "stdlib/blues128": ("12/8", 4), "stdlib/rock-128": ("12/8", 4),
    "stdlib/rockballad": ("12/8", 4),
}  # fmt: skip
"""Files that say otherwise: six eighths as three quarters, twelve eighths as triplets."""
HELD_OUT = ("stdlib/blues68", "stdlib/fastwaltz", "stdlib/modernjazzwaltz")
"""Of metres other than 4/4, where chance holds none out; 12/8 and 5/4 have too few for that."""
METRES = ("4/4", "3/4", "6/8", "12/8", "5/4")
"""Those that there are grooves in."""


@dataclass(frozen=True)
class GrooveFamily:
    """The grooves of one mma library file, e.g. "stdlib/waltz", in one metre as it is felt.

    ``mma_beats`` are those that a bar has for mma, whose tempo counts them.
    """

    library_file: str
    grooves: tuple[str, ...]
    metre: str = "4/4"
    mma_beats: int = 4

    @property
    def is_validation(self) -> bool:
        """One family in twelve is never used for training."""
        if self.metre != "4/4":
            return self.library_file in HELD_OUT
        return zlib.crc32(self.library_file.encode()) % 12 == 0


def drawn_families(metres: Sequence[str], held_out: bool) -> list[GrooveFamily]:
    """The families held out of training, or the others; ``InputError`` if a metre has none."""
    families = [f for f in read_groove_families(metres) if f.is_validation == held_out]
    for metre in metres:
        if metre not in {family.metre for family in families}:
            raise InputError(f"no grooves in {metre} are held out of training: leave it out")
    return families


def read_groove_families(metres: Sequence[str] = ("4/4",)) -> list[GrooveFamily]:
    """All families in ``metres`` with usable grooves; raises ``InputError`` without or without
    mma.
    """
    if not MMA_LIBRARY.is_dir() or shutil.which("mma") is None:
        raise InputError(
            "composing needs mma: run scripts/install-system-packages.sh render (Debian: mma)"
        )
    for metre in metres:
        if metre not in METRES:
            raise InputError(f"mma has no grooves in {metre}: choose of {', '.join(METRES)}")
    families = []
    for path in sorted(MMA_LIBRARY.rglob("*.mma")):
        name = str(path.relative_to(MMA_LIBRARY).with_suffix(""))
        text = path.read_text(errors="replace")
        times = re.findall(r"^\s*time\s+(\S+)", text, re.IGNORECASE | re.MULTILINE)
        names = re.findall(r"^\s*defgroove\s+(\S+)", text, re.IGNORECASE | re.MULTILINE)
        for metre, mma_beats in _bars(name, times):
            unusable = NOT_A_VERSE_IN_4_4 if metre == "4/4" else NOT_A_VERSE
            usable = tuple(dict.fromkeys(one for one in names if not unusable.search(one)))
            if usable and metre in metres:
                families.append(GrooveFamily(name, usable, metre, mma_beats))
    return families


def _bars(library_file: str, times: Sequence[str]) -> list[tuple[str, int]]:
    """Metres of a file's grooves and mma's beats in a bar."""
    bars = []
    if all(time in ("4", "4/4") for time in times):
        bars.append(("4/4", 4))
    if library_file in OTHER_BARS:
        bars.append(OTHER_BARS[library_file])
    elif len(set(times)) == 1 and times[0] in BARS:
        bars.append(BARS[times[0]])
    return bars
