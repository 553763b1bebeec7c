"""Another speed at the same pitch, another pitch at the same speed: for practising with a piece.

python-stretch has no wheel for every system: ``can_stretch`` says whether it is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from stemweave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SLOWEST, FASTEST = 0.5, 1.5
MOST_SEMITONES = 6.0
BLOCK_S = 20.0
"""Stretched at once, a quarter of a second in which no other thread of Python runs; blocks are
cross-faded in ``FADE_S``."""
FADE_S = 0.05
CONTEXT_S = 0.5
"""Given beside each block, so that its edges sound as its middle does."""


@dataclass(frozen=True)
class Stretch:
    """How a piece is played: ``speed`` times as fast, 0.5 to 1.5; ``semitones`` up or down, at most
    6.

    Raises ``InputError`` if one is outside its limits.
    """

    speed: float = 1.0
    semitones: float = 0.0

    def __post_init__(self) -> None:
        if not SLOWEST <= self.speed <= FASTEST:  # NaN is not
            raise InputError(f"the speed must be from {SLOWEST:g} to {FASTEST:g}")
        if not abs(self.semitones) <= MOST_SEMITONES:
            raise InputError(f"the transposition must be at most {MOST_SEMITONES:g} semitones")

    @property
    def changes(self) -> bool:
        """Whether anything sounds otherwise than it is."""
        return self != PLAIN

    def samples(self, num_samples: int) -> int:
        """How many samples ``num_samples`` become."""
        return max(1, round(num_samples / self.speed))


PLAIN = Stretch()
"""A piece as it is."""


def can_stretch() -> bool:
    """Whether python-stretch is installed."""
    return find_spec("python_stretch") is not None


def stretched_blocks(
    read: Callable[[int, int], Tensor], num_samples: int, sample_rate: int, stretch: Stretch
) -> Iterator[Tensor]:
    """Consecutive blocks (channels, samples) of a file, ``stretch.samples(num_samples)`` in all.

    Sample n sounds at n / speed. ``read`` gives (channels, length) from (start, length).
    """
    from torch.nn.functional import pad

    from stemweave.audio.windows import cross_faded, windows_over

    overlap = round(FADE_S * sample_rate)
    windows = windows_over(stretch.samples(num_samples), round(BLOCK_S * sample_rate), overlap)
    context = round(CONTEXT_S * sample_rate)

    def blocks() -> Iterator[Tensor]:
        for window in windows:
            first = max(0, math.floor(window.start * stretch.speed) - context)
            end = math.ceil((window.start + window.length) * stretch.speed) + context
            block = read(first, min(end, num_samples) - first)
            result = _stretched(block, sample_rate, stretch)
            start = window.start - round(first / stretch.speed)
            result = result[:, start : start + window.length]
            missing = window.length - result.shape[-1]
            yield pad(result, (0, missing)) if missing else result

    return cross_faded(blocks(), overlap)


def _stretched(block: Tensor, sample_rate: int, stretch: Stretch) -> Tensor:
    """All of ``block`` (channels, samples), of any level, stretched."""
    import torch
    from python_stretch import Signalsmith

    from stemweave.audio.waveforms import exact_scale

    engine = Signalsmith.Stretch(0)  # a seed: equal answers to equal requests
    engine.preset(block.shape[0], sample_rate)
    engine.setTimeFactor(stretch.speed)
    engine.setTransposeSemitones(stretch.semitones)
    scale = exact_scale(block)
    scaled = (block.float() * scale).contiguous()
    return torch.from_numpy(engine.process(scaled.numpy())) / scale
