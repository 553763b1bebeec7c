"""Windows cover everything once; cross-fades give equal inputs back unchanged."""

import pytest
import torch

from stemweave.audio.windows import continue_with, cross_faded, splice, windows_over


@pytest.mark.parametrize("num_samples", [1, 9, 10, 11, 17, 18, 19, 24, 100, 1003])
@pytest.mark.parametrize("overlap", [0, 2, 4])
def test_identity_for_any_length(num_samples: int, overlap: int):
    signal = torch.arange(num_samples, dtype=torch.float64)[None]
    windows = windows_over(num_samples, 10, overlap)
    parts = (signal[:, w.start : w.start + w.length] for w in windows)
    blocks = list(cross_faded(parts, overlap))
    assert torch.allclose(torch.cat(blocks, dim=-1), signal, atol=1e-9)
    assert all(window.length <= 10 for window in windows)


def test_the_last_window_is_as_long_as_the_others_with_its_context():
    first, second, last = windows_over(21, 10, 2)
    assert (first.start, first.length, first.context) == (0, 10, 0)
    assert (second.start, second.length, second.context) == (8, 10, 0)
    assert (last.start, last.length, last.context) == (16, 5, 5)
    assert windows_over(7, 10, 2)[0].context == 0  # nothing is there before a short file


def test_cross_fade_is_smooth_between_different_windows():
    low, high = torch.zeros(1, 10), torch.ones(1, 10)
    joined = torch.cat(list(cross_faded(iter([low, high]), 4)), dim=-1)[0]
    assert joined.shape == (16,)
    steps = joined.diff()
    assert steps.min() >= 0 and steps.max() <= 0.26


def test_too_much_overlap_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        windows_over(100, 10, 5)


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
