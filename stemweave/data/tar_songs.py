"""Training songs from tar shards (see ``tar_pack``), on disk or in object storage.

A shard is fetched whole into a folder of bounded size and then read as ordinary song folders. Crops
are drawn from a window of a few shards, which moves on: that is the shuffle buffer. The order of
shards is a new permutation in every epoch, a function of the seed; of P training processes each
takes every P-th shard. So what is drawn at a step depends on nothing that was drawn before, and
resuming a run needs no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from stemweave.data.songs import Song, file_version, song_files
from stemweave.data.tar_cache import TarCache, unpacked_songs
from stemweave.errors import InputError


class TarSongs:
    """Songs of one split, a window of shards at a time.

    Args:
        urls: the shards.
        stems: songs that have none of these are left out.
        require_all: leave out songs that lack a stem, too.
        window: shards that crops are drawn from at a time.
        steps_each: training that reads songs directly moves on by a shard after so many steps.
        process: of so many (index, number), each of which takes its part of the shards.
    """

    def __init__(
        self,
        urls: Sequence[str],
        stems: Sequence[str],
        cache: TarCache,
        *,
        split: str = "train",
        seed: int = 0,
        window: int = 4,
        steps_each: int = 64,
        process: tuple[int, int] = (0, 1),
        require_all: bool = False,
    ) -> None:
        self.urls, self.stems, self.cache, self.split = tuple(urls), tuple(stems), cache, split
        self.seed, self.window, self.steps_each, self.process = seed, window, steps_each, process
        self.require_all = require_all
        self._held: dict[str, tuple[list[Song], IO[str]]] = {}  # a shard's songs, and its lock
        self._window: list[str] = []
        self._fetcher = ThreadPoolExecutor(1)

    @property
    def description(self) -> dict[str, Any]:
        """What the songs at a position are a function of."""
        names = ("urls", "stems", "split", "seed", "window", "require_all")
        files = [file_version(Path(url)) for url in self.urls if Path(url).is_file()]
        return {name: getattr(self, name) for name in names} | {"files": files}

    def at(self, position: int) -> list[Song]:
        """Songs of the window that begins with shard number ``position``.

        Raises:
            InputError: if a shard cannot be fetched, or none has a song of the split and stems.
        """
        return self._songs([self.url(position + i) for i in range(self.window + 1)])

    def at_step(self, step: int) -> list[Song]:
        """Songs of the window of this process at training step ``step``; raises as ``at``."""
        index, processes = self.process
        first = step // self.steps_each
        numbers = [(first + i) * processes + index for i in range(self.window + 1)]
        return self._songs([self.url(number) for number in numbers])

    def all(self) -> Iterator[list[Song]]:
        """Songs of one window after the other, each shard once."""
        for position in range(0, len(self.urls), self.window):
            yield self.at(position)

    def at_hand(self) -> list[Song]:
        """Songs of the window that was used last, or of the first one."""
        return self._listed() if self._window else self.at(0)

    def _songs(self, urls: Sequence[str]) -> list[Song]:
        """Songs of all shards but the last, which is fetched meanwhile."""
        window = list(dict.fromkeys(urls[:-1]))
        if window != self._window:
            for url in [url for url in self._held if url not in window]:
                self._held.pop(url)[1].close()
            for url in window:
                if url not in self._held:
                    self._held[url] = self._hold(url)
            self._window = window
            if urls[-1] not in window:
                self._fetcher.submit(self._fetch_ahead, urls[-1])
        return self._listed()

    def _listed(self) -> list[Song]:
        songs = [song for url in self._window for song in self._held[url][0]]
        if not songs:
            wanted = ", ".join(self.stems)
            raise InputError(f"no {self.split} songs with {wanted} in {', '.join(self._window)}")
        return songs

    def url(self, number: int) -> str:
        """Shard ``number`` of the endless sequence of epochs."""
        epoch, place = divmod(number, len(self.urls))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.urls))
        return self.urls[order[place]]

    def _hold(self, url: str) -> tuple[list[Song], IO[str]]:
        folder, lock = self.cache.hold(url)
        least = len(self.stems) if self.require_all else 1
        try:
            songs = [song for song in unpacked_songs(folder, url) if song.split == self.split]
        except BaseException:
            lock.close()
            raise
        return [song for song in songs if len(set(song.stems) & set(self.stems)) >= least], lock

    def _fetch_ahead(self, url: str) -> None:
        with suppress(InputError):  # said when it is needed
            self.cache.hold(url)[1].close()


Songs = Sequence[Song] | TarSongs
"""Training material: all of it at hand, or a window at a time."""


def songs_at_hand(songs: Songs) -> Sequence[Song]:
    """The songs themselves, or those of tar shards that were used last."""
    return songs.at_hand() if isinstance(songs, TarSongs) else songs


def songs_at(songs: Songs, position: int) -> Sequence[Song]:
    """The songs themselves, or those of tar shards at ``position``."""
    return songs.at(position) if isinstance(songs, TarSongs) else songs


def songs_at_step(songs: Songs, step: int) -> Sequence[Song]:
    """The songs themselves, or those of tar shards at a training step."""
    return songs.at_step(step) if isinstance(songs, TarSongs) else songs


def describe_songs(songs: Songs) -> Any:
    """What the songs are, as JSON: where, their stems, their files' sizes and times of change."""
    if isinstance(songs, TarSongs):
        return songs.description
    packed = getattr(songs, "description", None)
    return packed or [[str(song.folder.resolve()), song.stems, song_files(song)] for song in songs]
