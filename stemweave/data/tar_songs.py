"""Training songs from tar shards (see ``tar_pack``), on disk or in object storage.

A shard is fetched whole into a folder of bounded size and then read as ordinary song folders. Crops
are drawn from a window of a few shards, which moves on: that is the shuffle buffer. The order of
shards is a new permutation in every epoch, a function of the seed; of P training processes each
takes every P-th shard. So what is drawn at a step depends on nothing that was drawn before, and
resuming a run needs no state.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from stemweave.data.songs import STEM_SUFFIXES, Song, read_song
from stemweave.files import InputError, appearing

ATTEMPTS = 4
"""Of one download; the pause before the next one doubles from a second."""
TIMEOUT_S = 60


def tar_urls(entry: str) -> list[str]:
    """Tar shards that ``entry`` of a configuration names; none if it names song folders.

    A folder with tar files, a file, a glob, a URL, or ``pipe:`` and a command that prints a shard;
    ``{000000..000009}`` stands for all of these numbers.

    Raises:
        InputError: if it looks like shards and there are none, or webdataset is missing.
    """
    if Path(entry).is_dir():
        return sorted(glob.glob(f"{glob.escape(entry)}/*.tar"))
    if not (entry.startswith("pipe:") or "://" in entry or entry.endswith(".tar")):
        return []
    urls = []
    for expanded in imported_webdataset().shardlists.expand_urls(entry):
        if expanded.startswith("pipe:") or "://" in expanded:
            urls.append(expanded)
            continue
        found = [expanded] if Path(expanded).is_file() else sorted(glob.glob(expanded))
        if not found:
            raise InputError(f"no tar shard at {expanded}: make some with 'stemweave data pack'")
        urls += found
    return urls


def split_of_url(url: str) -> str:
    """Split that a shard's file name begins with, as ``data pack`` names them; else "train"."""
    names = re.findall(r"[^/\s]*\.tar", url)
    name = names[-1] if names else ""
    return next((split for split in ("validation", "test") if name.startswith(split)), "train")


def imported_webdataset() -> Any:
    """The package; raises ``InputError`` if it is not installed."""
    try:
        import webdataset
    except ImportError as error:
        raise InputError("tar shards need webdataset: pip install 'stemweave[scale]'") from error
    return webdataset


class TarCache:
    """Unpacked shards below ``folder``, the longest unused ones deleted beyond ``max_bytes``.

    What a process holds is locked (by ``flock``), so that others, of the same or of another run,
    neither delete it nor fetch it again.
    """

    def __init__(self, folder: Path, max_bytes: float) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def hold(self, url: str) -> tuple[Path, IO[str]]:
        """The shard's folder, fetched if it is not there, and what keeps it until it is closed.

        Raises:
            InputError: if it cannot be fetched, or is not a tar of songs.
        """
        folder = self.folder / hashlib.sha256(url.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = folder.with_suffix(".lock").open("a")
        try:
            while True:
                fcntl.flock(lock, fcntl.LOCK_SH)
                if folder.exists():
                    os.utime(lock.fileno())
                    return folder, lock
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.exists():
                    _fetch(url, folder)
                    os.utime(lock.fileno())
                    self._make_room(folder)
        except BaseException:
            lock.close()
            raise

    def _make_room(self, newest: Path) -> None:
        """Delete folders that nobody holds, the longest unused first."""
        locks = sorted(self.folder.glob("*.lock"), key=lambda path: path.stat().st_mtime)
        held = {path: _size(path.with_suffix("")) for path in locks}
        for path in locks:
            folder = path.with_suffix("")
            if sum(held.values()) <= self.max_bytes:
                return
            if folder == newest or not folder.exists():
                continue
            with path.open("a") as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                held.pop(path)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _fetch(url: str, folder: Path) -> None:
    """Unpack a shard to ``folder``: ``<song>/<stem>.flac``, ``<song>/song.json``."""
    with appearing(folder) as partial:
        partial.mkdir()
        path = Path(url)
        if not path.is_file():
            path = partial.with_suffix(".tar")
            _download(url, path)
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    key, _, name = member.name.rpartition("/")[2].partition(".")
                    if member.isfile() and key and name and Path(name).name == name:
                        content = tar.extractfile(member)
                        assert content is not None
                        (partial / key).mkdir(exist_ok=True)
                        with content, (partial / key / name).open("wb") as file:
                            shutil.copyfileobj(content, file)
        except (tarfile.TarError, OSError) as error:
            raise InputError(f"{url} cannot be unpacked: {error}") from error
        for _ in _songs(partial, url):
            pass  # all are whole


def _download(url: str, path: Path) -> None:
    """Copy a URL's content to ``path``; raises ``InputError``."""
    error: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2 ** (attempt - 1))
        try:
            with _opened(url) as source, path.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
                expected = getattr(source, "length", None)
                if expected:  # what http.client still waited for
                    raise OSError(f"{expected} bytes are missing")
            return
        except urllib.error.HTTPError as failure:
            error = failure
            if failure.code < 500 and failure.code != 429:
                break
        except (OSError, ValueError) as failure:
            error = failure
            if url.startswith("pipe:"):
                break
    raise InputError(f"{url} cannot be fetched: {error}") from error


