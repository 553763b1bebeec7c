"""Encoders: float32 blocks (samples, channels) in, one file out; equal samples give equal bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from stemweave.io.encoding import Encoding
from stemweave.io.stated import find_info

if TYPE_CHECKING:
    import numpy as np

LARGEST_WAV_BYTES = 2**32 - 2**20
SFC_SET_ADD_PEAK_CHUNK = 0x1050
"""libsndfile's command whether a float WAV has a chunk with its peak and the time of writing."""
DITHER_SEED = 16
CODECS = {"mp3": ("libmp3lame", "mp3"), "m4a": ("aac", "ipod"), "opus": ("libopus", "ogg")}
"""FFmpeg's names of codec and container."""
SAMPLE_FORMATS = {"mp3": "fltp", "m4a": "fltp", "opus": "flt"}
KBPS_PER_CHANNEL = {"m4a": 128, "opus": 96}
LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1")
"""By the number of channels, in FFmpeg's order and a WAV's."""
M4A_LAYOUTS = {4: "4.0"}


class Encoder(Protocol):
    """An open file.

    Raises:
        OSError, RuntimeError: if it cannot be written.
    """

    def write(self, samples: np.ndarray) -> None: ...

    def close(self) -> None: ...


def encoder(
    path: Path, encoding: Encoding, sample_rate: int, channels: int, num_samples: int | None = None
) -> Encoder:
    """The encoder for ``encoding``; RF64 instead of WAV if ``num_samples`` need it."""
    if encoding.fmt in CODECS:
        return FFmpegEncoder(path, encoding, sample_rate, channels)
    return SndfileEncoder(path, encoding, sample_rate, channels, num_samples)


def open_sound(
    path: Path,
    container: str,
    subtype: str,
    sample_rate: int,
    channels: int,
    num_samples: int | None,
) -> Any:
    """libsndfile's open file, without the chunk that has the time of writing."""
    import soundfile

    if container == "WAV" and (num_samples or 0) * channels * 4 > LARGEST_WAV_BYTES:
        container = "RF64"
    sound = soundfile.SoundFile(
        os.fsencode(path), "w", sample_rate, channels, format=container, subtype=subtype
    )
    command(sound, SFC_SET_ADD_PEAK_CHUNK, None)
    return sound


def command(sound: Any, number: int, data: bytes | None) -> None:
    """Tell libsndfile what it writes before the samples; None switches something off."""
    import soundfile

    ffi = soundfile._ffi
    pointer, size = (ffi.NULL, 0) if data is None else (ffi.from_buffer(data), len(data))
    done = soundfile._snd.sf_command(sound._file, number, pointer, size)
    if data is not None and not done:
        raise RuntimeError("a chunk cannot be written")


class SndfileEncoder:
    """WAV and FLAC. Integers of 16 bits are dithered."""

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        sample_rate: int,
        channels: int,
        num_samples: int | None = None,
    ) -> None:
        subtype = f"PCM_{encoding.bits}" if encoding.bits else "FLOAT"
        self._quantise = Quantiser(encoding.bits) if encoding.bits else None
        self._sound = open_sound(
            path, encoding.fmt.upper(), subtype, sample_rate, channels, num_samples
        )

    def write(self, samples: np.ndarray) -> None:
        self._sound.write(samples if self._quantise is None else self._quantise(samples))

    def close(self) -> None:
        self._sound.flush()
        self._sound.close()


class Quantiser:
    """float32 → int16 or int32 of 24 bits in the upper ones, clipped.

    To 16 bits samples are dithered by a triangular density, always the same one. Those that 16 bits
    hold exactly stay as they are, so silence stays silent and a 16-bit file comes back unchanged.
    """

    def __init__(self, bits: int) -> None:
        import numpy as np

        self._bits = bits
        self._random = np.random.Generator(np.random.PCG64(DITHER_SEED))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        import numpy as np

        scale = 2.0 ** (self._bits - 1)
        steps = samples.astype(np.float64) * scale
        if self._bits == 16:
            dither = self._random.random((*samples.shape, 2)).sum(axis=-1) - 1
            steps += np.where(steps == np.rint(steps), 0.0, dither)
        integers = np.rint(steps).clip(-scale, scale - 1)
        return integers.astype(np.int16) if self._bits == 16 else integers.astype(np.int32) << 8


