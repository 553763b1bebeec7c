"""Uploaded files become the tracks of a version, if they are audio of bearable size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stemweave.files import InputError
from stemweave.io.decode import AudioInfo, AudioReader, probe_audio
from stemweave.io.encode import AudioWriter, WriterGroup
from stemweave.stems import MIXTURE
from stemweave.web.errors import DISK_FULL, Refused
from stemweave.web.library import BLOCK_SAMPLES, Library, copy_audio
from stemweave.web.settings import Settings
from stemweave.web.uploads import Upload

if TYPE_CHECKING:
    from torch import Tensor

BYTES_PER_SAMPLE = 4
MAX_BYTES_PER_SECOND = 2 * 192_000 * BYTES_PER_SAMPLE
"""Decoded audio of stereo at 192 kHz, or eight channels at 48 kHz."""


def ingest(upload: Upload, folder: Path, settings: Settings, library: Library) -> None:
    """Write ``folder/<track>.wav`` for every uploaded file, and the mixture of stems without one.

    Everything is decoded, so that later nothing can turn out to be damaged. Raises ``Refused``.
    """
    infos = {name: _probe(path, upload.labels[name]) for name, path in upload.files.items()}
    decoded = 0
    for name, info in infos.items():
        _check_size(info, upload.labels[name], settings)
        decoded += info.num_samples * info.channels * BYTES_PER_SAMPLE
    _check_equal(infos, upload.labels)
    if library.free_bytes() < 2 * decoded + settings.min_free_mb * 1e6:
        raise Refused(507, DISK_FULL)
    try:
        for name, path in upload.files.items():
            with _Sound(path, upload.labels[name]) as reader:
                copy_audio(reader, folder / f"{name}.wav", "wav")
            path.unlink()
        if MIXTURE not in infos:
            _write_sum(folder, list(infos))
    except InputError as error:
        raise Refused(507, DISK_FULL) from error


class _Sound(AudioReader):
    """An uploaded file: what is wrong with it is said under the client's name for it."""

    def __init__(self, path: Path, label: str) -> None:
        super().__init__(path)
        self._label = label

    def __call__(self, start: int, length: int) -> Tensor:
        try:
            return super().__call__(start, length)
        except InputError as error:
            raise Refused(415, _named(error, self.info.path, self._label)) from error


def _probe(path: Path, label: str) -> AudioInfo:
    try:
        return probe_audio(path)
    except InputError as error:
        raise Refused(415, _named(error, path, label)) from error


def _named(error: InputError, path: Path, label: str) -> str:
    return str(error).replace(str(path), label)


def _check_size(info: AudioInfo, label: str, settings: Settings) -> None:
    if info.duration_s > settings.max_seconds:
        raise Refused(
            413,
            f"{label} is {info.duration_s / 60:.1f} minutes long: this server takes at most "
            f"{settings.max_minutes:g}",
        )
    decoded = info.num_samples * info.channels * BYTES_PER_SAMPLE
    if decoded > settings.max_seconds * MAX_BYTES_PER_SECOND:
        raise Refused(413, f"{label} has too many channels for its length and sample rate")


def _check_equal(infos: dict[str, AudioInfo], labels: dict[str, str]) -> None:
    first = next(iter(infos))
    for name, info in infos.items():
        other = infos[first]
        if (info.sample_rate, info.channels, info.num_samples) != (
            other.sample_rate,
            other.channels,
            other.num_samples,
        ):
            raise Refused(
                422,
                f"{labels[name]} ({_words(info)}) does not match {labels[first]} ({_words(other)}):"
                " send tracks of one song, of equal length, channels and sample rate",
            )


def _words(info: AudioInfo) -> str:
    return f"{info.channels} channels, {info.num_samples} samples, {info.sample_rate} Hz"


def _write_sum(folder: Path, names: list[str]) -> None:
    """Write the mixture of the tracks ``names``."""
    readers = [AudioReader(folder / f"{name}.wav") for name in names]
    info = readers[0].info
    path = folder / f"{MIXTURE}.wav"
    writer = AudioWriter(path, info.sample_rate, info.channels, "wav", info.num_samples)
    with WriterGroup({MIXTURE: writer}) as group:
        for start in range(0, info.num_samples, BLOCK_SAMPLES):
            length = min(BLOCK_SAMPLES, info.num_samples - start)
            parts = [reader(start, length) for reader in readers]
            group.write({MIXTURE: sum(parts[1:], parts[0])})
    for reader in readers:
        reader.__exit__()
