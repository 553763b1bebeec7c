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
from functools import lru_cache, partial
from pathlib import Path
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
    """Writes the audio file that becomes ``path`` block by block as ``file``; see ``WriterGroup``.

    Samples beyond full scale stay in 32-bit float WAV; files of other encodings wait until their
    gain is known, on the disk of the output, and are then encoded.
    """

    def __init__(
        self,
        path: Path,
        file: Path,
        sample_rate: int,
        channels: int,
        encoding: Encoding,
        num_samples: int | None,
    ) -> None:
        self.path, self.file, self.clips, self.peak = path, file, encoding.clips, 0.0
        self._channels = channels
        self._open = partial(encoder, file, encoding, sample_rate, channels, num_samples)
        self._encoder: Encoder | None = None
        self._waiting: IO[bytes] | None = None
        with _writing(path):
            if self.clips:
                self._waiting = tempfile.SpooledTemporaryFile(  # noqa: SIM115
                    MEMORY_BYTES, dir=str(file.parent)
                )
            else:
                self._encoder = self._open()

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

    def close(self, gain: float) -> None:
        """Bring everything to the disk, times ``gain`` where it waited."""
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

    def discard(self) -> None:
        """Let go of the open file."""
        if self._waiting is not None:
            self._waiting.close()
        if self._encoder is not None:
            with suppress(Exception):  # it may have failed for want of room
                self._encoder.close()


class WriterGroup:
    """Files of one folder that appear together when the ``with`` block ends well, or not at all.

    If a sample of any would clip, all are made quieter by the same gain, and a line says so.

    Args:
        files: their paths, by name.
        texts: what else appears with them: what is in it, by the files' gain.
        peak: of files that are written at other times and take the same gain.
        optional: names of files that do not appear if all of their samples are zero.

    Attributes:
        writers: of the files by name, once the block has ended only of those that appear.
        gain: of the written files, once the block has ended.

    Raises:
        InputError: if the folder cannot be written, the disk is full, or the encoding cannot hold
            the channels.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        sample_rate: int,
        channels: int,
        encoding: str | Encoding = "wav",
        num_samples: int | None = None,
        texts: Mapping[Path, Callable[[float], str]] | None = None,
        peak: float = 0.0,
        optional: Sequence[str] = (),
    ) -> None:
        encoding = encoding_of(encoding)
        encoding.check(channels)
        _say_resampled(encoding, sample_rate)
        self.gain, self._texts, self._peak, self._optional = 1.0, texts or {}, peak, optional
        self.writers: dict[str, AudioWriter] = {}
        first = next(iter(files.values()))
        try:
            self._staging = Staging(first.parent)
        except OSError as error:
            raise writing_failed(first, error) from error
        try:
            for name, path in files.items():
                file = self._staging.path / path.name
                self.writers[name] = AudioWriter(
                    path, file, sample_rate, channels, encoding, num_samples
                )
        except BaseException:
            self._end()
            raise

    def write(self, waveforms: Mapping[str, Tensor]) -> None:
        """Append (channels, n) samples to the file of each name."""
        for name, waveform in waveforms.items():
            self.writers[name].write(waveform)

    def __enter__(self) -> WriterGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for name in self._optional:
            if self.writers[name].peak == 0:
                self.writers.pop(name).discard()
        try:
            if kind is None:
                self._publish()
        finally:
            self._end()

    def _publish(self) -> None:
        self.gain = self._common_gain()
        for writer in self.writers.values():
            writer.close(self.gain)
        for path, text in self._texts.items():
            with _writing(path):
                (self._staging.path / path.name).write_text(text(self.gain), encoding="utf-8")
        for path in (*(writer.path for writer in self.writers.values()), *self._texts):
            try:
                (self._staging.path / path.name).replace(path)
            except OSError as error:
                raise writing_failed(path, error) from error

    def _end(self) -> None:
        """Leave nothing behind, nor empty folders made for the files."""
        for writer in self.writers.values():
            writer.discard()
        self._staging.close()

    def _common_gain(self) -> float:
        clipping = [writer for writer in self.writers.values() if writer.clips]
        peak = max([self._peak, *(writer.peak for writer in clipping)])
        if not clipping or peak <= FULL_SCALE:
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
    """Write ``waveform`` (channels, samples); see ``WriterGroup``."""
    channels, num_samples = waveform.shape
    with WriterGroup({path.name: path}, sample_rate, channels, encoding, num_samples) as group:
        group.write({path.name: waveform})


def check_format(encoding: str | Encoding, channels: int) -> None:
    """Raise ``InputError`` if there is no such format, or it cannot hold so many channels."""
    encoding_of(encoding).check(channels)


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
