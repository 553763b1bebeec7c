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


def as_vectors(clips: NDArray) -> Array:
    """(N, P, D) or (N, D) → all vectors (N · P, D) in float64."""
    return np.asarray(clips, dtype=np.float64).reshape(-1, clips.shape[-1])


@dataclass(frozen=True)
class ClipSet:
    """Embedded ``clips`` (N, P, D) and a number (N,) for what each one depends on: its song.

    Build it with ``ClipSet.of``.
    """

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
        return as_vectors(self.clips)

    @property
    def vector_groups(self) -> NDArray[np.int64]:
        """(N · P,): the group of each vector."""
        return np.repeat(self.groups, self.clips.shape[1] if self.clips.ndim == 3 else 1)

    def resampled(self, drawn: np.random.Generator) -> ClipSet:
        """As many whole groups, drawn with replacement."""
        names = np.unique(self.groups)
        chosen = drawn.choice(names, len(names))
        members = np.concatenate([np.flatnonzero(self.groups == name) for name in chosen])
        return ClipSet(self.clips[members], self.groups[members])


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


def frechet_distance(reference: Array, generated: Array) -> float:
    """Fréchet distance of Gaussians fitted to (N, D) and (K, D); each needs two vectors."""
    if min(len(reference), len(generated)) < 2:
        raise ValueError("a Fréchet distance needs at least two vectors in each set")
    return gaussian_frechet(
        reference.mean(0),
        np.atleast_2d(np.cov(reference, rowvar=False)),
        generated.mean(0),
        np.atleast_2d(np.cov(generated, rowvar=False)),
    )


@dataclass(frozen=True)
class Extrapolation:
    """FAD against 1 / N as a line: ``intercept`` is FAD-inf, ``fit`` the line's R²."""

    intercept: float
    fit: float
    sizes: list[int]


