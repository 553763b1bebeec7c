"""Which pieces of which songs are scored: the segment grid, read as stems (S, T).

DATA is a folder with a manifest, a folder of song folders (``song.json`` or ``<stem>.wav|flac``
files), or one song folder. Everything here is deterministic: no random choice anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from stemweave.data.songs import MANIFEST, STEM_SUFFIXES, read_manifest
from stemweave.evaluation.signal_measures import is_silent
from stemweave.files import InputError, probe_audio, read_audio

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Segment:
    """``duration_s`` seconds of the song in ``folder`` from ``start_s`` on."""

    folder: Path
    start_s: float
    duration_s: float

    @property
    def song(self) -> str:
        return self.folder.name

    @property
    def name(self) -> str:
        return f"{self.song} at {self.start_s:.2f} s"


def find_songs(data: Path, stems: Sequence[str], split: str = "all") -> list[Path]:
    """Song folders of ``data`` in a fixed order, of one split (``"all"``: every song).

    Raises ``InputError`` if there is none.
    """
    if not data.is_dir():
        raise InputError(f"{data} is not a folder of songs; give a data set's folder")
    if (data / MANIFEST).is_file():
        songs = [song.folder for song in read_manifest(data) if split in ("all", song.split)]
    elif stem_files(data, stems):
        songs = [data]
    else:
        below = sorted(folder for folder in data.rglob("*") if folder.is_dir())
        songs = [folder for folder in below if stem_files(folder, stems)]
        if split != "all":
            songs = [song for song in songs if split in song.relative_to(data).parts]
    if not songs:
        raise InputError(
            f"{data} holds no song of split {split!r} with any of the stems {', '.join(stems)}; "
            "try --split all"
        )
    return songs


def stem_files(folder: Path, stems: Sequence[str]) -> dict[str, Path]:
    """The audio file of each stem that ``folder`` has."""
    found = {}
    for stem in stems:
        for suffix in STEM_SUFFIXES:
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                found[stem] = path
                break
    return found


def segment_grid(songs: Sequence[Path], stems: Sequence[str], duration_s: float) -> list[Segment]:
    """Every whole segment of every song: starts at 0, ``duration_s``, 2 · ``duration_s``, …"""
    grid = []
    for folder in songs:
        files = stem_files(folder, stems)
        if not files:
            continue
        audio = [probe_audio(path) for path in files.values()]
        length_s = min(info.num_samples / info.sample_rate for info in audio)
        count = int(length_s / duration_s + 1e-6)
        grid += [Segment(folder, index * duration_s, duration_s) for index in range(count)]
    return grid


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
    for stem, path in stem_files(segment.folder, stems).items():
        rate = probe_audio(path).sample_rate
        waveform, _ = read_audio(
            path, start=round(segment.start_s * rate), frames=round(segment.duration_s * rate)
        )
        mono = waveform.mean(0)
        if rate != sample_rate:
            resampled = soxr.resample(mono.numpy(), rate, sample_rate, quality="VHQ")
            mono = torch.from_numpy(np.ascontiguousarray(resampled, dtype=np.float32))
        length = min(num_samples, mono.shape[-1])
        result[stems.index(stem), :length] = mono[:length]
    return result


def audible_segments(
    songs: Sequence[Path],
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
    grid = segment_grid(songs, stems, duration_s)
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
