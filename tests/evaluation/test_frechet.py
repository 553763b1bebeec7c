"""Fréchet distance, FAD-inf and KAD against closed forms."""

import numpy as np
import pytest

from stemweave.evaluation.frechet import (
    KAD_SCALE,
    ClipSet,
    fad,
    frechet_infinity,
    gaussian_frechet,
    infinity_with_interval,
    kad_within,
    median_bandwidth,
    with_interval,
)


def normal(seed: int, mean: float, spread: float, *shape: int) -> ClipSet:
    return ClipSet.of(np.random.default_rng(seed).normal(mean, spread, shape))


def test_gaussians_that_commute() -> None:
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    std_a, std_b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 1.0])
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((std_a - std_b) ** 2)
    distance = gaussian_frechet(mean_a, np.diag(std_a**2), mean_b, np.diag(std_b**2))
    assert distance == pytest.approx(expected, abs=1e-9)


def test_gaussians_that_do_not_commute_equal_the_matrix_root() -> None:
    scipy_linalg = pytest.importorskip("scipy.linalg")
    drawn = np.random.default_rng(0)
    a, b = (drawn.normal(size=(6, 6)) for _ in range(2))
    cov_a, cov_b = a @ a.T, b @ b.T
    root = scipy_linalg.sqrtm(cov_a @ cov_b).real
    expected = np.trace(cov_a + cov_b - 2 * root)
    assert gaussian_frechet(np.zeros(6), cov_a, np.zeros(6), cov_b) == pytest.approx(expected)


def test_samples_approach_the_true_distance_and_a_set_is_zero_from_itself() -> None:
    a, b = normal(1, 0, 1, 20_000, 1, 4), normal(11, 0.5, 2, 20_000, 1, 4)
    assert fad(a, b) == pytest.approx(4 * 0.25 + 4 * 1.0, rel=0.05)
    assert fad(a, a) == pytest.approx(0, abs=1e-9)
    assert fad(a, ClipSet.of(np.zeros_like(a.clips))) == pytest.approx(
        (a.vectors.mean(0) ** 2).sum() + a.vectors.var(0, ddof=1).sum(), rel=1e-9
    )


def test_infinity_removes_the_bias_of_a_small_set() -> None:
    reference, generated = normal(2, 0, 1, 20_000, 1, 20), normal(12, 0, 1, 300, 1, 20)
    plain = fad(reference, generated)
    intercept, fit = frechet_infinity(reference, generated)
    assert plain > 0.3
    assert abs(intercept) < 0.25 * plain
    assert fit > 0.95


def test_kad_is_unbiased_where_the_plain_estimate_is_not() -> None:
    drawn = np.random.default_rng(3)
    kad = kad_within(3.0)
    pairs = [[ClipSet.of(drawn.normal(size=(20, 1, 5))) for _ in range(2)] for _ in range(300)]
    values = np.array([kad(a, b) for a, b in pairs])
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < 3 * error
    assert (values < 0).any()
    biased_by_itself = 2 * KAD_SCALE / 20 * (1 - np.exp(-2 * 5 / (2 * 9)))
    assert abs(values.mean()) < 0.1 * biased_by_itself


def test_kad_is_unbiased_where_vectors_of_a_clip_and_clips_of_a_song_are_alike() -> None:
    drawn = np.random.default_rng(7)

    def clips() -> np.ndarray:  # 8 songs of 2 clips of 3 vectors
        songs, parts = drawn.normal(size=(8, 1, 1, 4)), drawn.normal(size=(8, 2, 3, 4))
        return (songs + 0.3 * parts).reshape(16, 3, 4)

    songs = [str(i // 2) for i in range(16)]
    pairs = [(clips(), clips()) for _ in range(300)]
    kad = kad_within(3.0)
    grouped = np.array([kad(ClipSet.of(a, songs), ClipSet.of(b, songs)) for a, b in pairs])
    apart = [[ClipSet.of(one.reshape(48, 1, 4)) for one in pair] for pair in pairs]
    plain = np.array([kad(a, b) for a, b in apart])
    error = grouped.std(ddof=1) / np.sqrt(len(grouped))
    assert abs(grouped.mean()) < 3 * error
    assert plain.mean() > 20 * error


def test_kad_equals_the_closed_form_for_gaussians() -> None:
    a, b = normal(4, 0, 1, 3000, 1, 1), normal(14, 2, 1, 3000, 1, 1)
    sigma = 1.5

    def expected_kernel(shift: float) -> float:
        spread = sigma**2 + 2
        return sigma / np.sqrt(spread) * np.exp(-(shift**2) / (2 * spread))

    exact = KAD_SCALE * 2 * (expected_kernel(0) - expected_kernel(2))
    assert kad_within(sigma)(a, b) == pytest.approx(exact, rel=0.05)


def test_median_bandwidth_of_known_points() -> None:
    assert median_bandwidth(np.array([[0.0], [1.0], [3.0]])) == 2.0
    assert median_bandwidth(np.zeros((4, 2))) == 1.0


def test_interval_covers_and_shrinks_with_more_clips() -> None:
    reference = normal(6, 0, 1, 400, 2, 3)
    small, large = normal(16, 1, 1, 40, 2, 3), normal(26, 1, 1, 400, 2, 3)
    few, many = (with_interval(fad, reference, one) for one in (small, large))
    assert few.low < few.value < few.high
    assert many.low < 3.0 < many.high
    assert many.high - many.low < few.high - few.low
    songs = [str(i // 40) for i in range(400)]
    grouped = with_interval(fad, ClipSet.of(reference.clips, songs), large)
    assert grouped.value == many.value


def test_interval_is_wider_where_the_clips_are_of_few_songs() -> None:
    drawn = np.random.default_rng(8)
    reference = drawn.normal(0, 1, (200, 1, 3))
    generated = np.repeat(drawn.normal(1, 1, (20, 1, 3)), 10, axis=0)
    songs = [str(i // 10) for i in range(200)]
    apart = with_interval(fad, ClipSet.of(reference), ClipSet.of(generated))
    together = with_interval(fad, ClipSet.of(reference), ClipSet.of(generated, songs))
    assert together.high - together.value > 1.5 * (apart.high - apart.value)
    assert ClipSet.of(generated, ["one"] * 200).groups.tolist() == list(range(200))


def test_interval_of_infinity_covers_the_true_distance() -> None:
    reference, generated = normal(9, 0, 1, 2000, 1, 6), normal(19, 1, 1, 60, 1, 6)
    cell, fit = infinity_with_interval(reference, generated)
    assert cell.low < 6.0 < cell.high and cell.count == 60
    assert (cell.value, fit) == frechet_infinity(reference, generated)
    assert 0 <= fit <= 1


def test_too_small_sets_are_refused() -> None:
    one = ClipSet.of(np.zeros((1, 1, 4)))
    with pytest.raises(ValueError, match="two vectors"):
        fad(one, one)
    with pytest.raises(ValueError, match="two groups"):
        kad_within(1.0)(one, one)
    with pytest.raises(ValueError, match="at least 4"):
        frechet_infinity(ClipSet.of(np.zeros((5, 1, 4))), ClipSet.of(np.zeros((2, 1, 4))))