def frechet_infinity(
    reference: NDArray, generated: NDArray, points: int = 15, repeats: int = 4, seed: int = 0
) -> Extrapolation:
    """FAD for an unlimited number of generated clips: (N, P, D) against (K, P, D).

    FAD is taken over random subsets of a third to all of the generated clips (``repeats`` draws
    each, without replacement) and the line over 1 / N is followed to 0. Removes the bias of the
    generated set's size only; the reference keeps its own.
    """
    drawn = np.random.default_rng(seed)
    total = len(generated)
    sizes = np.unique(np.linspace(max(2, total // 3), total, points).astype(int))
    if len(sizes) < 3:
        raise ValueError(f"FAD-inf needs at least 4 generated clips, got {total}")
    vectors = as_vectors(reference)
    distances = []
    for size in sizes:
        chosen = [drawn.permutation(total)[:size] for _ in range(repeats if size < total else 1)]
        distances.append(
            np.mean([frechet_distance(vectors, as_vectors(generated[i])) for i in chosen])
        )
    inverse = 1 / sizes
    slope, intercept = np.polyfit(inverse, distances, 1)
    residual = np.sum((distances - (slope * inverse + intercept)) ** 2)
    spread = np.sum((distances - np.mean(distances)) ** 2)
    constant = spread <= 1e-9 * np.sum(np.square(distances))  # identical clips: no bias to remove
    fit = 1.0 if constant else float(1 - residual / spread)
    return Extrapolation(float(intercept), fit, [int(size) for size in sizes])


def median_bandwidth(reference: Array, limit: int = 2000) -> float:
    """Median distance between vectors of ``reference`` (N, D), of at most ``limit`` of them."""
    if len(reference) < 2:
        raise ValueError("a bandwidth needs at least two vectors")
    step = max(1, len(reference) // limit)
    median = float(np.median(pdist(reference[::step])))
    return median if median > 0 else 1.0


def squared_mmd(
    reference: Array,
    generated: Array,
    kernel: Callable[[Array, Array], Array],
    groups: tuple[NDArray | None, NDArray | None] = (None, None),
) -> float:
    """Unbiased estimate of MMD² (may be below 0): no vector is compared with itself.

    ``groups`` number the vectors of either set: those of one group depend on each other and are
    not compared either, or the estimate would be too high.
    """
    if min(len(reference), len(generated)) < 2:
        raise ValueError("the unbiased MMD needs at least two vectors in each set")
    own = sum(
        _mean_over_pairs(kernel(vectors, vectors), numbers)
        for vectors, numbers in zip((reference, generated), groups, strict=True)
    )
    return float(own - 2 * kernel(reference, generated).mean())


def _mean_over_pairs(similarity: Array, groups: NDArray | None) -> float:
    """Mean of (N, N) over pairs of different groups (N,); of different vectors without groups."""
    numbers = np.arange(len(similarity)) if groups is None else groups
    apart = numbers[:, None] != numbers[None]
    if not apart.any():
        raise ValueError("the unbiased MMD needs at least two groups in each set")
    return float(similarity[apart].mean())


def kernel_audio_distance(
    reference: Array,
    generated: Array,
    bandwidth: float | None = None,
    groups: tuple[NDArray | None, NDArray | None] = (None, None),
) -> float:
    """KAD of (N, D) and (K, D): unbiased MMD² with a Gaussian kernel, times ``KAD_SCALE``.

    The bandwidth is the median distance within the reference unless given; ``groups`` as for
    ``squared_mmd``.
    """
    sigma = bandwidth or median_bandwidth(reference)

    def gaussian(a: Array, b: Array) -> Array:
        return np.exp(-cdist(a, b, "sqeuclidean") / (2 * sigma**2))

    return KAD_SCALE * squared_mmd(reference, generated, gaussian, groups)


def fad(reference: ClipSet, generated: ClipSet) -> float:
    """``frechet_distance`` of two sets."""
    return frechet_distance(reference.vectors, generated.vectors)


def kad_within(bandwidth: float) -> Distance:
    """``kernel_audio_distance`` of two sets; vectors of one song are not compared."""

    def kad(reference: ClipSet, generated: ClipSet) -> float:
        groups = (reference.vector_groups, generated.vector_groups)
        return kernel_audio_distance(reference.vectors, generated.vectors, bandwidth, groups)

    return kad


def with_interval(
    distance: Distance,
    reference: ClipSet,
    generated: ClipSet,
    resamples: int = 100,
    seed: int = 0,
) -> Cell:
    """``distance`` with a 95 % interval, value ± 1.96 bootstrap standard errors.

    Groups of both sets are resampled with replacement. Only the bootstrap's spread is used: its
    mean lies too high, since repeated clips look like a smaller set.
    """
    value = distance(reference, generated)
    drawn = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        pair = reference.resampled(drawn), generated.resampled(drawn)
        if all(len(np.unique(clips.groups)) > 1 for clips in pair):
            values.append(distance(*pair))
    error = 1.96 * float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Cell(value, value - error, value + error, len(generated.clips))


def infinity_with_interval(
    reference: ClipSet, generated: ClipSet, resamples: int = 20, seed: int = 0
) -> tuple[Cell, float]:
    """FAD-inf with an interval as in ``with_interval``, and the line's R².

    Each resample's line has five points of one draw: its spread is slightly too large.
    """
    infinite = frechet_infinity(reference.clips, generated.clips)

    def quick(first: ClipSet, second: ClipSet) -> float:
        return frechet_infinity(first.clips, second.clips, points=5, repeats=1).intercept

    cell = with_interval(quick, reference, generated, resamples, seed)
    assert cell.high is not None
    error = cell.high - cell.value
    value = infinite.intercept
    return Cell(value, value - error, value + error, cell.count), infinite.fit


def ratio_with_interval(
    reference: ClipSet, first: ClipSet, second: ClipSet, resamples: int = 100, seed: int = 0
) -> Cell:
    """FAD of ``first`` over FAD of ``second``, sets of the same seeds, with a 95 % interval.

    Every resample draws the same clips of both sets and one reference for both: what the two
    have in common does not count as noise. Raises ``ValueError`` for sets of unequal size.
    """
    if len(first.clips) != len(second.clips):
        raise ValueError("a ratio needs as many clips in both sets")

    def ratio(real: ClipSet, pair: ClipSet) -> float:
        width = first.clips.shape[-1]
        clips = pair.clips[..., :width], pair.clips[..., width:]
        above, below = (fad(real, ClipSet(half, pair.groups)) for half in clips)
        return above / below if below > 0 else float("nan")

    both = ClipSet(np.concatenate([first.clips, second.clips], axis=-1), first.groups)
    return with_interval(ratio, reference, both, resamples, seed)
