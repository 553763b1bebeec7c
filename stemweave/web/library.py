"""Audio on disk: everything lies in one folder, and appears complete or not at all.

``versions/<id>/<track>.wav`` are the tracks, ``versions/<id>/encoded/`` what was asked for in other
formats, ``versions/<id>/stretched/`` at another speed or pitch: what was asked for last.
``working/`` holds what is being made; it is emptied when a server starts.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemweave.audio.stretching import PLAIN, Stretch, stretched_blocks
from stemweave.io.decode import AudioReader, probe_audio
from stemweave.io.encode import WriterGroup, check_format
from stemweave.io.encoding import AudioFormat
from stemweave.io.fitting import BLOCK_SAMPLES, Shape
from stemweave.io.records import sha256_of
from stemweave.stems import MIXTURE
from stemweave.web.tables import Version, new_id

if TYPE_CHECKING:
    from torch import Tensor

KEPT_SETTINGS = 3
"""Speeds and pitches of a version that are kept; drums lie in one of their own."""


class Library:
    """The files below ``data``.

    Raises:
        OSError: if the folder cannot be made.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.versions = data / "versions"
        self._working = data / "working"
        self._pruning = threading.Lock()
        self._peaks: dict[tuple[str, Stretch], float] = {}
        for folder in (self.versions, self._working):
            folder.mkdir(parents=True, exist_ok=True)

    def sweep(self, known: Collection[str]) -> None:
        """Remove what a killed server left behind: half-made things and unknown versions."""
        left = [path for path in self.versions.iterdir() if path.name not in known]
        for path in (*self._working.iterdir(), *left):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def working_folder(self) -> Iterator[Path]:
        """An empty folder that goes away after the block, unless it was published."""
        folder = self._working / new_id()
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def folder(self, version_id: str) -> Path:
        return self.versions / version_id

    def track(self, version_id: str, name: str) -> Path:
        return self.folder(version_id) / f"{name}.wav"

    def describe(
        self,
        folder: Path,
        project_id: str,
        task: str,
        params: dict[str, Any] | None = None,
        seed: int | None = None,
        parent: Version | None = None,
    ) -> Version:
        """The row, with a new id, for the tracks in ``folder``.

        A track that ``parent`` has, too, takes no room of its own.
        """
        files = sorted(folder.glob("*.wav"))
        info = probe_audio(files[0])
        return Version(
            project_id=project_id,
            parent_id=parent.id if parent else None,
            task=task,
            params=params or {},
            seed=seed,
            sample_rate=info.sample_rate,
            channels=info.channels,
            num_samples=info.num_samples,
            tracks=[self._describe_track(file, parent) for file in files],
        )

    def _describe_track(self, file: Path, parent: Version | None) -> dict[str, Any]:
        row = {"name": file.stem, "bytes": file.stat().st_size}
        theirs = next((t for t in parent.tracks if t["name"] == file.stem), {}) if parent else {}
        if parent is None or theirs.get("content") is None:
            return {**row, "content": content_of(file)}
        original = self.track(parent.id, file.stem)
        if file.samefile(original):
            return {**row, "content": theirs["content"]}
        content = content_of(file)
        if content == theirs["content"]:
            file.unlink()
            share_file(original, file)
        return {**row, "content": content}

    def publish(self, folder: Path, version_id: str) -> None:
        """Make ``folder``, with a ``<track>.wav`` each, the files of a version."""
        folder.replace(self.folder(version_id))

    def remove(self, version_ids: Collection[str]) -> None:
        for version_id in version_ids:
            shutil.rmtree(self.folder(version_id), ignore_errors=True)

    def encoded(
        self, version: Version, name: str, fmt: AudioFormat, stretch: Stretch = PLAIN
    ) -> Path:
        """A track as a file of format ``fmt``, made when it is asked for the first time.

        Raises:
            InputError: if the format cannot hold the track, or the disk is full.
        """
        source = self.stretched(version, name, stretch)
        if fmt == "wav":
            return source
        check_format(fmt, version.channels)
        path = self._setting(version, stretch) / "encoded" / f"{name}.{fmt}"
        if not path.exists():
            peak = self._peak(version, stretch)
            with AudioReader(source) as reader:
                write_blocks(blocks_of(reader), path, fmt, shape_of(reader), peak)
        return path

    def _setting(self, version: Version, stretch: Stretch) -> Path:
        folder = self.folder(version.id)
        if not stretch.changes:
            return folder
        return folder / "stretched" / f"{stretch.speed:g}_{stretch.semitones:g}"

    def stretched(self, version: Version, name: str, stretch: Stretch) -> Path:
        """A track at another speed or pitch, made when it is asked for; older ones are removed.

        Drums keep their pitch. A mixture is the sum of its stems, so that its drums do, too.

        Raises:
            InputError: if the disk is full.
        """
        if name == "drums":
            stretch = Stretch(stretch.speed)
        folder = self._setting(version, stretch)
        path = folder / f"{name}.wav"
        if not stretch.changes:
            return path
        if path.exists():
            with suppress(OSError):
                os.utime(folder)  # what was used last is kept
            return path
        stems = [one for one in version.track_names if one != MIXTURE]
        if name == MIXTURE and stretch.semitones and stems:
            write_sum((self.stretched(version, one, stretch) for one in stems), path)
        else:
            self._write_stretched(version, name, stretch, path)
        with self._pruning, suppress(FileNotFoundError):
            by_age = sorted(folder.parent.iterdir(), key=lambda setting: setting.stat().st_mtime)
            for old in by_age[:-KEPT_SETTINGS]:
                shutil.rmtree(old, ignore_errors=True)
        return path

    def _write_stretched(self, version: Version, name: str, stretch: Stretch, path: Path) -> None:
        length, rate = version.num_samples, version.sample_rate
        shape = Shape(rate, version.channels, stretch.samples(length))
        with AudioReader(self.track(version.id, name)) as reader:
            write_blocks(stretched_blocks(reader, length, rate, stretch), path, "wav", shape)

    def _peak(self, version: Version, stretch: Stretch) -> float:
        """Of all tracks: what would clip makes all of them quieter, so that they still add up."""
        key = (version.id, stretch)
        if key not in self._peaks:
            peak = 0.0
            for name in version.track_names:
                with AudioReader(self.stretched(version, name, stretch)) as reader:
                    blocks = blocks_of(reader)
                    peak = max(peak, *(float(block.abs().max()) for block in blocks))
            self._peaks[key] = peak
        return self._peaks[key]

    def without_paths(self, sentence: str) -> str:
        return sentence.replace(f"{self.data}/", "")

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.data).free


