"""How far generated pieces are from real ones, and from each other, in units of real songs.

All clips are brought to one level, and all sets have as many clips: Fréchet distances fall with
their number. Every figure is the mean of many draws of half of each set.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from stemweave.evaluation.embeddings import Embedding, embed_clips
from stemweave.evaluation.frechet import ClipSet, fad
from stemweave.evaluation.table import Cell, Table

LEVEL_RMS = 0.1
SILENT_RMS = 1e-5
DISTANCE, RATIO = "distance", "distance ÷ that of real songs"
HALVES, VARIETY = "distance of two halves", "variety: that ÷ that of real songs"


def measure_name(embedding: str) -> str:
    """Name of the table of these figures in the embedding of this name."""
    return f"distance and variety at one level, {embedding}"


def at_one_level(clips: Tensor) -> Tensor:
    """Clips (N, T), each with an RMS of ``LEVEL_RMS``; silence stays."""
    rms = clips.square().mean(dim=-1, keepdim=True).sqrt()
    return clips * (LEVEL_RMS / rms).where(rms > SILENT_RMS, 1.0)


def fill_variety(
    table: Table,
    embedding: Embedding,
    reference: tuple[Tensor, list[str]],
    rows: Mapping[str, tuple[Tensor, list[str] | None]],
    real_row: str,
    sample_rate: int,
    draws: int = 20,
    seed: int = 0,
) -> None:
    """Put the figures of every row into ``table``.

    Args:
        reference: clips (N, T) that rows are measured against, and their songs.
        rows: clips (N, T), with their songs where they are real; ``real_row`` is one of them.
        draws: of which the mean is taken; intervals are ± 1.96 standard deviations of the draws.
    """

    def embedded(clips: Tensor, songs: list[str] | None) -> ClipSet:
        return ClipSet.of(embed_clips(embedding, at_one_level(clips), sample_rate), songs)

    base = embedded(*reference)
    sets = {row: embedded(clips, songs) for row, (clips, songs) in rows.items()}
    size = min(len(found.clips) for found in (base, *sets.values())) // 2
    if size < 2:
        return
    measure = measure_name(embedding.name)
    apart = {row: _to_reference(base, found, size, draws, seed) for row, found in sets.items()}
    halves = {row: _between_halves(found, size, draws, seed) for row, found in sets.items()}
    for row in sets:
        for values, own, relative in ((apart, DISTANCE, RATIO), (halves, HALVES, VARIETY)):
            unit = float(np.mean(values[real_row]))
            table.put(measure, row, own, _cell(values[row], size))
            table.put(measure, row, relative, _cell(values[row] / unit, size))


def _cell(values: np.ndarray, count: int) -> Cell:
    mean, spread = float(np.mean(values)), 1.96 * float(np.std(values))
    return Cell(mean, mean - spread, mean + spread, count)


def _to_reference(base: ClipSet, other: ClipSet, size: int, draws: int, seed: int) -> np.ndarray:
    """FAD of ``size`` clips of both sets in every draw."""
    drawn = np.random.default_rng(seed)

    def some(clips: ClipSet) -> ClipSet:
        return clips.part(drawn.permutation(len(clips.clips))[:size])

    return np.array([fad(some(base), some(other)) for _ in range(draws)])


def _between_halves(clips: ClipSet, size: int, draws: int, seed: int) -> np.ndarray:
    """FAD between two halves of a set, no song in both, in every draw."""
    drawn = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        songs = drawn.permutation(np.unique(clips.groups))
        in_first = np.isin(clips.groups, songs[: (len(songs) + 1) // 2])
        halves = [drawn.permutation(np.flatnonzero(part)) for part in (in_first, ~in_first)]
        shared = min(size, *(len(half) for half in halves))
        values.append(fad(*(clips.part(half[:shared]) for half in halves)))
    return np.array(values)
