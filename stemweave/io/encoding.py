"""What audio files are written as: container, bit depth, bit rate, and what each can hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from stemweave.errors import InputError

AudioFormat = Literal["wav", "flac", "mp3", "m4a", "opus"]
BitDepth = Literal["16", "24", "32f"]
FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
BIT_DEPTHS: tuple[BitDepth, ...] = get_args(BitDepth)
LOSSLESS = ("wav", "flac")
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (*MP3_RATES, 64000, 88200, 96000)
SAMPLE_RATES: dict[str, tuple[int, ...]] = {"mp3": MP3_RATES, "m4a": AAC_RATES, "opus": (48000,)}
"""In Hz, of formats that cannot have any; sound of another rate is resampled to the next one up."""
CHANNELS = {
    "flac": range(1, 9),
    "mp3": (1, 2),
    "m4a": range(1, 7),
    "opus": (1, 2, 3, 4, 6),  # FFmpeg changes the order of others
}
BITRATES_KBPS = {"mp3": (8, 320), "m4a": (16, 1024), "opus": (6, 1024)}


@dataclass(frozen=True)
class Encoding:
    """How files are written.

    Attributes:
        bit_depth: None: "32f" for WAV, "24" for FLAC.
        bitrate_kbps: None: variable and best for MP3, for others as much as leaves no trace.

    Raises:
        InputError: for what there is not.
    """

    fmt: AudioFormat = "wav"
    bit_depth: BitDepth | None = None
    bitrate_kbps: int | None = None

    def __post_init__(self) -> None:
        if self.fmt not in FORMATS:
            raise InputError(f"format must be one of {', '.join(FORMATS)}, not {self.fmt}")
        if self.bit_depth is not None and self.bit_depth not in BIT_DEPTHS:
            raise InputError(f"bit depth must be 16, 24 or 32f, not {self.bit_depth}")
        if self.bit_depth is not None and self.fmt not in LOSSLESS:
            raise InputError(f"bit depth is for wav and flac: for {self.fmt} there is a bitrate")
        if self.fmt == "flac" and self.bit_depth == "32f":
            raise InputError("FLAC has no bit depth 32f: use 16 or 24, or format wav")
        if self.bitrate_kbps is not None:
            if self.fmt in LOSSLESS:
                raise InputError(f"bitrate is for mp3, m4a and opus: {self.fmt} loses nothing")
            low, high = BITRATES_KBPS[self.fmt]
            if not low <= self.bitrate_kbps <= high:
                raise InputError(f"bitrate of {self.fmt} must be from {low}k to {high}k")

    def __str__(self) -> str:
        """The suffix of its files, without a dot."""
        return self.fmt

    @property
    def title(self) -> str:
        """The format's name in a sentence."""
        return "Opus" if self.fmt == "opus" else self.fmt.upper()

    @property
    def bits(self) -> int | None:
        """Of an integer sample; None for those that are no integers."""
        depth = self.bit_depth or {"wav": "32f", "flac": "24"}.get(self.fmt)
        return int(depth) if depth in ("16", "24") else None

    @property
    def clips(self) -> bool:
        """Whether samples beyond full scale cannot be kept."""
        return self.fmt != "wav" or self.bits is not None

    def file_rate(self, sample_rate: int) -> int:
        """Sample rate in Hz of a file of sound at ``sample_rate``."""
        rates = SAMPLE_RATES.get(self.fmt, (sample_rate,))
        return next((rate for rate in rates if rate >= sample_rate), rates[-1])

    def check(self, channels: int) -> None:
        """Raise ``InputError`` if a file cannot have so many channels."""
        if channels not in CHANNELS.get(self.fmt, (channels,)):
            others = "wav or flac" if channels in CHANNELS["flac"] else "wav"
            raise InputError(f"{self.title} cannot hold {channels} channels: use format {others}")


def encoding_of(
    fmt: str | Encoding, bit_depth: str | None = None, bitrate: str | None = None
) -> Encoding:
    """What options ask for, e.g. "mp3" and a bit rate of "192k"; an ``Encoding`` as it is.

    Raises:
        InputError: for what there is not.
    """
    if isinstance(fmt, Encoding):
        return fmt
    kbps = None
    if bitrate is not None:
        number = re.fullmatch(r"(\d{1,7})(k?)", bitrate.strip().lower())
        if number is None:
            raise InputError(f"bitrate is a number of kbit/s like 192k, not {bitrate!r}")
        kbps = int(number[1])
        if not number[2] and kbps >= 8000:  # in bit/s, as other programs have it
            kbps //= 1000
    return Encoding(cast(AudioFormat, fmt), cast(BitDepth | None, bit_depth), kbps)
