"""Files of many kinds with a click in them, and ways to harm them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def click(num_samples: int, at: int, channels: int = 2) -> np.ndarray:
    """(num_samples, channels): faint noise and one loud sample at ``at``."""
    noise = 1e-3 * np.random.default_rng(0).standard_normal((num_samples, channels))
    noise[at] = 0.9
    return noise.astype(np.float32)


def music(num_samples: int, sample_rate: int = 44100, channels: int = 2) -> np.ndarray:
    """(num_samples, channels): a tone and then noise, of which encoders make unequal bit rates."""
    time_s = np.arange(num_samples) / sample_rate
    noise = np.random.default_rng(0).standard_normal(num_samples)
    quiet = time_s < 0.3 * num_samples / sample_rate
    sound = np.where(quiet, 0.3 * np.sin(2 * np.pi * 220 * time_s), 0.2 * noise.clip(-4, 4))
    return np.repeat(sound[:, None], channels, axis=1).astype(np.float32)


def ffmpeg_write(
    path: Path,
    samples: np.ndarray,
    sample_rate: int,
    codec: str,
    container: str | None = None,
    **options: Any,
) -> Path:
    """Write (n, channels) as ``codec``; ``options`` go to the muxer."""
    output = av.open(str(path), "w", format=container, options=options)
    stream = output.add_stream(codec, rate=sample_rate, layout=LAYOUTS[samples.shape[1]])
    stream.bit_rate = 128_000
    for start in range(0, len(samples), 1 << 16):
        planes = np.ascontiguousarray(samples[start : start + (1 << 16)].T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=LAYOUTS[samples.shape[1]])
        frame.sample_rate, frame.pts = sample_rate, start
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
    output.close()
    return path


def write(path: Path, kind: str, samples: np.ndarray, sample_rate: int) -> Path:
    """Write (n, channels) as one of ``KINDS``."""
    writer, *how = KINDS[kind]
    if writer == "sndfile":
        soundfile.write(path, samples, sample_rate, format=how[0], subtype=how[1])
        return path
    return ffmpeg_write(path, samples, sample_rate, how[0], how[1])


KINDS: dict[str, tuple[str, str, str]] = {
    "wav": ("sndfile", "WAV", "FLOAT"),
    "wav16": ("sndfile", "WAV", "PCM_16"),
    "rf64": ("sndfile", "RF64", "PCM_24"),
    "w64": ("sndfile", "W64", "PCM_16"),
    "aiff": ("sndfile", "AIFF", "PCM_16"),
    "au": ("sndfile", "AU", "PCM_16"),
    "caf": ("sndfile", "CAF", "PCM_16"),
    "flac": ("sndfile", "FLAC", "PCM_16"),
    "ogg": ("sndfile", "OGG", "VORBIS"),
    "mp3": ("sndfile", "MP3", "MPEG_LAYER_III"),
    "opus": ("ffmpeg", "libopus", "ogg"),
    "opus.webm": ("ffmpeg", "libopus", "webm"),
    "opus.mp4": ("ffmpeg", "libopus", "mp4"),
    "opus.mkv": ("ffmpeg", "libopus", "matroska"),
    "aac.m4a": ("ffmpeg", "aac", "ipod"),
    "aac.mp4": ("ffmpeg", "aac", "mp4"),
    "aac.mov": ("ffmpeg", "aac", "mov"),
    "alac.m4a": ("ffmpeg", "alac", "ipod"),
    "alac.caf": ("ffmpeg", "alac", "caf"),
    "flac.mkv": ("ffmpeg", "flac", "matroska"),
    "mp3.mkv": ("ffmpeg", "libmp3lame", "matroska"),
    "wv": ("ffmpeg", "wavpack", "wv"),
    "wma": ("ffmpeg", "wmav2", "asf"),
    "aac": ("ffmpeg", "aac", "adts"),
    "aac.mkv": ("ffmpeg", "aac", "matroska"),
    "aac.ts": ("ffmpeg", "aac", "mpegts"),
    "mp3.avi": ("ffmpeg", "libmp3lame", "avi"),
    "ac3": ("ffmpeg", "ac3", "ac3"),
}
"""Suffix, who writes it, and as what: format and subtype, or codec and container."""
UNSTATED = ("wma", "aac", "aac.mkv", "aac.ts", "mp3.avi", "ac3")
"""Kinds that say nothing about what their encoder put before and after the sound."""


def with_sizes(wav: bytes, whole: int, data: int) -> bytes:
    """A WAV with other sizes in its header: of the whole file and of its data."""
    at = wav.index(b"data") + 4
    return wav[:4] + struct.pack("<I", whole) + wav[8:at] + struct.pack("<I", data) + wav[at + 4 :]


def without_first_frame(mp3: bytes) -> bytes:
    """A libsndfile MP3 without its Info frame."""
    return mp3[mp3.index(b"\xff\xfb", 4) :]


def overwritten(data: bytes, at: float, length: int) -> bytes:
    """``data`` with ``length`` bytes of it spoilt from the fraction ``at`` on."""
    start = round(len(data) * at)
    return data[:start] + b"\x55" * length + data[start + length :]
