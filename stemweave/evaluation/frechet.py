"""Distances between two sets of embeddings: Fréchet (FAD), FAD-inf and the unbiased KAD.

Sets are (N, P, D): N clips, P vectors a clip, D dimensions; all N · P vectors count. FAD: Kilgour
et al. 2019; FAD-inf: Chong and Forsyth 2020, Gui et al. 2024; KAD: Chung et al. 2025 (arXiv
2502.15602).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from stemweave.evaluation.table import Cell

Array = NDArray[np.float64]

KAD_SCALE = 100.0
"""KAD is 100 · MMD², as in its paper."""
MOST_FOR_BANDWIDTH = 2000


@dataclass(frozen=True)
class ClipSet:
    """Embedded ``clips`` (N, P, D) and a number (N,) for what each one depends on: its song."""

    clips: NDArray
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, clips: NDArray, songs: Sequence[str] | None = None) -> ClipSet:
        """``songs`` names each clip's song; without, or with a single one, clips stand alone."""
        if songs is None or len(set(songs)) < 2:
            return cls(clips, np.arange(len(clips)))
        return cls(clips, np.unique(songs, return_inverse=True)[1].astype(np.int64))

    @property
    def vectors(self) -> Array:
        """(N · P, D) in float64."""
        return np.asarray(self.clips, dtype=np.float64).reshape(-1, self.clips.shape[-1])

    @property
    def vector_groups(self) -> NDArray[np.int64]:
        """(N · P,): the group of each vector."""
        return np.repeat(self.groups, self.clips.shape[1])

    def part(self, chosen: NDArray) -> ClipSet:
        """The clips of these numbers."""
        return ClipSet(self.clips[chosen], self.groups[chosen])

    def resampled(self, drawn: np.random.Generator) -> ClipSet:
        """As many whole groups, drawn with replacement."""
        names = np.unique(self.groups)
        chosen = drawn.choice(names, len(names))
        return self.part(np.concatenate([np.flatnonzero(self.groups == name) for name in chosen]))


Distance = Callable[[ClipSet, ClipSet], float]


