"""Distances between two sets of embeddings: Fréchet (FAD), FAD-inf and the unbiased KAD.

Sets are (N, P, D): N clips, P vectors a clip, D dimensions. FAD: Kilgour et al. 2019; FAD-inf:
Chong and Forsyth 2020, Gui et al. 2024; KAD: Chung et al. 2025 (arXiv 2502.15602).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from stemweave.evaluation.table import Cell

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], float]

KAD_SCALE = 100.0
"""KAD is 100 · MMD², as in its paper."""


def as_vectors(clips: NDArray) -> Array:
    """(N, P, D) or (N, D) → all vectors (N · P, D) in float64."""
    return np.asarray(clips, dtype=np.float64).reshape(-1, clips.shape[-1])


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
    reference: Array, generated: Array, kernel: Callable[[Array, Array], Array]
) -> float:
    """Unbiased estimate of MMD² (may be below 0): no vector is compared with itself."""
    n, k = len(reference), len(generated)
    if min(n, k) < 2:
        raise ValueError("the unbiased MMD needs at least two vectors in each set")
    within_reference = kernel(reference, reference)
    within_generated = kernel(generated, generated)
    own = (within_reference.sum() - np.trace(within_reference)) / (n * (n - 1))
    other = (within_generated.sum() - np.trace(within_generated)) / (k * (k - 1))
    return float(own + other - 2 * kernel(reference, generated).mean())


def kernel_audio_distance(
    reference: Array, generated: Array, bandwidth: float | None = None
) -> float:
    """KAD of (N, D) and (K, D): unbiased MMD² with a Gaussian kernel, times ``KAD_SCALE``.

    The bandwidth is the median distance within the reference unless given.
    """
    sigma = bandwidth or median_bandwidth(reference)

    def gaussian(a: Array, b: Array) -> Array:
        return np.exp(-cdist(a, b, "sqeuclidean") / (2 * sigma**2))

    return KAD_SCALE * squared_mmd(reference, generated, gaussian)


def polynomial_mmd(reference: Array, generated: Array) -> float:
    """Unbiased MMD² of (N, D) and (K, D) with KID's cubic kernel (a·b / D + 1)³."""
    dimensions = reference.shape[-1]
    return squared_mmd(reference, generated, lambda a, b: (a @ b.T / dimensions + 1) ** 3)


def with_interval(
    distance: Distance,
    reference: NDArray,
    generated: NDArray,
    resamples: int = 100,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Cell:
    """``distance`` of two clip sets (N, P, D) with a 95 % interval, value ± 1.96 standard errors.

    Both sets' clips are resampled with replacement (the clips' vectors stay together; reference
    clips of the same of ``groups``, their song, too). Only the bootstrap's spread is used: its
    mean lies too high, since repeated clips look like a smaller set.
    """
    value = distance(as_vectors(reference), as_vectors(generated))
    if min(len(reference), len(generated)) < 2 or resamples < 2:
        return Cell(value, count=len(generated))
    drawn = np.random.default_rng(seed)
    names = np.asarray(groups) if groups is not None else np.arange(len(reference))
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    values = []
    for _ in range(resamples):
        units = drawn.integers(0, len(members), len(members))
        first = reference[np.concatenate([members[unit] for unit in units])]
        second = generated[drawn.integers(0, len(generated), len(generated))]
        if min(first.shape[0], second.shape[0]) > 1:
            values.append(distance(as_vectors(first), as_vectors(second)))
    error = 1.96 * float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Cell(value, value - error, value + error, len(generated))