def write_blocks(
    blocks: Iterable[Tensor], path: Path, fmt: AudioFormat, shape: Shape, peak: float = 0.0
) -> None:
    """Write ``blocks`` (channels, samples), which are of ``shape``; ``peak``: see ``WriterGroup``.

    Raises:
        InputError: if they are not finite, or the disk is full.
    """
    size = shape.sample_rate, shape.channels, fmt, shape.num_samples
    with WriterGroup({path.name: path}, *size, peak=peak) as group:
        for block in blocks:
            group.write({path.name: block})


def write_sum(paths: Iterable[Path], path: Path) -> None:
    with ExitStack() as files:
        readers = [files.enter_context(AudioReader(one)) for one in paths]
        rows = zip(*map(blocks_of, readers), strict=True)
        write_blocks((sum(row[1:], row[0]) for row in rows), path, "wav", shape_of(readers[0]))


def shape_of(reader: AudioReader) -> Shape:
    return Shape(reader.info.sample_rate, reader.info.channels, reader.info.num_samples)


def blocks_of(reader: AudioReader) -> Iterator[Tensor]:
    """All of a file, (channels, samples) each."""
    for start in range(0, reader.info.num_samples, BLOCK_SAMPLES):
        yield reader(start, min(BLOCK_SAMPLES, reader.info.num_samples - start))


def share_file(source: Path, target: Path) -> None:
    """``target`` with the content of ``source``, without a second copy where the disk allows it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def content_of(path: Path) -> str:
    """What stands for the bytes of a file: files of equal content have equal ones."""
    return sha256_of(path)[:32]
