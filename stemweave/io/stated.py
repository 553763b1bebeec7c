"""What headers say about the length of the sound that follows, read from the bytes themselves."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

STREAMED_BYTES = 2**31 - 2**16
"""Sizes from here on stand in headers that were written before the length was known."""
LAME_DELAY_OFFSET = 21
"""From the name of the encoder in an Info frame to its delay and padding, 12 bits each."""


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


def mp3_samples(path: Path) -> int | None:
    """Samples that the Info frame of an MP3 counts; None without one."""
    with path.open("rb") as file:
        start = file.read(10)
        if start[:3] == b"ID3" and len(start) == 10:
            a, b, c, d = start[6:10]
            file.seek(10 + (a << 21 | b << 14 | c << 7 | d))
        else:
            file.seek(0)
        data = file.read(8192)
    sync = next((at for at in range(len(data) - 200) if _is_mpeg_header(data[at : at + 4])), None)
    if sync is None:
        return None
    frame = data[sync : sync + 400]
    samples_per_frame = 1152 if frame[1] & 8 else 576
    tag = next((at for at in (frame.find(b"Xing"), frame.find(b"Info")) if 0 < at < 64), -1)
    if tag < 0 or len(frame) < tag + 12:
        return None
    flags, frames = struct.unpack(">II", frame[tag + 4 : tag + 12])
    if not flags & 1 or not frames:
        return None
    fields = sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    at = tag + 8 + fields + LAME_DELAY_OFFSET
    trimmed = 0
    if len(frame) >= at + 3 and frame[tag + 8 + fields : at].strip(b"\0"):
        trimmed = (frame[at] << 4 | frame[at + 1] >> 4) + (
            (frame[at + 1] & 15) << 8 | frame[at + 2]
        )
    return max(frames * samples_per_frame - trimmed, 0)


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


def _is_mpeg_header(data: bytes) -> bool:
    """Whether four bytes can begin a frame of MPEG audio, layer I to III."""
    return (
        len(data) == 4
        and data[0] == 0xFF
        and data[1] & 0xE0 == 0xE0
        and data[1] & 0x18 != 0x08
        and data[1] & 0x06 != 0
        and data[2] & 0xF0 != 0xF0
        and data[2] & 0x0C != 0x0C
    )
