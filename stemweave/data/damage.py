"""Files that training cannot read: named, passed by, and too many of them end it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from stemweave.data.songs import Song
from stemweave.errors import InputError

Drawn = TypeVar("Drawn")
MOST_ATTEMPTS = 100
"""At a crop, where files are damaged."""
MOST_SHARE = 0.01
"""Of a data set's files; one alone is always passed by."""
MOST_PEAK = 100.0
"""Full scales; a file with larger samples was not meant so."""
found: dict[Path, str] = {}
"""Damaged files of this process, and what is wrong with them."""
seen: dict[tuple[Path, str], int] = {}
"""Files of the stems that were there when damaged ones were found, among which these count."""


class DamagedFile(InputError):
    """A stem's file that cannot be decoded whole, or holds samples that nobody meant."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


def pass_by(damaged: DamagedFile, songs: Sequence[Song]) -> None:
    """Say once that a file is passed by.

    Of tar shards ``songs`` are those at hand, and damaged files those of all windows so far.

    Raises ``InputError`` if that are more files than ``MOST_SHARE`` of the songs'.
    """
    if damaged.path not in found:
        found[damaged.path] = damaged.reason
        print(f"passed by: {damaged}", file=sys.stderr, flush=True)
    for song in songs:
        for stem in song.stems:
            seen[song.folder, stem] = max(len(song.files.get(stem, ())), 1)
    files = sum(seen.values())
    if len(found) > max(1, MOST_SHARE * files):
        raise InputError(
            f"{len(found)} of {files} files are damaged, e.g. {damaged}: look at the songs with "
            "'stemweave data check'"
        )


def undamaged(draw: Callable[[], Drawn], songs: Sequence[Song]) -> Drawn:
    """What ``draw`` gives, which is called again where it meets a damaged file.

    Raises ``InputError`` as ``pass_by``, or if it meets nothing else.
    """
    for _ in range(MOST_ATTEMPTS - 1):
        try:
            return draw()
        except DamagedFile as error:
            pass_by(error, songs)
    return draw()
