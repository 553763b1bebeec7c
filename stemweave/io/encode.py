"""Audio files out, written block by block; they appear under their names when they are complete.

numpy, soundfile and av are imported by what uses them, for ``stemweave --help`` does not.
"""

from __future__ import annotations

import errno
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from stemweave.errors import InputError
from stemweave.io.encoders import Encoder, encoder
from stemweave.io.encoding import Encoding, encoding_of
from stemweave.io.files import Staging, writing_failed

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_SAMPLES = 1 << 18
MEMORY_BYTES = 1 << 23
"""Of a file whose gain is not known yet; the rest waits on the disk."""
FULL_SCALE = 1 + 2.0**-15
"""Up to here samples are full scale and rounding: to clip them costs less than 16 bits can hold."""
PEAK = 0.9999
"""Largest sample of files that were made quieter: dither comes on top."""

logger = logging.getLogger(__name__)


class AudioWriter:
    """Writes an audio file block by block under a temporary name; see ``WriterGroup``.

    Samples beyond full scale stay in 32-bit float WAV; files of other encodings wait until their
    gain is known, on the disk of the output, and are then encoded.

    Raises:
        InputError: if the folder cannot be written, the disk is full, or the encoding cannot hold
            the channels.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        encoding: str | Encoding = "wav",
        num_samples: int | None = None,
    ) -> None:
        self.path, self.encoding, self.peak = path, encoding_of(encoding), 0.0
        self.encoding.check(channels)
        self._sample_rate, self._channels, self._num_samples = sample_rate, channels, num_samples
        _say_resampled(self.encoding, sample_rate)
        self._partial = _Partial(path)
        self._encoder: Encoder | None = None
        self._waiting: IO[bytes] | None = None
        try:
            with _writing(path):
                if self.encoding.clips:
                    self._waiting = tempfile.SpooledTemporaryFile(  # noqa: SIM115
                        MEMORY_BYTES, dir=str(self._partial.folder)
                    )
                else:
                    self._encoder = self._open()
        except InputError:
            self.discard()
            raise

    def _open(self) -> Encoder:
        return encoder(
            self._partial.file, self.encoding, self._sample_rate, self._channels, self._num_samples
        )

    def write(self, waveform: Tensor) -> None:
        """Append samples (channels, n).

        Raises:
            ResultError: if some are not finite.
        """
        import numpy as np

        from stemweave.audio.waveforms import ResultError

        samples = np.ascontiguousarray(waveform.detach().cpu().numpy().T, dtype=np.float32)
        peak = float(np.abs(samples).max(initial=0.0))
        if not math.isfinite(peak):
            raise ResultError(
                f"{self.path.name} would have samples that are not numbers: it is louder than "
                "32-bit floating point can hold"
            )
        self.peak = max(self.peak, peak)
        with _writing(self.path):
            if self._waiting is not None:
                self._waiting.write(samples.tobytes())
            elif self._encoder is not None:
                self._encoder.write(samples)

    def close(self, gain: float = 1.0) -> None:
        """Bring everything to the disk under a temporary name, times ``gain`` where it waited."""
        import numpy as np

        with _writing(self.path):
            if self._waiting is not None:
                self._encoder = self._open()
                self._waiting.seek(0)
                while data := self._waiting.read(BLOCK_SAMPLES * 4 * self._channels):
                    samples = np.frombuffer(data, np.float32).reshape(-1, self._channels)
                    self._encoder.write(samples * np.float32(gain))
            assert self._encoder is not None
            self._encoder.close()

    def publish(self) -> None:
        """Give the closed file its name."""
        self._partial.publish()

    def discard(self) -> None:
        """Leave nothing behind, nor empty folders made for this file."""
        if self._waiting is not None:
            self._waiting.close()
        if self._encoder is not None:
            with suppress(Exception):  # it may have failed for want of room
                self._encoder.close()
        self._partial.discard()


class Document:
    """A text file that appears with the audio files of a group.

    Args:
        text: what is in it, by the files' gain.
    """

    def __init__(self, path: Path, text: Callable[[float], str]) -> None:
        self.path, self._text = path, text
        self._partial: _Partial | None = None

    def close(self, gain: float = 1.0) -> None:
        self._partial = _Partial(self.path)
        with _writing(self.path):
            self._partial.file.write_text(self._text(gain), encoding="utf-8")

    def publish(self) -> None:
        if self._partial is not None:
            self._partial.publish()

    def discard(self) -> None:
        if self._partial is not None:
            self._partial.discard()


class WriterGroup:
    """Several files that appear together when the ``with`` block ends well, or not at all.

    If a sample of any would clip, all are made quieter by the same gain, and a line says so.

    Args:
        peak: of files that are written at other times and take the same gain.
        optional: names of files that do not appear if all of their samples are zero.

    Attributes:
        writers: of the files by name, once the block has ended only of those that appear.
        gain: of the written files, once the block has ended.
    """

    def __init__(
        self,
        writers: Mapping[str, AudioWriter],
        documents: Sequence[Document] = (),
        peak: float = 0.0,
        optional: Sequence[str] = (),
    ) -> None:
        self.writers, self.documents, self.gain = dict(writers), tuple(documents), 1.0
        self._others_peak, self._optional = peak, tuple(optional)

    def write(self, waveforms: Mapping[str, Tensor]) -> None:
        """Append (channels, n) samples to the file of each name."""
        for name, waveform in waveforms.items():
            self.writers[name].write(waveform)

    def __enter__(self) -> WriterGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in self._optional:
            if self.writers[name].peak == 0:
                self.writers.pop(name).discard()
        files: list[AudioWriter | Document] = [*self.writers.values(), *self.documents]
        try:
            if kind is None:
                self.gain = self._common_gain()
                for file in files:
                    file.close(self.gain)
                for file in files:
                    file.publish()
        finally:
            for file in reversed(files):  # the first one made the folders
                file.discard()

    def _common_gain(self) -> float:
        clipping = [writer for writer in self.writers.values() if writer.encoding.clips]
        if not clipping:
            return 1.0
        peak = max(self._others_peak, *(writer.peak for writer in clipping))
        if peak <= FULL_SCALE:
            return 1.0
        first = clipping[0].path
        those = f"{first}:" if len(clipping) == 1 else f"{first.parent}: all files"
        logger.warning(
            f"{those} made {20 * math.log10(peak / PEAK):.1f} dB quieter, for samples "
            "beyond full scale would clip; format wav keeps them"
        )
        return PEAK / peak


def write_audio(
    path: Path, waveform: Tensor, sample_rate: int, encoding: str | Encoding = "wav"
) -> None:
    """Write ``waveform`` (channels, samples); see ``AudioWriter``."""
    writer = AudioWriter(path, sample_rate, waveform.shape[0], encoding, waveform.shape[-1])
    with WriterGroup({path.name: writer}) as group:
        group.write({path.name: waveform})


def check_format(encoding: str | Encoding, channels: int) -> None:
    """Raise ``InputError`` if there is no such format, or it cannot hold so many channels."""
    encoding_of(encoding).check(channels)


class _Partial:
    """A file that is made in a private folder and then moved to its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._staging = Staging(path.parent)
        except OSError as error:
            raise writing_failed(path, error) from error
        self.folder = self._staging.path
        self.file = self.folder / path.name

    def publish(self) -> None:
        try:
            self.file.replace(self.path)
        except OSError as error:
            raise writing_failed(self.path, error) from error

    def discard(self) -> None:
        self._staging.close()


@lru_cache
def _say_resampled(encoding: Encoding, sample_rate: int) -> None:
    """One line, once for each pair of rates."""
    rate = encoding.file_rate(sample_rate)
    if rate != sample_rate:
        logger.warning(
            f"{encoding.title} has no sample rate of {sample_rate} Hz: files have {rate} Hz"
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What goes wrong in a library that writes becomes ``OutputError``."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: Exception) -> InputError:
    """``writing_failed``; what libraries call an error of their own gets a likely cause."""
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOSPC, errno.EFBIG):
        return writing_failed(path, error)
    reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return writing_failed(path, OSError(f"the disk may be full ({str(reason).rstrip('.')})"))
