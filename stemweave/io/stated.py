"""What a file is said to hold, and what headers say of the length of the sound that follows."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

STREAMED_BYTES = 2**31 - 2**16
"""Sizes from here on stand in headers that were written before the length was known."""
INFO_FIELDS = {1: 4, 2: 4, 4: 100, 8: 4}
"""Flag and bytes of what an Info frame may hold before the name of the encoder."""
LAME_DELAY_OFFSET = 21
"""From the name of the encoder to its delay and padding, 12 bits each."""
LAME_CRC_OFFSET = 34


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file holds.

    Attributes:
        sample_rate: in Hz.
        num_samples: per channel, as many as can be read.
        stated_samples: as many as the file states, if that is more.
        lost_samples: of ``num_samples``, those that are silent because they are damaged.
    """

    path: Path
    sample_rate: int
    channels: int
    num_samples: int
    stated_samples: int | None = None
    lost_samples: int = 0

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def shortfall(self) -> str | None:
        """One sentence if something is missing, for users."""
        if self.stated_samples is not None and self.stated_samples > self.num_samples:
            stated_s = self.stated_samples / self.sample_rate
            digits = 1 if stated_s - self.duration_s >= 0.1 else 3
            return (
                f"{self.path} is damaged or cut off: {self.duration_s:.{digits}f} of "
                f"{stated_s:.{digits}f} s can be decoded"
            )
        if self.lost_samples:
            lost_s = self.lost_samples / self.sample_rate
            return (
                f"{self.path} is damaged: {lost_s:.3f} of {self.duration_s:.1f} s cannot be "
                "decoded and are silent"
            )
        return None


@dataclass(frozen=True)
class RiffSound:
    """Bytes of sound in a WAV: as stated, and as they are if its header is plainly wrong."""

    stated: int
    there: int

    @property
    def is_longer(self) -> bool:
        """Whether sound goes on after what is stated: a recorder died, or the size overflowed."""
        return self.there > self.stated


def riff_sound(path: Path) -> RiffSound | None:
    """The sound of a RIFF or RF64 file; None if it holds no WAVE or no data.

    Bytes after the stated end are sound if they are no chunks, and either inside what the whole
    file is stated to be or more than the stated sound.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        kind, whole, form = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
        if form != b"WAVE":
            return None
        large: int | None = None
        while len(header := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            if name == b"ds64":
                large = struct.unpack("<Q", file.read(24)[8:16].ljust(8, b"\0"))[0]
                file.seek(length - 24, 1)
                continue
            if name != b"data":
                file.seek(length + length % 2, 1)
                continue
            start = file.tell()
            if kind == b"RF64" and large is not None:
                length = large
            elif length >= STREAMED_BYTES:
                length = size - start
            there = max(size - start, 0)
            if length + length % 2 >= there:
                return RiffSound(length, min(length, there))
            file.seek(start + length + length % 2)
            tail = there - length
            inside = whole + 8 >= size and kind == b"RIFF"
            if _are_chunks(file, size) or not (inside or tail >= length):
                return RiffSound(length, length)
            return RiffSound(length, there)
    return None


def _are_chunks(file: BinaryIO, size: int) -> bool:
    """Whether RIFF chunks stand from here to the end of the file, or a few bytes only."""
    while size - file.tell() >= 8:
        name, length = struct.unpack("<4sI", file.read(8))
        if not all(32 <= byte < 127 for byte in name) or file.tell() + length > size:
            return False
        file.seek(length + length % 2, 1)
    return True


@dataclass(frozen=True)
class Mp3Info:
    """What an MP3's first frame says of the others, and where, in bytes from the file's start.

    Attributes:
        delay, padding: samples before and after the sound; 0 if they are not given.
        checksum_at: end of what a CRC-16 is of, and its place.
    """

    frames: int
    samples_per_frame: int
    delay: int
    padding: int
    frame_at: int
    delay_at: int
    checksum_at: int


def mp3_samples(path: Path) -> int | None:
    """Samples that the Info frame of an MP3 counts; None without one."""
    with path.open("rb") as file:
        start = file.read(10)
        if start[:3] == b"ID3" and len(start) == 10:
            a, b, c, d = start[6:10]
            file.seek(10 + (a << 21 | b << 14 | c << 7 | d))
        else:
            file.seek(0)
        info = find_info(file.read(8192))
    if info is None:
        return None
    return max(info.frames * info.samples_per_frame - info.delay - info.padding, 0)


def find_info(data: bytes) -> Mp3Info | None:
    """The Info frame in the beginning of an MP3, if there is one that counts frames."""
    tag = min((at for name in (b"Xing", b"Info") if (at := data.find(name)) > 0), default=-1)
    sync = next(
        (tag - size for size in (36, 21, 13, 23, 38, 15) if _is_mpeg_header(data, tag - size)), -1
    )
    if tag < 0 or sync < 0 or len(data) < tag + 156:
        return None
    flags, frames = struct.unpack(">II", data[tag + 4 : tag + 12])
    if not flags & 1 or not frames:
        return None
    encoder_at = tag + 8 + sum(size for bit, size in INFO_FIELDS.items() if flags & bit)
    delay_at = encoder_at + LAME_DELAY_OFFSET
    both = 0
    if data[encoder_at:delay_at].strip(b"\0"):
        both = int.from_bytes(data[delay_at : delay_at + 3], "big")
    per_frame = 1152 if data[sync + 1] & 8 else 576
    return Mp3Info(
        frames, per_frame, both >> 12, both & 0xFFF, sync, delay_at, encoder_at + LAME_CRC_OFFSET
    )


def caf_samples(path: Path) -> int | None:
    """Samples that a CAF of packets of one size states; None if it was not closed."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(8)
        packet_bytes = packet_samples = 0
        while len(header := file.read(12)) == 12:
            name, length = struct.unpack(">4sq", header)
            if name == b"desc":
                about = file.read(32).ljust(32, b"\0")
                packet_bytes, packet_samples = struct.unpack(">II", about[16:24])
                length -= 32
            elif name == b"data":
                known = packet_bytes and length > 4
                return (length - 4) // packet_bytes * packet_samples if known else None
            if length < 0 or file.tell() + length > size:
                return None
            file.seek(length, 1)
    return None


def _is_mpeg_header(data: bytes, at: int) -> bool:
    """Whether four bytes can begin a frame of MPEG audio, layer I to III."""
    if at < 0 or len(data) < at + 4:
        return False
    first, second, third = data[at : at + 3]
    return (
        first == 0xFF
        and second & 0xE0 == 0xE0
        and second & 0x18 != 0x08
        and second & 0x06 != 0
        and third & 0xF0 != 0xF0
        and third & 0x0C != 0x0C
    )
