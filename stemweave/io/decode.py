"""Audio files in: what they hold, and their samples as float32 tensors (channels, samples).

numpy and soundfile are imported by what uses them, for ``stemweave --help`` does not.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stemweave.files import InputError

if TYPE_CHECKING:
    from torch import Tensor

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".opus")
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000
STREAMED_BYTES = 2**31 - 2**16
"""Sizes from here on stand in headers that were written before the length was known."""
SF_ERR_NO_FILE = 7
"""libsndfile's code for what no decoder knows, though the file is there."""


@dataclass(frozen=True)
class AudioInfo:
    """Sample rate in Hz, number of channels, and samples per channel of an audio file."""

    path: Path
    sample_rate: int
    channels: int
    num_samples: int

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate


def probe_audio(path: Path) -> AudioInfo:
    """What an audio file holds, from its header.

    Raises:
        InputError: if it is missing, a folder, empty, no audio, cut off, or its rate is out of
            range.
    """
    import soundfile

    if path.is_dir():
        raise InputError(f"{path} is a folder where an audio file is expected")
    if not path.exists():
        raise InputError(f"{path} does not exist: check the name")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes)")
        info = soundfile.info(str(path), verbose=True)
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied") from error
    except UnicodeEncodeError as error:
        raise InputError(f"{os.fsencode(path)!r} is not a name in Unicode: rename it") from error
    except soundfile.LibsndfileError as error:
        reason = "damaged" if error.code == SF_ERR_NO_FILE else error.error_string
        raise InputError(
            f"{path} is not audio that can be read (WAV, FLAC, OGG or MP3): {reason}"
        ) from error
    cut = re.search(r"^data : (\d+) \(should be (\d+)\)$", info.extra_info, re.MULTILINE)
    if cut and int(cut[2]) < int(cut[1]) < STREAMED_BYTES:
        raise InputError(f"{path} is damaged or cut off: {cut[2]} of {cut[1]} bytes are there")
    if info.frames <= 0:
        raise InputError(f"{path} holds no samples")
    if not MIN_SAMPLE_RATE <= info.samplerate <= MAX_SAMPLE_RATE:
        raise InputError(
            f"{path} has a sample rate of {info.samplerate} Hz: resample it to between "
            f"{MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz"
        )
    return AudioInfo(path, info.samplerate, info.channels, info.frames)


class AudioReader:
    """Random access to an audio file: ``reader(start, length)`` → (channels, length)."""

    def __init__(self, path: Path) -> None:
        import soundfile

        self.info = probe_audio(path)
        self._sound = soundfile.SoundFile(str(path))

    def __call__(self, start: int, length: int) -> Tensor:
        """Samples [start, start + length); raises ``InputError`` if they are not there."""
        import numpy as np
        import soundfile
        import torch

        path = self.info.path
        try:
            if self._sound.tell() != start:
                self._sound.seek(start)
            samples = self._sound.read(length, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InputError(f"{path} is damaged: {error.error_string}") from error
        if len(samples) < length:
            at_s = (start + len(samples)) / self.info.sample_rate
            raise InputError(f"{path} is damaged or cut off: no samples after {at_s:.1f} s")
        if not np.isfinite(samples).all():
            raise InputError(f"{path} has samples that are not numbers (NaN or infinite)")
        return torch.from_numpy(np.ascontiguousarray(samples.T))

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._sound.close()


def read_audio(path: Path, start: int = 0, frames: int = -1) -> tuple[Tensor, int]:
    """Samples (channels, frames) from ``start`` on, and the sample rate; -1 reads to the end.

    Raises:
        InputError: as ``probe_audio``, and for damaged files and samples that are not finite.
    """
    with AudioReader(path) as reader:
        length = reader.info.num_samples - start if frames < 0 else frames
        return reader(start, length), reader.info.sample_rate
