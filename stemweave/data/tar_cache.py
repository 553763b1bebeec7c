"""Tar shards (see ``tar_pack``) from disks and object storage, in a folder of bounded size."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import shutil
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from stemweave.data.songs import STEM_SUFFIXES, Song, file_version, read_song
from stemweave.errors import InputError
from stemweave.io.files import appearing

ATTEMPTS = 4
"""Of one download; the pause before the next one doubles from a second."""
TIMEOUT_S = 60


def tar_urls(entry: str) -> list[str]:
    """Tar shards that ``entry`` of a configuration names; none if it names song folders.

    A folder with tar files, a file, a glob, a URL, or ``pipe:`` and a command that prints a shard;
    ``{000000..000009}`` stands for all of these numbers.

    Raises ``InputError`` if it looks like shards and there are none, or webdataset is missing.
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
    do not delete it; a second lock, for as long as it is fetched, keeps them from fetching it, too.
    """

    def __init__(self, folder: Path, max_bytes: float) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def hold(self, url: str) -> tuple[Path, IO[str]]:
        """The shard's folder, fetched if it is not there, and what keeps it until it is closed.

        Raises ``InputError`` if it cannot be fetched, or is not a tar of songs.
        """
        folder = self.folder / _key(url)
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = folder.with_suffix(".lock").open("a")
        try:
            # never both waited for exclusively: who waits would wait until the other lets it go
            with folder.with_suffix(".fetching").open("a") as fetching:
                fcntl.flock(fetching, fcntl.LOCK_EX)
                fcntl.flock(lock, fcntl.LOCK_SH)
                os.utime(lock.fileno())
                if not folder.exists():
                    _fetch(url, folder)
                    self._make_room(folder)
            return folder, lock
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


def _key(url: str) -> str:
    """Of a shard; a file here that is packed anew is another one."""
    version = str(file_version(Path(url))) if Path(url).is_file() else ""
    return hashlib.sha256((url + version).encode()).hexdigest()[:16]


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
        for _ in unpacked_songs(partial, url):
            pass  # all are whole


def _download(url: str, path: Path) -> None:
    """Copy a URL's content to ``path``; raises ``InputError``."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2 ** (attempt - 1))
        try:
            if url.startswith(("http://", "https://")):
                opened: Any = urllib.request.urlopen(url, timeout=TIMEOUT_S)
            else:
                opened = imported_webdataset().gopen(url)
            with opened as source, path.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
                expected = getattr(source, "length", None)
                if expected:  # what http.client still waited for
                    raise OSError(f"{expected} bytes are missing")
            return
        except InputError:
            raise
        except (OSError, ValueError) as failure:  # HTTP's are the first
            code = getattr(failure, "code", 500)
            final = url.startswith("pipe:") or (code < 500 and code != 429)
            if final or attempt == ATTEMPTS - 1:
                raise InputError(f"{url} cannot be fetched: {failure}") from failure


def unpacked_songs(folder: Path, url: str) -> Iterator[Song]:
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
