"""Audio files in: what they hold, and their samples as float32 tensors (channels, samples).

libsndfile reads what it can read exactly, FFmpeg all the rest. No length is taken on trust: of
compressed files all is decoded once to count what is there. numpy, soundfile and av are imported by
what uses them, for ``stemweave --help`` does not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from stemweave.errors import InputError
from stemweave.io import ffmpeg
from stemweave.io.sndfile import INDEXED, PCM_CONTAINERS, NotReadable, SndfileSound
from stemweave.io.stated import AudioInfo, riff_sound

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus", ".wma", ".aif", ".aiff", ".aifc",
    ".caf", ".au", ".snd", ".w64", ".rf64", ".bwf", ".oga", ".m4b", ".mka", ".weba", ".mp2", ".ac3",
    ".eac3", ".dts", ".ape", ".wv", ".tta", ".tak", ".mpc", ".amr",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".asf", ".3gp", ".mpg",
    ".mpeg", ".ts", ".mts", ".ogv",
)  # fmt: skip
"""Files that may have sound beside pictures."""
VORBIS_BLOCK_S = 0.02
"""By so much FFmpeg may miscount a short OGG, which libsndfile does not."""
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000


class _Sound(Protocol):
    def seek(self, start: int) -> None: ...

    def read(self, length: int) -> np.ndarray: ...

    def close(self) -> None: ...


class _Found(NamedTuple):
    info: AudioInfo
    open: Callable[[], _Sound]


def probe_audio(path: Path, max_duration_s: float | None = None) -> AudioInfo:
    """What an audio file holds; compressed files are decoded once to count it.

    Args:
        max_duration_s: counting ends here, and a longer file is this long.

    Raises:
        InputError: if it is missing, a folder, empty, no audio, or its rate is out of range.
    """
    return _find(path, counted=True, max_duration_s=max_duration_s).info


def read_header(path: Path) -> AudioInfo:
    """As ``probe_audio``, but FLAC and OGG are as long as they state: for large data sets.

    Raises:
        InputError: as ``probe_audio``.
    """
    return _find(path, counted=False).info


class AudioReader:
    """Samples of an audio file: ``reader(start, length)`` → (channels, length).

    Reading on from where the last read began decodes nothing twice, whatever the format. To go back
    further, some formats are decoded from their beginning.

    Args:
        counted: False takes a stated length on trust (``read_header``).
    """

    def __init__(self, path: Path, counted: bool = True) -> None:
        import numpy as np

        found = _find(path, counted)
        self.info = found.info
        with _reading(path):
            self._sound = found.open()
        self._kept = np.zeros((0, self.info.channels), np.float32)
        self._kept_at = self._position = 0

    def __call__(self, start: int, length: int) -> Tensor:
        """Samples [start, start + length); raises ``InputError`` if they are not there."""
        import numpy as np
        import torch

        path = self.info.path
        with _reading(path):
            samples = self._read(start, length)
        if len(samples) < length:
            at_s = (start + len(samples)) / self.info.sample_rate
            raise InputError(f"{path} is damaged or cut off: no samples after {at_s:.1f} s")
        if not np.isfinite(samples).all():
            raise InputError(f"{path} has samples that are not numbers (NaN or infinite)")
        return torch.from_numpy(samples.T.copy())

    def _read(self, start: int, length: int) -> np.ndarray:
        """Samples (length, channels); those from ``start`` to where the file stands are kept."""
        import numpy as np

        if self._kept_at <= start <= self._position:
            kept = self._kept[start - self._kept_at :]
        else:
            self._sound.seek(start)
            self._position, kept = start, self._kept[:0]
        if len(kept) < length:
            new = self._sound.read(length - len(kept))
            self._position += len(new)
            kept = np.concatenate([kept, new])
        self._kept, self._kept_at = kept, start
        return kept[:length]

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._sound.close()


def read_audio(path: Path, start: int = 0, frames: int = -1) -> tuple[Tensor, int]:
    """Samples (channels, frames) from ``start`` on, and the sample rate; -1 reads to the end.

    Raises:
        InputError: as ``probe_audio``, and for damaged files and samples that are not finite.
    """
    with AudioReader(path, counted=frames < 0) as reader:
        length = reader.info.num_samples - start if frames < 0 else frames
        return reader(start, length), reader.info.sample_rate


def is_audio(path: Path) -> bool:
    """Whether there is sound in a file, by its beginning; false for what cannot be read at all."""
    try:
        _find(path, counted=False, max_duration_s=0.0)
    except Exception:  # a decoder's own, of a file that nobody has asked for by its name
        return False
    return True


def _find(path: Path, counted: bool, max_duration_s: float | None = None) -> _Found:
    """What is in a file and what reads it; raises ``InputError``."""
    try:
        os.fsencode(path).decode()
        about = path.stat()
    except UnicodeDecodeError as error:
        raise InputError(f"{os.fsencode(path)!r} is not a name in Unicode: rename it") from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InputError(f"{path} does not exist: check the name") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(about.st_mode):
        raise InputError(f"{path} is a folder where an audio file is expected")
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{path} is no regular file: save the sound to one first")
    if about.st_size == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    return _find_in(path, about.st_size, about.st_mtime_ns, counted, max_duration_s)


@lru_cache(maxsize=256)
def _find_in(
    path: Path, size: int, changed_ns: int, counted: bool, max_duration_s: float | None
) -> _Found:
    """``_find`` for an existing file; a file that has not changed is not counted again."""
    with _reading(path):
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(PCM_CONTAINERS) and (found := _uncompressed(path, start)):
            return found
        if start.startswith(INDEXED) and not counted and (found := _by_sndfile(path)):
            return found
        try:
            info, options = ffmpeg.count(path, max_duration_s=max_duration_s)
        except ffmpeg.NotDecodable as error:
            raise InputError(f"{path} is not audio that can be read: {error}") from error
        if start.startswith(INDEXED) and not info.shortfall:
            found = _by_sndfile(path)
            if found and _agree(found.info, info, start.startswith(b"OggS")):
                return found
        return _by_ffmpeg(info, options)


def _agree(info: AudioInfo, counted: AudioInfo, ogg: bool) -> bool:
    """Whether libsndfile reads all of a file, with its channels in the order of a WAV's."""
    apart_s = abs(info.duration_s - counted.duration_s)
    return info.channels <= 2 and apart_s <= VORBIS_BLOCK_S if ogg else apart_s == 0


