"""Tracks of one song brought to one sample rate, number of channels and length.

Blocks are float32 tensors (channels, samples).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import soxr

from stemweave.errors import InputError
from stemweave.io.decode import AudioInfo

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_SAMPLES = 1 << 19

Reader = Callable[[int, int], "Tensor"]


@dataclass(frozen=True)
class Shape:
    """What all tracks of a version have in common."""

    sample_rate: int
    channels: int
    num_samples: int

    @property
    def bytes(self) -> int:
        """Of one track as 32-bit float."""
        return 4 * self.channels * self.num_samples


def common_shape(infos: Mapping[str, AudioInfo], labels: Mapping[str, str]) -> Shape:
    """The highest rate, most channels and greatest length of ``infos``.

    Raises:
        InputError: if a track has neither one channel nor as many as the others.
    """
    widest = max(infos, key=lambda name: infos[name].channels)
    channels = infos[widest].channels
    for name, info in infos.items():
        if info.channels not in (1, channels):
            raise InputError(
                f"{labels[name]} has {info.channels} channels and {labels[widest]} {channels}: "
                "send tracks of one song, mono or with equal channels"
            )
    sample_rate = max(info.sample_rate for info in infos.values())
    lengths = [_length_at(info, sample_rate) for info in infos.values()]
    return Shape(sample_rate, channels, max(lengths))


def fitted(read: Reader, info: AudioInfo, shape: Shape) -> Iterator[Tensor]:
    """The track of ``info``, block by block, in ``shape``: mono on all channels, silence after."""
    stream: soxr.ResampleStream | None = None
    if info.sample_rate != shape.sample_rate:
        stream = soxr.ResampleStream(
            info.sample_rate, shape.sample_rate, info.channels, dtype="float32", quality="VHQ"
        )
    left = shape.num_samples
    block: Tensor | None = None
    for start in range(0, info.num_samples, BLOCK_SAMPLES):
        length = min(BLOCK_SAMPLES, info.num_samples - start)
        block = read(start, length)
        if stream is not None:
            is_last = start + length == info.num_samples
            resampled = stream.resample_chunk(block.numpy().T.copy(), last=is_last)
            block = block.new_tensor(resampled).reshape(-1, info.channels).T
        block = block[:, :left].expand(shape.channels, -1)
        left -= block.shape[1]
        yield block
    while left and block is not None:
        silence = block.new_zeros((shape.channels, min(left, BLOCK_SAMPLES)))
        left -= silence.shape[1]
        yield silence


def changes(info: AudioInfo, label: str, shape: Shape) -> list[str]:
    """What ``fitted`` does to a track, a sentence each."""
    done = []
    if info.sample_rate != shape.sample_rate:
        done.append(f"{label} was resampled from {info.sample_rate} to {shape.sample_rate} Hz")
    if info.channels != shape.channels:
        done.append(f"{label} is mono and plays on all {shape.channels} channels")
    missing_s = (shape.num_samples - _length_at(info, shape.sample_rate)) / shape.sample_rate
    if missing_s >= 0.001:
        done.append(f"{label} is {missing_s:.3f} s shorter and ends in silence")
    return done


def _length_at(info: AudioInfo, sample_rate: int) -> int:
    return math.ceil(info.num_samples * sample_rate / info.sample_rate)
