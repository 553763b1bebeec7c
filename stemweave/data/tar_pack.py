"""Song folders → tar shards in WebDataset form, for training from object storage.

```
OUT/train-000000.tar          <song>.bass.flac, <song>.drums.flac, ..., <song>.song.json, next song
OUT/validation-000000.tar     a shard holds songs of one split
OUT/index.json                the songs of every shard, and the versions of their files
```

A stem that is the sum of several files keeps them, as ``<song>.<stem>.0.flac``, ``.1.flac``, …
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile

from stemweave.data.songs import Song, file_version, read_song, song_description
from stemweave.errors import InputError
from stemweave.io.files import appearing
from stemweave.io.jobs import Workers, map_jobs
from stemweave.models.part import read_object

INDEX = "index.json"
LOSSLESS_AS_FLAC = ("PCM_16", "PCM_24")
"""Subtypes of WAV that FLAC holds bit for bit."""


PackJob = tuple[Path, tuple[tuple[str, Song], ...]]
"""One shard: where it goes, and its songs by key."""


def pack_songs(
    songs: Sequence[Song], out: Path, *, shard_mb: float = 512, workers: Workers
) -> list[Path]:
    """Write ``songs`` in their order to shards of about ``shard_mb`` (10⁶ bytes); their paths.

    Shards that exist are kept: a run that was stopped goes on. Those whose songs' files have been
    changed since are packed anew.

    Raises ``InputError`` if ``out`` has shards of another list of songs, or a stem cannot be read.
    """
    out = out.absolute()
    planned = {path.name: _versions(packed) for path, packed in _plan(songs, out, shard_mb)}
    index = json.dumps(planned, indent=1) + "\n"
    index_path = out / INDEX
    for name in _outdated(index_path, json.loads(index)):
        (out / name).unlink(missing_ok=True)
    with appearing(index_path) as partial:
        partial.write_text(index)
    todo = (job for job in _plan(songs, out, shard_mb) if not job[0].exists())
    for _ in map_jobs(write_shard, todo, workers, len(planned)):
        pass
    return [out / name for name in planned]


def _versions(songs: Sequence[tuple[str, Song]]) -> dict[str, list[tuple[str, int, int]]]:
    """The versions of what is packed, by the songs' keys."""
    found = {}
    for key, song in songs:
        paths = [path for stem in song.stems for path in song.stem_paths(stem)]
        about = song.folder / "song.json"
        found[key] = [file_version(path) for path in [*paths, about] if path.is_file()]
    return found


def _outdated(index_path: Path, planned: dict[str, Any]) -> list[str]:
    """Shards that were packed from other files than are there now.

    Raises ``InputError`` if what the index lists are other songs.
    """
    if not index_path.exists():
        return []
    before = read_object(index_path)
    listed = {name: list(songs) for name, songs in before.items()}
    if listed != {name: list(songs) for name, songs in planned.items()}:
        raise InputError(
            f"{index_path.parent} has shards of other songs or sizes: choose another folder"
        )
    return [name for name in planned if before[name] != planned[name]]


def _plan(songs: Sequence[Song], out: Path, shard_mb: float) -> Iterator[PackJob]:
    """Shards and their songs, a split at a time; no two songs of all have one key."""
    keys: set[str] = set()
    for split in sorted({song.split for song in songs}):
        shard: list[tuple[str, Song]] = []
        number, size = 0, 0
        for song in (song for song in songs if song.split == split):
            key = song.name.replace(".", "_")  # WebDataset's keys end at the first dot
            if key in keys:
                key = f"{key}_{zlib.crc32(str(song.folder).encode()):08x}"
            keys.add(key)
            shard.append((key, song))
            size += sum(
                path.stat().st_size for stem in song.stems for path in song.stem_paths(stem)
            )
            if size >= shard_mb * 1e6:
                yield out / f"{split}-{number:06d}.tar", tuple(shard)
                shard, number, size = [], number + 1, 0
        if shard:
            yield out / f"{split}-{number:06d}.tar", tuple(shard)


def write_shard(job: PackJob) -> Path:
    """One shard, complete or not at all; the same bytes every time."""
    import webdataset

    tar, songs = job
    owner = {"user": "stemweave", "group": "stemweave", "mtime": 0}
    with (
        appearing(tar) as partial,
        partial.open("wb") as file,
        webdataset.TarWriter(file, encoder=False, format="PAX_FORMAT", **owner) as writer,
    ):
        for key, song in songs:
            writer.write({"__key__": key, **_members(song)})
    return tar


def _members(song: Song) -> dict[str, bytes]:
    """A song's files by the ends of their names: stems as FLAC where nothing is lost."""
    if (song.folder / "song.json").is_file():
        song = replace(song, details=read_song(song.folder).details)
    members = {"song.json": song_description(song).encode()}
    for stem in song.stems:
        paths = song.stem_paths(stem)
        for number, path in enumerate(paths):
            name = f"{stem}.{number}" if len(paths) > 1 else stem
            content, suffix = _lossless(path)
            members[name + suffix] = content
    return members


def _lossless(path: Path) -> tuple[bytes, str]:
    """Content and suffix: WAV with integer samples becomes FLAC of the same samples."""
    try:
        about = soundfile.info(path)
        if about.format != "WAV" or about.subtype not in LOSSLESS_AS_FLAC or about.channels > 8:
            return path.read_bytes(), path.suffix.lower()
        samples, sample_rate = soundfile.read(path, dtype="int32", always_2d=True)
        flac = io.BytesIO()
        soundfile.write(flac, samples, sample_rate, subtype=about.subtype, format="FLAC")
        return flac.getvalue(), ".flac"
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
