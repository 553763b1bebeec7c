"""Audio files out, written block by block; they appear under their names when they are complete.

numpy and soundfile are imported by what uses them, for ``stemweave --help`` does not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from stemweave.files import InputError, Staging, writing_failed

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("wav", "flac", "mp3")
MP3_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
LARGEST_WAV_BYTES = 2**32 - 2**20

logger = logging.getLogger(__name__)

AudioFormat = Literal["wav", "flac", "mp3"]


class AudioWriter:
    """Writes an audio file block by block under a temporary name; see ``WriterGroup``.

    WAV is 32-bit float (RF64 beyond 4 GiB), FLAC 24-bit, MP3 libsndfile's best variable bit rate.
    FLAC and MP3 clip at full scale; WAV does not.

    Raises:
        InputError: if the folder cannot be written, the disk is full, or the format cannot hold the
            sample rate or channels.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        fmt: AudioFormat = "wav",
        num_samples: int | None = None,
    ) -> None:
        import soundfile

        self.path, self.fmt, self._clipped = path, fmt, False
        check_format(fmt, sample_rate, channels)
        large = num_samples is not None and num_samples * channels * 4 > LARGEST_WAV_BYTES
        container, subtype = {
            "wav": ("RF64" if large else "WAV", "FLOAT"),
            "flac": ("FLAC", "PCM_24"),
            "mp3": ("MP3", "MPEG_LAYER_III"),
        }[fmt]
        try:
            self._staging = Staging(path.parent)
        except OSError as error:
            raise writing_failed(path, error) from error
        self._partial = self._staging.path / path.name
        try:
            self._sound = soundfile.SoundFile(
                str(self._partial), "w", sample_rate, channels, format=container, subtype=subtype
            )
        except soundfile.LibsndfileError as error:
            self._staging.close()
            raise _not_written(path, error) from error

    def write(self, waveform: Tensor) -> None:
        """Append samples (channels, n)."""
        import soundfile

        samples = waveform.detach().cpu().numpy().T
        if self.fmt != "wav":
            if not self._clipped and abs(samples).max(initial=0.0) > 1.0:
                self._clipped = True
                logger.warning(
                    "%s: samples beyond full scale are clipped, --format wav keeps them", self.path
                )
            samples = samples.clip(-1.0, 1.0)
        try:
            self._sound.write(samples)
        except (OSError, soundfile.LibsndfileError, AssertionError) as error:
            raise _not_written(self.path, error) from error

    def close(self) -> None:
        """Bring everything to the disk under a temporary name."""
        import soundfile

        try:
            self._sound.flush()
            self._sound.close()
        except (OSError, soundfile.LibsndfileError) as error:
            raise _not_written(self.path, error) from error

    def publish(self) -> None:
        """Give the closed file its name."""
        try:
            self._partial.replace(self.path)
        except OSError as error:
            raise writing_failed(self.path, error) from error

    def discard(self) -> None:
        """Leave nothing behind, nor empty folders made for this file."""
        self._sound.close()
        self._staging.close()


class WriterGroup:
    """Several files that appear together when the ``with`` block ends well, or not at all."""

    def __init__(self, writers: Mapping[str, AudioWriter]) -> None:
        self.writers = dict(writers)

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
        try:
            if kind is None:
                for writer in self.writers.values():
                    writer.close()
                for writer in self.writers.values():
                    writer.publish()
        finally:
            for writer in reversed(self.writers.values()):  # the first one made the folders
                writer.discard()


def write_audio(path: Path, waveform: Tensor, sample_rate: int, fmt: AudioFormat = "wav") -> None:
    """Write ``waveform`` (channels, samples); see ``AudioWriter``."""
    writer = AudioWriter(path, sample_rate, waveform.shape[0], fmt, waveform.shape[-1])
    with WriterGroup({path.name: writer}) as group:
        group.write({path.name: waveform})


def check_format(fmt: str, sample_rate: int, channels: int) -> None:
    """Raise ``InputError`` if ``fmt`` is unknown or cannot hold such audio."""
    if fmt not in FORMATS:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}, not {fmt}")
    if fmt == "mp3" and (channels > 2 or sample_rate not in MP3_SAMPLE_RATES):
        raise InputError(
            f"MP3 cannot hold {channels} channels at {sample_rate} Hz: use --format wav or flac"
        )
    if fmt == "flac" and channels > 8:
        raise InputError(f"FLAC cannot hold {channels} channels: use --format wav")


def _not_written(path: Path, error: BaseException) -> InputError:
    """``writing_failed``; what libsndfile calls a system error gets a likely cause."""
    import soundfile

    if isinstance(error, soundfile.LibsndfileError):
        error = OSError(f"the disk may be full ({error.error_string.rstrip('.')})")
    return writing_failed(path, error)