def _opened(url: str) -> Any:
    if url.startswith(("http://", "https://")):
        return urllib.request.urlopen(url, timeout=TIMEOUT_S)
    return imported_webdataset().gopen(url)


def _songs(folder: Path, url: str) -> Iterator[Song]:
    """Songs of an unpacked shard; raises ``InputError`` if one is not whole."""
    for song_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        if not (song_folder / "song.json").is_file():
            raise InputError(
                f"{url}: {song_folder.name} has no song.json: make shards with 'stemweave data "
                "pack'"
            )
        song = read_song(song_folder)
        files: dict[str, list[tuple[int, Path]]] = {}
        for path in song_folder.iterdir():
            if path.suffix in STEM_SUFFIXES:
                stem, _, number = path.stem.rpartition(".")
                if not stem or not number.isdigit():
                    stem, number = path.stem, "0"
                files.setdefault(stem, []).append((int(number), path))
        missing = [stem for stem in song.stems if stem not in files]
        if missing:
            raise InputError(f"{url} is damaged: {song.name} lacks {', '.join(missing)}")
        ordered = {s: tuple(path for _, path in sorted(found)) for s, found in files.items()}
        yield replace(song, files=ordered, details=song.details)


@dataclass
class _Held:
    songs: list[Song]
    lock: IO[str]


class TarSongs:
    """Songs of one split, a window of shards at a time.

    Args:
        urls: the shards.
        stems: songs that have none of these are left out.
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
    ) -> None:
        self.urls, self.stems, self.cache, self.split = tuple(urls), tuple(stems), cache, split
        self.seed, self.window, self.steps_each, self.process = seed, window, steps_each, process
        self._held: dict[str, _Held] = {}
        self._window: list[str] = []
        self._fetcher = ThreadPoolExecutor(1)

    @property
    def description(self) -> dict[str, Any]:
        """What the songs at a position are a function of."""
        names = ("urls", "stems", "split", "seed", "window")
        return {name: getattr(self, name) for name in names}

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

    def at_hand(self) -> list[Song]:
        """Songs of the window that was used last, or of the first one."""
        return self._listed() if self._window else self.at(0)

    def _songs(self, urls: Sequence[str]) -> list[Song]:
        """Songs of all shards but the last, which is fetched meanwhile."""
        window = list(dict.fromkeys(urls[:-1]))
        if window != self._window:
            for url in [url for url in self._held if url not in window]:
                self._held.pop(url).lock.close()
            for url in window:
                if url not in self._held:
                    self._held[url] = self._hold(url)
            self._window = window
            if urls[-1] not in window:
                self._fetcher.submit(self._fetch_ahead, urls[-1])
        return self._listed()

    def _listed(self) -> list[Song]:
        songs = [song for url in self._window for song in self._held[url].songs]
        if not songs:
            wanted = ", ".join(self.stems)
            raise InputError(f"no {self.split} songs with {wanted} in {', '.join(self._window)}")
        return songs

    def url(self, number: int) -> str:
        """Shard ``number`` of the endless sequence of epochs."""
        epoch, place = divmod(number, len(self.urls))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.urls))
        return self.urls[order[place]]

    def _hold(self, url: str) -> _Held:
        folder, lock = self.cache.hold(url)
        with ExitStack() as stack:
            stack.callback(lock.close)
            songs = [
                song
                for song in _songs(folder, url)
                if song.split == self.split and set(song.stems) & set(self.stems)
            ]
            stack.pop_all()
        return _Held(songs, lock)

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
    """What the songs are, as JSON: wherever they were fetched to."""
    if isinstance(songs, TarSongs):
        return songs.description
    return [str(song.folder.resolve()) for song in songs]
