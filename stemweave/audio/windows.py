"""Windows over files of any length, and cross-fades that add up to one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Samples [start, start + length) of a file; ``length`` is cut at the file's end.

    ``context`` more samples before ``start`` make a last window as long as the others.
    """

    start: int
    length: int
    context: int = 0


def windows_over(num_samples: int, window_samples: int, overlap_samples: int) -> list[Window]:
    """Windows that cover ``num_samples``, each sharing ``overlap_samples`` with the next.

    Raises:
        ValueError: unless 0 ≤ overlap < window / 2 (no sample lies in three windows).
    """
    if not 0 <= overlap_samples < window_samples / 2:
        raise ValueError("overlap must be at least 0 and less than half a window")
    hop = window_samples - overlap_samples
    count = max(1, -(-(num_samples - overlap_samples) // hop))
    windows = []
    for start in range(0, count * hop, hop):
        length = min(window_samples, num_samples - start)
        windows.append(Window(start, length, min(window_samples - length, start)))
    return windows


class CrossFade:
    """Joins consecutive windows' results (..., length) into blocks that do not overlap.

    Weights of two overlapping windows add up to one, so results that equal the input give the
    input back. Only one overlap is kept in memory.
    """

    def __init__(self, overlap_samples: int) -> None:
        self.overlap_samples = overlap_samples
        self._tail: Tensor | None = None

    def add(self, result: Tensor, is_last: bool) -> Tensor:
        """The part that is final once ``result`` is known; everything if it is the last."""
        overlap = self.overlap_samples
        if self._tail is not None:
            shared = min(overlap, result.shape[-1])
            rise = (torch.arange(shared, dtype=result.dtype) + 0.5) / shared
            tail = self._tail[..., :shared]
            joined = tail + (result[..., :shared] - tail) * rise
            result = torch.cat([joined, result[..., shared:]], dim=-1)
        if is_last or overlap == 0:
            self._tail = None
            return result
        self._tail = result[..., -overlap:]
        return result[..., :-overlap]


def cross_faded(results: Iterator[Tensor], overlap_samples: int) -> Iterator[Tensor]:
    """``CrossFade`` over an iterator of windows' results."""
    fade = CrossFade(overlap_samples)
    pending: Tensor | None = None
    for result in results:
        if pending is not None:
            yield fade.add(pending, is_last=False)
        pending = result
    if pending is not None:
        yield fade.add(pending, is_last=True)