class FFmpegEncoder:
    """MP3, AAC and Opus, resampled to a rate that they have."""

    def __init__(self, path: Path, encoding: Encoding, sample_rate: int, channels: int) -> None:
        import av
        import soxr

        rate = encoding.file_rate(sample_rate)
        self._rates = Fraction(rate, sample_rate)
        self._resampler = None
        if rate != sample_rate:
            self._resampler = soxr.ResampleStream(
                sample_rate, rate, channels, dtype="float32", quality="VHQ"
            )
        codec, container = CODECS[encoding.fmt]
        options = {"fflags": "+bitexact"}  # no random serial numbers, no version of FFmpeg
        if encoding.fmt == "m4a":
            options["movie_timescale"] = str(rate)  # so that its edit list is exact
        self._layout = LAYOUTS[channels - 1]
        if encoding.fmt == "m4a":
            self._layout = M4A_LAYOUTS.get(channels, self._layout)
        self._path, self._fmt, self._file = path, encoding.fmt, path.open("wb")
        with _as_os_errors():
            self._output = av.open(self._file, "w", format=container, options=options)
            stream: Any = self._output.add_stream(codec, rate=rate, layout=self._layout)
            stream.codec_context.format = SAMPLE_FORMATS[encoding.fmt]
            if encoding.bitrate_kbps is None and encoding.fmt == "mp3":
                stream.codec_context.options = {"flags": "+qscale", "global_quality": "0"}
            else:
                default = KBPS_PER_CHANNEL.get(encoding.fmt, 128) * channels
                stream.bit_rate = 1000 * (encoding.bitrate_kbps or default)
        self._stream, self._rate, self._channels = stream, rate, channels
        self._taken = self._given = 0

    def write(self, samples: np.ndarray) -> None:
        self._taken += len(samples)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._encode(samples)

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            if self._resampler is not None:
                self._encode(self._last_resampled())
            with _as_os_errors():
                self._output.mux(self._stream.encode(None))
                self._output.close()
        finally:
            self._file.close()
        if self._fmt == "mp3":
            state_mp3_length(self._path, self._given)

    def _last_resampled(self) -> np.ndarray:
        """What makes the whole as long as it was."""
        import numpy as np

        assert self._resampler is not None
        rest = self._resampler.resample_chunk(np.zeros((0, self._channels), np.float32), last=True)
        missing = max(round(self._taken * self._rates) - self._given, 0)
        return np.pad(rest[:missing], ((0, max(missing - len(rest), 0)), (0, 0)))

    def _encode(self, samples: np.ndarray) -> None:
        import av
        import numpy as np

        if not len(samples):
            return
        planes = np.ascontiguousarray(samples.T, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts = self._rate, self._given
        self._given += len(samples)
        with _as_os_errors():
            self._output.mux(self._stream.encode(frame))


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """FFmpeg's errors while something is written."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise OSError(getattr(error, "errno", None), str(error)) from error


def state_mp3_length(path: Path, num_samples: int) -> None:
    """Write to an MP3's Info frame how many samples of its last frames are padding.

    FFmpeg says at most one frame's, so that files end up to 46 samples late.
    """
    with path.open("r+b") as file:
        start = file.read(4096)
        info = find_info(start)
        if info is None:
            return
        padding = info.frames * info.samples_per_frame - info.delay - num_samples
        if not 0 <= padding < 1 << 12:
            return
        file.seek(info.delay_at)
        file.write((info.delay << 12 | padding).to_bytes(3, "big"))
        file.seek(info.frame_at)
        checked = file.read(info.checksum_at - info.frame_at)
        file.write(_crc16(checked).to_bytes(2, "big"))


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value
