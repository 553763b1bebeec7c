"""Sound that FFmpeg decodes: counted once, then read from front to back in bounded memory.

PyAV's wheels carry FFmpeg, so no system package is needed. av and numpy are imported by what uses
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemweave.io.frames import Alike, as_float
from stemweave.io.stated import AudioInfo, caf_samples, find_info, mp3_samples

if TYPE_CHECKING:
    import av
    import numpy as np

DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,ircam,loas,"
    "matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qoa,rm,shn,sox,tak,"
    "truehd,tta,voc,vqf,w64,wav,webm,wtv,wv,xwma"
)
"""Containers that may be opened: none that names other files or addresses, no pictures, no text."""
SAFE = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
CODEC_OPTIONS = {
    "flac": {"err_detect": "crccheck+explode"},  # a damaged frame is silence, not noise
    "alac": {"flags2": "skip_manual"},  # it has no padding, but CAF demuxers cut some off
}
STATING = ("asf", "ape", "flac", "matroska,webm", "mpc", "mpc8", "ogg", "tak", "tta", "wv")
"""Containers that state how long their sound is; others are guessed, or counted by FFmpeg."""
TOLERANCE_S = 0.1
"""Shortfalls up to this are padding and rounding, but in FLAC, which counts samples."""
GAPS_S = {"flac": Fraction(0), "ogg": Fraction(1, 10)}
"""Containers whose frames say where they belong, and the gaps that are not only jitter."""
MAX_GAP_S = 60
MP4_PADDING = 4096
"""Samples at the end of an MP4 that may be padding, at most."""

MAX_PRIMING_S = Fraction(3, 10)
"""An MP4 whose edit list begins later than this was cut, not only encoded."""
EDIT_STEP_S = Fraction(1, 500)
"""How coarse the times of an edit list may be."""

Options = Mapping[str, str]


class NotDecodable(Exception):
    """FFmpeg finds no sound in a file; the message is a reason."""


def count(
    path: Path, options: Options | None = None, max_duration_s: float | None = None
) -> tuple[AudioInfo, Options]:
    """Decode ``path`` to see how much there is, up to ``max_duration_s``; with what options.

    Padding that the container knows of does not count.

    Raises:
        NotDecodable: if there is nothing.
        OSError: if it cannot be read.
    """
    length, options = None, options or {}
    with Decoding(path, options) as decoding:
        name = decoding.name
        stated = decoding.stated_samples
    if name.startswith("mov"):
        length, options = _mp4_length(path)
    with Decoding(path, options) as decoding:
        total = lost = 0
        for frame, samples in decoding.pieces():
            total += samples
            lost += samples if frame is None else 0
            if max_duration_s is not None and total >= max_duration_s * decoding.sample_rate:
                length = stated = None
                break
        if not total or decoding.lost_packets > decoding.whole_packets:
            raise NotDecodable("damaged" if decoding.lost_packets else "no sound in it")
        rate, channels = decoding.sample_rate, decoding.channels
    if length is not None:
        stated = round(length * rate)
        if stated < total <= stated + MP4_PADDING and stated:
            total = stated
    tolerance = 0 if name == "flac" else round(TOLERANCE_S * rate)
    if stated is not None and total < stated <= total + tolerance:
        stated = total
    return AudioInfo(path, rate, channels, total, stated, lost), options


class FFmpegSound:
    """Samples of a counted file in order; going back means to begin again."""

    def __init__(self, info: AudioInfo, options: Options) -> None:
        self._info, self._options = info, options
        self._decoding: Decoding | None = None
        self._position = 0
        self.seek(0)

    def seek(self, start: int) -> None:
        """The next samples are those from ``start`` on."""
        import numpy as np

        if self._decoding is None or start < self._position:
            self.close()
            self._decoding = Decoding(self._info.path, self._options)
            self._blocks = self._decoding.blocks()
            self._left = np.zeros((0, self._info.channels), np.float32)
            self._position = 0
        while self._position < start and len(self.read(min(start - self._position, 1 << 18))):
            pass

    def read(self, length: int) -> np.ndarray:
        """The next samples (length, channels), fewer at the end."""
        import numpy as np

        length = max(min(length, self._info.num_samples - self._position), 0)
        parts, there = [self._left], len(self._left)
        while there < length and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            there += len(block)
        samples = np.concatenate(parts)
        self._left = samples[length:].copy()
        self._position += min(length, there)
        return samples[:length]

    def close(self) -> None:
        if self._decoding is not None:
            self._decoding.close()


class Decoding:
    """A file while it is decoded, its best audio stream only.

    Raises:
        NotDecodable: if it is of no known kind, or holds no sound.
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path, options: Options) -> None:
        import av

        self.lost_packets = self.whole_packets = 0
        self.sample_rate = self.channels = 0
        self._file = path.open("rb")
        try:
            self._container: Any = av.open(
                self._file, options={**SAFE, **options}, metadata_errors="replace"
            )
        except (av.FFmpegError, ValueError) as error:
            self._file.close()
            raise NotDecodable(_reason(error)) from error
        stream = self._container.streams.best("audio")
        if stream is None or getattr(stream, "codec_context", None) is None:
            self.close()
            raise NotDecodable("no sound in it" if stream is None else "encrypted, or too new")
        self._stream: Any = stream
        self._stream.codec_context.thread_count = 1
        self.name = self._container.format.name
        self._stream.codec_context.options = CODEC_OPTIONS.get(stream.codec_context.name, {})
        self.stated_samples = self._stated(path)

    def _stated(self, path: Path) -> int | None:
        if self.name == "mp3":
            return mp3_samples(path)
        if self.name == "caf":
            return caf_samples(path)
        rate = self._stream.rate
        if self.name not in STATING or not rate:
            return None
        if self._stream.duration:
            return round(self._stream.duration * self._stream.time_base * rate)
        if self._container.duration and len(self._container.streams) == 1:
            return round(Fraction(self._container.duration, 1_000_000) * rate)
        return None

    @property
    def duration_s(self) -> Fraction | None:
        """Of the stream, as its container states it or FFmpeg guesses."""
        duration, step = self._stream.duration, self._stream.time_base
        return duration * step if duration is not None and step else None

    @property
    def itunes_length_s(self) -> Fraction | None:
        """Length without padding that iTunes writes to its files."""
        fields = self._container.metadata.get("iTunSMPB", "").split()
        try:
            return Fraction(int(fields[3], 16), self._stream.rate) if int(fields[3], 16) else None
        except (IndexError, ValueError, ZeroDivisionError, TypeError):
            return None

    def first_packet_s(self) -> Fraction | None:
        """When the first packet is to be played."""
        import av

        try:
            packet = next(self._container.demux(self._stream))
        except (av.FFmpegError, ValueError, StopIteration):
            return None
        return packet.pts * packet.time_base if packet.pts is not None else None

    def pieces(self) -> Iterator[tuple[av.AudioFrame | None, int]]:
        """Frames and their samples, all of the first one's rate and channels; None: lost samples.

        What is lost before the first and after the last good frame does not count.
        """
        lost, position = Fraction(), 0
        alike: Alike | None = None
        for frame, lost_s in self._frames():
            if frame is None:
                lost += lost_s * self.sample_rate
                continue
            if alike is None:
                alike, origin = Alike(frame), frame.pts or 0
                self.sample_rate, self.channels = frame.sample_rate, frame.layout.nb_channels
            if self.name in GAPS_S and frame.pts is not None and frame.time_base:
                gap_s = (frame.pts - origin) * frame.time_base - Fraction(
                    position, self.sample_rate
                )
                if GAPS_S[self.name] < gap_s <= MAX_GAP_S:
                    lost = max(lost, gap_s * self.sample_rate)
            if lost >= 1:
                yield None, int(lost)
                position += int(lost)
            lost = Fraction(0)
            for part in alike(frame):
                yield part, part.samples
                position += part.samples
        for part in alike.rest() if alike else []:
            yield part, part.samples

    def _frames(self) -> Iterator[tuple[av.AudioFrame | None, Fraction]]:
        """Frames as they come; (None, seconds) for a packet that cannot be decoded."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, ValueError):  # the file ends in the middle of something
                packet = None
            try:
                frames = (packet or self._stream.codec_context).decode()
            except (av.FFmpegError, ValueError):
                frames = []
                if packet is not None and find_info(bytes(packet)) is not None:
                    continue  # of an MP3 that follows another: it has no sound
                self.lost_packets += 1
                if packet is not None and packet.duration and packet.time_base:
                    yield None, packet.duration * packet.time_base
            self.whole_packets += bool(frames)
            for frame in frames:
                yield frame, Fraction(0)
            if packet is None:
                return

    def blocks(self) -> Iterator[np.ndarray]:
        """Samples (n, channels) in order, as float32."""
        import numpy as np

        for frame, samples in self.pieces():
            if frame is None:
                for done in range(0, samples, 1 << 16):
                    yield np.zeros((min(samples - done, 1 << 16), self.channels), np.float32)
            else:
                yield as_float(frame)

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def __enter__(self) -> Decoding:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _mp4_length(path: Path) -> tuple[Fraction | None, Options]:
    """Seconds of sound in an MP4 without its padding, and options to read it with.

    Its edit list says where sound begins and ends, often in whole milliseconds only, and FFmpeg
    then drops what lies beyond. Where it spans the whole track, the packets' lengths are exact.
    """
    plain = {"advanced_editlist": "0"}
    with Decoding(path, {}) as edited, Decoding(path, plain) as whole:
        edited_s = edited.duration_s
        if edited.itunes_length_s is not None:
            return edited.itunes_length_s, {}
        whole_s, first_s = whole.duration_s, whole.first_packet_s()
        if edited_s is None or whole_s is None or first_s is None:
            return None, {}
        if -MAX_PRIMING_S <= first_s <= 0 and abs(whole_s + first_s - edited_s) <= EDIT_STEP_S:
            return whole_s + first_s, plain
        return edited_s, {}


def _reason(error: Exception) -> str:
    import av

    if isinstance(error, av.error.InvalidDataError):
        return "damaged, or of an unknown kind"
    return str(getattr(error, "strerror", None) or error)
