"""Uploaded files become the tracks of a version, if they are audio of bearable size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stemweave.audio.waveforms import ResultError
from stemweave.errors import InputError
from stemweave.io.decode import AudioInfo, AudioReader, probe_audio
from stemweave.io.fitting import Shape, changes, common_shape, fitted
from stemweave.stems import MIXTURE
from stemweave.web.errors import DISK_FULL, Refused
from stemweave.web.library import Library, write_blocks, write_sum
from stemweave.web.settings import Settings
from stemweave.web.uploads import Upload

if TYPE_CHECKING:
    from torch import Tensor

BYTES_PER_SAMPLE = 4
MAX_BYTES_PER_SECOND = 2 * 192_000 * BYTES_PER_SAMPLE
"""Decoded audio of stereo at 192 kHz, or eight channels at 48 kHz."""


def ingest(upload: Upload, folder: Path, settings: Settings, library: Library) -> list[str]:
    """Write ``folder/<track>.wav`` for every uploaded file, and the mixture of stems without one.

    Everything is decoded, so that later nothing can turn out to be damaged. Tracks of other rates,
    channels or lengths are fitted to each other; returns a sentence for each change, and for what
    is missing. Raises ``Refused``.
    """
    labels = upload.labels
    longest_s = settings.max_seconds + 1
    infos = {name: _probe(path, labels[name], longest_s) for name, path in upload.files.items()}
    for name, info in infos.items():
        _check_size(info, labels[name], settings)
    shape = common_shape(infos, labels)
    if shape.bytes > settings.max_seconds * MAX_BYTES_PER_SECOND:
        raise Refused(413, "the files have too different lengths, rates and channels")
    if library.free_bytes() < 2 * len(infos) * shape.bytes + settings.min_free_mb * 1e6:
        raise Refused(507, DISK_FULL)
    try:
        for name, path in upload.files.items():
            _write_track(path, labels[name], folder / f"{name}.wav", shape)
            path.unlink()
        if MIXTURE not in infos:
            write_sum([folder / f"{name}.wav" for name in infos], folder / f"{MIXTURE}.wav")
    except ResultError as error:
        raise Refused(415, "the sum of the files is not finite: send quieter ones") from error
    notes = []
    for name, info in infos.items():
        if info.shortfall:
            notes.append(_named(info.shortfall, info.path, labels[name]))
        notes += changes(info, labels[name], shape)
    return notes


class _Sound(AudioReader):
    """An uploaded file: what is wrong with it is said under the client's name for it."""

    def __init__(self, path: Path, label: str) -> None:
        super().__init__(path)
        self._label = label

    def __call__(self, start: int, length: int) -> Tensor:
        try:
            return super().__call__(start, length)
        except InputError as error:
            raise Refused(415, _named(str(error), self.info.path, self._label)) from error


def _probe(path: Path, label: str, longest_s: float) -> AudioInfo:
    try:
        return probe_audio(path, longest_s)
    except InputError as error:
        raise Refused(415, _named(str(error), path, label)) from error


def _named(sentence: str, path: Path, label: str) -> str:
    return sentence.replace(str(path), label)


def _check_size(info: AudioInfo, label: str, settings: Settings) -> None:
    if info.duration_s > settings.max_seconds:
        raise Refused(
            413, f"{label} is too long: this server takes at most {settings.max_minutes:g} minutes"
        )
    decoded = info.num_samples * info.channels * BYTES_PER_SAMPLE
    if decoded > settings.max_seconds * MAX_BYTES_PER_SECOND:
        raise Refused(413, f"{label} has too many channels for its length and sample rate")


def _write_track(path: Path, label: str, target: Path, shape: Shape) -> None:
    try:
        with _Sound(path, label) as reader:
            write_blocks(fitted(reader, reader.info, shape), target, "wav", shape)
    except ResultError as error:
        raise Refused(415, f"{label} is too loud to be resampled: make it quieter") from error