def _uncompressed(path: Path, start: bytes) -> _Found | None:
    """What libsndfile finds, or FFmpeg after a header that states less than there is."""
    if start.startswith(b"RI") or start.startswith(b"RF"):
        riff = riff_sound(path)
        if riff is not None and riff.is_longer:
            with suppress(ffmpeg.NotDecodable):
                return _by_ffmpeg(*ffmpeg.count(path, {"ignore_length": "1"}))
        if riff is not None and not riff.there:
            raise InputError(f"{path} holds no samples")
    return _by_sndfile(path)


def _by_sndfile(path: Path) -> _Found | None:
    try:
        sound = SndfileSound(path)
    except NotReadable:
        return None
    sound.close()
    if sound.num_samples <= 0:
        return None
    info = AudioInfo(
        path, sound.sample_rate, sound.channels, sound.num_samples, sound.stated_samples
    )
    return _Found(_checked(info), lambda: SndfileSound(path))


def _by_ffmpeg(info: AudioInfo, options: ffmpeg.Options) -> _Found:
    return _Found(_checked(info), lambda: ffmpeg.FFmpegSound(info, options))


def _checked(info: AudioInfo) -> AudioInfo:
    if not MIN_SAMPLE_RATE <= info.sample_rate <= MAX_SAMPLE_RATE:
        raise InputError(
            f"{info.path} has a sample rate of {info.sample_rate} Hz: resample it to between "
            f"{MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz"
        )
    return info


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong with a file becomes one sentence about it."""
    try:
        yield
    except (ffmpeg.NotDecodable, NotReadable) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}")
