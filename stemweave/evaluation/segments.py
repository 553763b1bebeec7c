"""Which pieces of which songs are scored: the segment grid, read as stems (S, T). No chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from stemweave.data.readers import read_data
from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.evaluation.signal_measures import is_silent
from stemweave.io.decode import read_audio, read_header

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Segment:
    """``duration_s`` seconds of ``song`` from ``start_s`` on."""

    song: Song
    start_s: float
    duration_s: float

    @property
    def folder(self) -> Path:
        return self.song.folder

    @property
    def name(self) -> str:
        return f"{self.song.name} at {self.start_s:.2f} s"


def find_songs(data: Path, stems: Sequence[str], split: str = "all") -> list[Song]:
    """Songs of ``data`` in a fixed order, of one split (``"all"``: every song).

    Raises ``InputError`` if there is none.
    """
    found = read_data(data, stems).songs
    songs = [song for song in found if split in ("all", song.split)]
    if not songs:
        raise InputError(
            f"{data} holds no song of split {split!r} with any of the stems {', '.join(stems)}; "
            "try split all"
        )
    return songs


def segment_grid(songs: Sequence[Song], duration_s: float) -> list[Segment]:
    """Every whole segment of every song: starts at 0, ``duration_s``, 2 · ``duration_s``, …"""
    return [
        Segment(song, index * duration_s, duration_s)
        for song in songs
        for index in range(int(song.duration_s / duration_s + 1e-6))
    ]


def spread_order(count: int) -> list[int]:
    """0 … count-1 so ordered that every beginning of the list is spread over the whole range."""
    return sorted(range(count), key=lambda index: (index * GOLDEN_RATIO) % 1)


def load_stems(segment: Segment, stems: Sequence[str], sample_rate: int) -> Tensor:
    """Stems (S, T) of ``segment``, mono at ``sample_rate``; a stem the song lacks is silence.

    Files of another rate are resampled with soxr (quality VHQ) and channels averaged, as the
    paper does with Slakh2100; data at the model's rate is read as it is.
    """
    num_samples = round(segment.duration_s * sample_rate)
    result = torch.zeros(len(stems), num_samples)
    for index, stem in enumerate(stems):
        if stem in segment.song.stems:
            for path in segment.song.stem_paths(stem):
                result[index] += _read_mono(path, segment, num_samples, sample_rate)
    return result


def _read_mono(path: Path, segment: Segment, num_samples: int, sample_rate: int) -> Tensor:
    rate = read_header(path).sample_rate
    waveform, _ = read_audio(
        path, start=round(segment.start_s * rate), frames=round(segment.duration_s * rate)
    )
    mono = waveform.mean(0)
    if rate != sample_rate:
        resampled = soxr.resample(mono.numpy(), rate, sample_rate, quality="VHQ")
        mono = torch.from_numpy(np.ascontiguousarray(resampled, dtype=np.float32))
    length = min(num_samples, mono.shape[-1])
    return functional.pad(mono[:length], (0, num_samples - length))


def model_segments(
    pipe: Any,
    songs: Sequence[Song],
    count: int | None,
    stems: Sequence[str] | None = None,
    *,
    windows: int = 1,
    all_stems: bool = False,
) -> Iterator[tuple[Segment, Tensor]]:
    """``audible_segments`` as long as ``windows`` of the model, at its rate, of its stems."""
    config = pipe.log_mel.config
    duration_s = windows * pipe.log_mel.segment_samples / config.sample_rate
    names = pipe.denoiser.config.stems if stems is None else stems
    return audible_segments(songs, names, config.sample_rate, duration_s, count, all_stems)


def audible_segments(
    songs: Sequence[Song],
    stems: Sequence[str],
    sample_rate: int,
    duration_s: float,
    count: int | None,
    all_stems: bool = False,
) -> Iterator[tuple[Segment, Tensor]]:
    """Up to ``count`` segments (None: all) spread over the songs' grid, each with stems (S, T).

    Segments whose mixture is silent are skipped and the next in ``spread_order`` is taken;
    ``all_stems`` skips those where any stem is silent. Fewer come where the grid ends.
    Raises ``InputError`` at the end if there was none.
    """
    grid = segment_grid(songs, duration_s)
    found = 0
    for index in spread_order(len(grid)):
        if count is not None and found >= count:
            return
        waveforms = load_stems(grid[index], stems, sample_rate)
        needed = waveforms if all_stems else waveforms.sum(0, keepdim=True)
        if not is_silent(needed).any():
            found += 1
            yield grid[index], waveforms
    if not found:
        wanted = "with every stem audible" if all_stems else "that is audible"
        raise InputError(
            f"none of the {len(songs)} songs has a segment of {duration_s:.2f} s {wanted}; "
            "give more or longer songs"
        )