def gaussian_frechet(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """Squared Fréchet distance of two Gaussians, |μa - μb|² + tr(Σa + Σb - 2 (Σa Σb)^½).

    The trace of the root is taken from the eigenvalues of Σa^½ Σb Σa^½, which is symmetric: no
    complex numbers and no jitter, also where a covariance is singular.
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    overlap = np.linalg.eigvalsh(root @ cov_b @ root)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(np.clip(overlap, 0, None)).sum()
    return float(np.sum((mean_a - mean_b) ** 2) + trace)


def fad(reference: ClipSet, generated: ClipSet) -> float:
    """Fréchet distance of Gaussians fitted to all vectors; each set needs two."""
    sets = reference.vectors, generated.vectors
    if min(map(len, sets)) < 2:
        raise ValueError("a Fréchet distance needs at least two vectors in each set")
    (mean_a, cov_a), (mean_b, cov_b) = (
        (own.mean(0), np.atleast_2d(np.cov(own, rowvar=False))) for own in sets
    )
    return gaussian_frechet(mean_a, cov_a, mean_b, cov_b)


def frechet_infinity(
    reference: ClipSet, generated: ClipSet, points: int = 15, repeats: int = 4
) -> tuple[float, float]:
    """FAD for an unlimited number of generated clips (FAD-inf), and the line's R².

    FAD is taken over random subsets of a third to all of the generated clips (``repeats`` draws
    each, without replacement) and the line over 1 / N is followed to 0. Removes the bias of the
    generated set's size only; the reference keeps its own.
    """
    drawn = np.random.default_rng(0)
    total = len(generated.clips)
    sizes = np.unique(np.linspace(max(2, total // 3), total, points).astype(int))
    if len(sizes) < 3:
        raise ValueError(f"FAD-inf needs at least 4 generated clips, got {total}")
    distances = []
    for size in sizes:
        chosen = [drawn.permutation(total)[:size] for _ in range(repeats if size < total else 1)]
        distances.append(np.mean([fad(reference, generated.part(one)) for one in chosen]))
    inverse = 1 / sizes
    slope, intercept = np.polyfit(inverse, distances, 1)
    residual = np.sum((distances - (slope * inverse + intercept)) ** 2)
    spread = np.sum((distances - np.mean(distances)) ** 2)
    constant = spread <= 1e-9 * np.sum(np.square(distances))  # identical clips: no bias to remove
    return float(intercept), 1.0 if constant else float(1 - residual / spread)


def median_bandwidth(reference: Array) -> float:
    """Median distance between vectors of ``reference`` (N, D), 2000 of them at most."""
    step = max(1, len(reference) // MOST_FOR_BANDWIDTH)
    return float(np.median(pdist(reference[::step]))) or 1.0


def kad_within(bandwidth: float) -> Distance:
    """KAD: unbiased MMD² (may be below 0) with a Gaussian kernel, times ``KAD_SCALE``.

    No vector is compared with another of its song: they depend on each other, and the estimate
    would be too high.
    """

    def kernel(first: ClipSet, second: ClipSet) -> Array:
        squared = cdist(first.vectors, second.vectors, "sqeuclidean")
        return np.exp(-squared / (2 * bandwidth**2))

    def within(clips: ClipSet) -> float:
        numbers = clips.vector_groups
        apart = numbers[:, None] != numbers[None]
        if not apart.any():
            raise ValueError("the unbiased MMD needs at least two groups in each set")
        return float(kernel(clips, clips)[apart].mean())

    def kad(reference: ClipSet, generated: ClipSet) -> float:
        between = float(kernel(reference, generated).mean())
        return KAD_SCALE * (within(reference) + within(generated) - 2 * between)

    return kad


def with_interval(
    distance: Distance, reference: ClipSet, generated: ClipSet, resamples: int = 100
) -> Cell:
    """``distance`` with a 95 % interval, value ± 1.96 bootstrap standard errors.

    Groups of both sets are resampled with replacement. Only the bootstrap's spread is used: its
    mean lies too high, since repeated clips look like a smaller set.
    """
    value = distance(reference, generated)
    drawn = np.random.default_rng(0)
    values = []
    for _ in range(resamples):
        pair = reference.resampled(drawn), generated.resampled(drawn)
        if all(len(np.unique(clips.groups)) > 1 for clips in pair):
            values.append(distance(*pair))
    error = 1.96 * float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Cell(value, value - error, value + error, len(generated.clips))


def infinity_with_interval(reference: ClipSet, generated: ClipSet) -> tuple[Cell, float]:
    """FAD-inf with an interval as in ``with_interval``, and the line's R².

    Each resample's line has five points of one draw: its spread is slightly too large.
    """
    value, fit = frechet_infinity(reference, generated)

    def quick(first: ClipSet, second: ClipSet) -> float:
        return frechet_infinity(first, second, points=5, repeats=1)[0]

    cell = with_interval(quick, reference, generated, resamples=20)
    assert cell.high is not None
    error = cell.high - cell.value
    return Cell(value, value - error, value + error, cell.count), fit


def ratio_with_interval(
    reference: ClipSet, first: ClipSet, second: ClipSet, resamples: int = 100
) -> Cell:
    """FAD of ``first`` over FAD of ``second``, sets of the same seeds, with a 95 % interval.

    Every resample draws the same clips of both sets and one reference for both: what the two
    have in common does not count as noise. Raises ``ValueError`` for sets of unequal size.
    """
    if len(first.clips) != len(second.clips):
        raise ValueError("a ratio needs as many clips in both sets")
    width = first.clips.shape[-1]

    def ratio(real: ClipSet, pair: ClipSet) -> float:
        clips = pair.clips[..., :width], pair.clips[..., width:]
        above, below = (fad(real, ClipSet(half, pair.groups)) for half in clips)
        return above / below if below > 0 else float("nan")

    both = ClipSet(np.concatenate([first.clips, second.clips], axis=-1), first.groups)
    return with_interval(ratio, reference, both, resamples)
