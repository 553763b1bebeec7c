"""Windows over files of any length, cross-fades that add up to one, and joints of old and new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Window:
    """Samples [start, start + length) of a file."""

    start: int
    length: int


def windows_over(
    num_samples: int, window_samples: int, overlap_samples: int, stretch: float = 1.0
) -> list[Window]:
    """As few windows as cover ``num_samples``, each sharing ``overlap_samples`` with the next.

    None is longer than ``window_samples``, or than ``stretch`` times that where it takes one window
    less. All are equally long, some by a sample longer than others, so no part is without context.
    Raises ``ValueError`` unless 0 ≤ overlap ≤ window / 3 (no sample lies in three windows).
    """
    if not 0 <= overlap_samples <= window_samples / 3:
        raise ValueError("overlap must be at least 0 and at most a third of a window")
    count = max(1, -(-(num_samples - overlap_samples) // (window_samples - overlap_samples)))
    fewer = count - 1
    if fewer and num_samples + (fewer - 1) * overlap_samples <= fewer * stretch * window_samples:
        count = fewer
    length, longer = divmod(num_samples + (count - 1) * overlap_samples, count)
    windows: list[Window] = []
    start = 0
    for index in range(count):
        windows.append(Window(start, length + (index < longer)))
        start += windows[-1].length - overlap_samples
    return windows


def widened(window: Window, shortest: int, num_samples: int) -> Window:
    """``window`` and what is around it, ``shortest`` samples or all that there are."""
    length = min(max(window.length, shortest), num_samples)
    return Window(max(0, min(window.start, num_samples - length)), length)


def cross_faded(results: Iterable[Tensor], overlap_samples: int) -> Iterator[Tensor]:
    """Consecutive windows' results (..., length) joined into blocks that do not overlap.

    Weights of two overlapping windows add up to one, so results that equal the input give the
    input back. Only one window is kept in memory.
    """
    pending: Tensor | None = None
    for result in results:
        if pending is not None:
            shared = min(overlap_samples, result.shape[-1])
            rise = (torch.arange(shared, dtype=result.dtype) + 0.5) / max(shared, 1)
            end = pending.shape[-1] - overlap_samples
            tail = pending[..., end : end + shared]
            joined = tail + (result[..., :shared] - tail) * rise
            result = torch.cat([joined, result[..., shared:]], dim=-1)
            yield pending[..., :end]
        pending = result
    if pending is not None:
        yield pending


def splice(old: Tensor, new: Tensor, start: int, fade_samples: int) -> Tensor:
    """``old`` (..., T) with ``new`` (..., n) in the place of its samples [start, start + n).

    Cross-fades of equal power, ``fade_samples`` long, lie inside that range; there is none at the
    ends of ``old``. All samples outside the range are those of ``old``.
    """
    length = new.shape[-1]
    place = slice(start, start + length)
    fade = min(fade_samples, length // 2)
    angle = torch.full((length,), torch.pi / 2)
    rise = torch.pi / 2 * (torch.arange(fade) + 0.5) / max(fade, 1)
    if start > 0:
        angle[:fade] = rise
    if place.stop < old.shape[-1]:
        angle[length - fade :] = rise.flip(0)
    inside = torch.where(angle < torch.pi / 2, old[..., place] * angle.cos(), 0.0)
    result = old.clone()
    result[..., place] = inside + new * angle.sin()
    return result


def continue_with(old: Tensor, new: Tensor, fade_samples: int) -> Tensor:
    """``old`` (..., T), every sample of it, followed by ``new`` (..., n).

    What fades out under the beginning of ``new`` is the end of ``old`` played backwards, so that
    the waveform has no step.
    """
    fade = min(fade_samples, old.shape[-1] - 1, new.shape[-1] // 2)
    longer = functional.pad(old, (0, fade), mode="reflect")
    longer = functional.pad(longer, (0, new.shape[-1] - fade))
    return splice(longer, new, old.shape[-1], fade)
