"""Scores and sheets of song folders, cut into bars, in memory: what the score model learns from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from stemweave.errors import InputError
from stemweave.music.events import bars_of, score_segments
from stemweave.music.instruments import INSTRUMENT_CLASSES
from stemweave.music.lead_sheet import SHEET_FILE, LeadSheet
from stemweave.music.midi import SCORE_FILE, read_midi
from stemweave.music.sequences import BarWindow, window_of


def score_folders(data: Iterable[str | Path]) -> list[Path]:
    """Folders at any depth of ``data`` that hold a score and its sheet.

    Raises ``InputError`` if there are none.
    """
    folders = [path.parent for root in data for path in sorted(Path(root).rglob(SCORE_FILE))]
    folders = [folder for folder in folders if (folder / SHEET_FILE).exists()]
    if not folders:
        names = ", ".join(map(str, data))
        wanted = f"{SCORE_FILE} and {SHEET_FILE} in {names}"
        raise InputError(f"no songs with {wanted}: stemweave compose writes such songs")
    return folders


class ScoreCorpus:
    """Songs as windows of bars.

    Args:
        folders: of songs, each with a score and a sheet.
        stems: that a song must have in its score.
        styles: names of styles by number, from 1 on; None takes those that the songs have.
        workers: processes that read the files.

    Raises ``InputError`` if a file cannot be read, or no song has all stems.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        stems: Sequence[str],
        styles: Sequence[str] | None = None,
        workers: int = 2,
    ) -> None:
        with ProcessPoolExecutor(workers) as pool:
            read = list(pool.map(read_song, folders, [tuple(stems)] * len(folders), chunksize=16))
        songs = [(window, style) for window, style in read if len(window.segments) == len(stems)]
        if not songs:
            raise InputError(f"no score of {folders[0].parent} has all of {', '.join(stems)}")
        found = {style for _, style in songs if style is not None}
        self.styles = tuple(sorted(found) if styles is None else styles)
        self.songs = [window for window, _ in songs]
        for window, style in songs:
            window.style = self.styles.index(style) + 1 if style in self.styles else 0
        lengths = np.array([window.num_bars for window in self.songs], dtype=float)
        self._weights = lengths / lengths.sum()

    def draw(self, num_bars: int, max_events: int, rng: np.random.Generator) -> BarWindow:
        """``num_bars`` bars of a song, or as many as fit into ``max_events`` events."""
        song = self.songs[rng.choice(len(self.songs), p=self._weights)]
        start = int(rng.integers(max(song.num_bars - num_bars, 0) + 1))
        window = song.part(start, start + num_bars)
        while num_events(window) > max_events and window.num_bars > 2:
            window = window.part(0, window.num_bars - 1)
        return window


def num_events(window: BarWindow) -> int:
    """Headers and notes."""
    return sum(1 + len(segment) for own in window.segments.values() for segment in own)


def read_song(folder: Path, stems: Sequence[str]) -> tuple[BarWindow, str | None]:
    """All bars of a song, and the name of its style; ``InputError`` if a file cannot be read."""
    score, _ = read_midi(folder / SCORE_FILE)
    sheet = LeadSheet.from_json((folder / SHEET_FILE).read_text())
    segments = score_segments(score, bars_of(sheet), stems)
    return window_of(sheet, segments, (), INSTRUMENT_CLASSES), sheet.style
