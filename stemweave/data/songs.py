"""Songs on disk: a folder of stems with ``song.json``, and manifests that list songs.

```
DATA/manifest.jsonl            {"path": "song_00000", "split": "train", "duration_s": 64.0, ...}
DATA/song_00000/song.json      duration_s, sample_rate, stems, origin, licence
DATA/song_00000/bass.flac      one file per present stem, all of equal length
```

A manifest's entry may name each stem's ``files`` instead, relative to its folder, so that data sets
of another layout are used where they are: see ``readers``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stemweave.errors import InputError

MANIFEST = "manifest.jsonl"
STEM_SUFFIXES = (".flac", ".wav", ".aif", ".aiff", ".ogg", ".opus", ".m4a", ".mp3")
"""Of two files of a stem the first of these counts."""


@dataclass(frozen=True)
class Song:
    """One multi-track song.

    Attributes:
        folder: where the stems are.
        split: "train", "validation" or "test".
        duration_s: length of every stem.
        sample_rate: Hz of every stem.
        stems: names of the stems that exist.
        files: files whose sum is the stem, where they are not ``<stem>.flac`` or ``<stem>.wav``.
        details: everything else in ``song.json`` (origin, licence, how it was made).
    """

    folder: Path
    split: str
    duration_s: float
    sample_rate: int
    stems: tuple[str, ...]
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict, compare=False)
    details: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return self.folder.name

    def stem_paths(self, stem: str) -> tuple[Path, ...]:
        """Files whose sum is ``stem``; raises ``InputError`` if there is none."""
        if stem in self.files:
            return self.files[stem]
        path = find_stem(self.folder, stem)
        if path is None:
            raise InputError(f"{self.folder} has no {stem}.flac or {stem}.wav, though it is listed")
        return (path,)


def find_stem(folder: Path, name: str) -> Path | None:
    """``<name>.flac``, ``.wav``, ``.mp3`` … in ``folder``, if there is one, in any case."""
    for suffix in (".flac", ".wav"):
        if (path := folder / (name + suffix)).is_file():
            return path
    wanted = {(name + suffix).casefold(): rank for rank, suffix in enumerate(STEM_SUFFIXES)}
    found = [path for path in folder.glob("*") if path.name.casefold() in wanted]
    files = [path for path in found if not path.is_dir()]  # a link to nothing is missed
    return min(files, key=lambda path: wanted[path.name.casefold()], default=None)


def song_files(song: Song) -> list[tuple[str, int, int]]:
    """Versions of all files that are read of a song: stems, sheet and score, if there are any."""
    paths = [song.folder / name for name in ("sheet.json", "score.mid")]
    for stem in song.stems:
        with suppress(InputError):
            paths += song.stem_paths(stem)
    return [file_version(path) for path in paths if path.exists()]


def file_version(path: Path) -> tuple[str, int, int]:
    """Name, bytes and time of change: other ones after a repair."""
    about = path.stat()
    return path.name, about.st_size, about.st_mtime_ns


def read_song(folder: Path, split: str = "train") -> Song:
    """Read ``song.json`` of one folder; raises ``InputError`` if it is missing or incomplete."""
    path = folder / "song.json"
    try:
        details = json.loads(path.read_text())
        return Song(
            folder,
            details.pop("split", split),
            float(details.pop("duration_s")),
            int(details.pop("sample_rate")),
            tuple(details.pop("stems")),
            details=details,
        )
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a song description: {error}") from error


def licence_of(song: Song) -> str | None:
    """What ``song.json`` says of it; None if there is nothing."""
    with suppress(OSError, ValueError, AttributeError):
        said = song.details or json.loads((song.folder / "song.json").read_text())
        return said.get("licence")
    return None


def song_description(song: Song) -> str:
    """What ``song.json`` says of a song."""
    return json.dumps(_described(song) | song.details, indent=1) + "\n"


def _described(song: Song) -> dict[str, Any]:
    return {
        "duration_s": song.duration_s,
        "sample_rate": song.sample_rate,
        "stems": list(song.stems),
        "split": song.split,
    }


def write_song(song: Song) -> None:
    """Write ``song.json`` for stems that are already in the folder."""
    (song.folder / "song.json").write_text(song_description(song))


def manifest_line(song: Song, folder: Path) -> str:
    """A song's entry of a manifest that is in ``folder``."""
    entry = {"path": os.path.relpath(song.folder, folder), **_described(song)}
    if song.files:
        entry["files"] = {
            stem: [os.path.relpath(path, song.folder) for path in paths]
            for stem, paths in song.files.items()
        }
    return json.dumps(entry) + "\n"


def append_line(path: Path, line: str) -> None:
    """Add a line that ends in a newline; safe for several processes that append at once."""
    with path.open("ab") as file:
        os.write(file.fileno(), line.encode())


def append_to_manifest(data: Path, song: Song) -> None:
    """Add one line for a finished song; safe for several processes that append at once."""
    append_line(data / MANIFEST, manifest_line(song, data))


def read_manifest(data: Path) -> list[Song]:
    """Songs listed in ``data/manifest.jsonl`` (or the file itself), sorted by folder.

    Raises ``InputError`` if there is no manifest or one of its lines is not a song.
    """
    songs = {song.folder: song for song in _listed(data)}
    return [songs[folder] for folder in sorted(songs)]


def listed_names(data: Path) -> set[str]:
    """Names of the songs in ``data/manifest.jsonl``, none if there is no such file."""
    return {song.name for song in _listed(data)} if (data / MANIFEST).exists() else set()


def _listed(data: Path) -> Iterator[Song]:
    path = data if data.is_file() else data / MANIFEST
    try:
        file = path.open(encoding="utf-8", errors="replace")  # audio is not a song list, either
    except OSError as error:
        raise InputError(
            f"no song list at {path}: make one with 'stemweave compose' or 'stemweave data check'"
        ) from error
    with file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                folder = path.parent / entry["path"]
                yield Song(
                    folder,
                    entry["split"],
                    float(entry["duration_s"]),
                    int(entry["sample_rate"]),
                    tuple(entry["stems"]),
                    {
                        stem: tuple(Path(os.path.normpath(folder / name)) for name in names)
                        for stem, names in entry.get("files", {}).items()
                    },
                )
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"line {number} of {path} is not a song: {error}") from error


def total_hours(songs: Sequence[Song]) -> float:
    """Hours of music in ``songs``."""
    return sum(song.duration_s for song in songs) / 3600
