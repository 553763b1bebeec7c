"""Files that training cannot read: named, passed by, and too many of them end it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stemweave.data.songs import Song
from stemweave.errors import InputError

MOST_SHARE = 0.01
"""Of a data set's files; one alone is always passed by."""
found: dict[Path, str] = {}
"""Damaged files of this process, and what is wrong with them."""


class DamagedFile(InputError):
    """A stem's file that cannot be decoded, or holds samples that are not finite."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


def pass_by(damaged: DamagedFile, songs: Sequence[Song]) -> None:
    """Say once that a file is passed by.

    Raises:
        InputError: if that are more files than ``MOST_SHARE`` of the songs'.
    """
    if damaged.path not in found:
        found[damaged.path] = damaged.reason
        print(f"passed by: {damaged}", file=sys.stderr, flush=True)
    files = sum(max(len(song.files.get(stem, ())), 1) for song in songs for stem in song.stems)
    if len(found) > max(1, MOST_SHARE * files):
        raise InputError(
            f"{len(found)} of {files} files are damaged, e.g. {damaged}: look at the songs with "
            "'stemweave data check'"
        )
