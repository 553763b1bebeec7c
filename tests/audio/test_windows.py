"""Windows cover everything once; cross-fades give equal inputs back unchanged."""

import pytest
import torch

from stemweave.audio.windows import (
    Window,
    continue_with,
    cross_faded,
    splice,
    widened,
    windows_over,
)

LENGTHS = [1, 11, 12, 13, 19, 20, 21, 28, 29, 100, 1003]


@pytest.mark.parametrize("num_samples", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 2, 4])
@pytest.mark.parametrize("stretch", [1.0, 1.25])
def test_identity_for_any_length(num_samples: int, overlap: int, stretch: float):
    signal = torch.arange(num_samples, dtype=torch.float64)[None]
    windows = windows_over(num_samples, 12, overlap, stretch)
    parts = (signal[:, w.start : w.start + w.length] for w in windows)
    blocks = list(cross_faded(parts, overlap))
    assert torch.allclose(torch.cat(blocks, dim=-1), signal, atol=1e-9)
    assert all(window.length <= 12 * stretch for window in windows)


@pytest.mark.parametrize("num_samples", LENGTHS)
def test_windows_share_the_length_evenly(num_samples: int):
    windows = windows_over(num_samples, 12, 4)
    lengths = [window.length for window in windows]
    assert max(lengths) - min(lengths) <= 1 and lengths[0] == max(lengths)
    assert sum(lengths) == num_samples + 4 * (
        len(windows) - 1
    )  # nothing is done twice but overlaps
    starts = [window.start for window in windows]
    assert all(after - before >= 4 for before, after in zip(starts, starts[2:], strict=False))
    assert all(w.start >= v.start + v.length for v, w in zip(windows, windows[2:], strict=False))


@pytest.mark.parametrize(
    ("num_samples", "stretch", "expected"),
    [
        (1024, 1.0, [(0, 1024)]),
        (1025, 1.0, [(0, 563), (463, 562)]),
        (1025, 1.25, [(0, 1025)]),
        (1280, 1.25, [(0, 1280)]),
        (1281, 1.25, [(0, 691), (591, 690)]),
        (2000, 1.0, [(0, 734), (634, 733), (1267, 733)]),
        (2000, 1.25, [(0, 1050), (950, 1050)]),
    ],
)
def test_a_little_longer_than_a_window_costs_little_more(num_samples, stretch, expected):
    windows = windows_over(num_samples, 1024, 100, stretch)
    assert [(window.start, window.length) for window in windows] == expected


def test_windows_are_widened_within_the_file():
    assert widened(Window(50, 30), 20, 100) == Window(50, 30)
    assert widened(Window(50, 30), 40, 100) == Window(50, 40)
    assert widened(Window(70, 30), 40, 100) == Window(60, 40)
    assert widened(Window(70, 30), 400, 100) == Window(0, 100)


def test_cross_fade_is_smooth_between_different_windows():
    low, high = torch.zeros(1, 10), torch.ones(1, 10)
    joined = torch.cat(list(cross_faded(iter([low, high]), 4)), dim=-1)[0]
    assert joined.shape == (16,)
    steps = joined.diff()
    assert steps.min() >= 0 and steps.max() <= 0.26


def test_too_much_overlap_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        windows_over(100, 10, 4)


@pytest.mark.parametrize(("start", "length"), [(0, 10), (3, 20), (0, 50), (30, 20), (7, 1), (5, 3)])
def test_splice_changes_only_its_range_and_keeps_the_power(start: int, length: int):
    old, new = torch.ones(2, 50), 2 * torch.ones(2, length)
    joined = splice(old, new, start, 4)
    assert torch.equal(joined[:, :start], old[:, :start])
    assert torch.equal(joined[:, start + length :], old[:, start + length :])
    if length > 8:
        assert (joined[:, start + 4 : start + length - 4] == 2).all()
    if start == 0:
        assert length == 1 or (joined[:, 0] == 2).all()
    unrelated = splice(old, torch.zeros(2, length), start, 4), splice(0 * old, new / 2, start, 4)
    assert torch.allclose(unrelated[0].square() + unrelated[1].square(), torch.ones(2, 50))


def test_continue_with_keeps_every_sample_and_makes_no_step():
    old = torch.sin(torch.arange(400) * 0.05)[None] + 0.5
    joined = continue_with(old, torch.zeros(1, 300), 100)
    assert joined.shape == (1, 700) and torch.equal(joined[:, :400], old)
    assert joined.diff().abs().max() < 0.06
    assert (joined[:, 500:] == 0).all()
    assert continue_with(old[:, :1], torch.ones(1, 2), 100).shape == (1, 3)
