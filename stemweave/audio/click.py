"""A click: a short tone on every beat, higher and louder where a bar begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TONE_S = 0.045
LINE, BEAT = (2000.0, 0.5), (1300.0, 0.3)
"""Hz and gain of the tone where a bar begins, and of the others."""
DECAY = 6.0
"""The tone ends at exp(-6) of its level."""


def click(beats: Sequence[tuple[float, bool]], sample_rate: int, start: int, length: int) -> Tensor:
    """Samples [start, start + length) of a click, (length,).

    Args:
        beats: time in seconds, and whether a bar begins.
    """
    import torch

    samples = torch.zeros(length)
    time_s = torch.arange(math.ceil(TONE_S * sample_rate)) / sample_rate
    decay = torch.exp(-DECAY * time_s / TONE_S)
    for seconds, is_line in beats:
        first = round(seconds * sample_rate) - start
        if not -len(time_s) < first < length:
            continue
        frequency_hz, gain = LINE if is_line else BEAT
        tone = gain * decay * torch.sin(2 * torch.pi * frequency_hz * time_s)
        inside = slice(max(0, first), min(length, first + len(tone)))
        samples[inside] += tone[inside.start - first : inside.stop - first]
    return samples
