"""What every waveform must fulfil before a model takes it, and every result before it is written.

No finite waveform is lost: too loud or too quiet ones are scaled exactly, and channels that would
cancel each other are added in phase.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stemweave.errors import InputError

ORDINARY_PEAKS = (2.0**-20, 2.0**20)
"""Squares and sums of spectra of such waveforms keep clear of float32's ends."""
MAX_EXPONENT = 126
"""Of scales: they and their inverses are normal numbers in float32."""
CANCELLED = 1e-4
"""Power of the mean of channels over the mean of their powers, below which they cancel (-40 dB)."""


class ResultError(InputError):
    """What came out of a model cannot be written as audio."""


def rms(waveform: Tensor) -> Tensor:
    """Root of the mean square (...) of waveforms (..., T)."""
    return waveform.square().mean(dim=-1).sqrt()


def check_waveform(waveform: Tensor, name: str) -> None:
    """Raise ``InputError`` if there are no samples or some are not finite."""
    if waveform.shape[-1] == 0:
        raise InputError(f"{name} is empty: give at least one sample")
    if not _is_finite(waveform):
        raise InputError(f"{name} has samples that are not numbers (NaN or infinite)")


def checked(waveforms: dict[str, Tensor], num_samples: int) -> dict[str, Tensor]:
    """``waveforms`` of a result, (channels, T) each: what every task returns goes through this.

    Raises:
        ResultError: if some are not finite or T is not ``num_samples``.
    """
    for name, waveform in waveforms.items():
        length = waveform.shape[-1]
        if length != num_samples:
            raise ResultError(f"{name} has {length} samples, not {num_samples}: please report this")
        if not _is_finite(waveform):
            raise ResultError(
                f"{name} would have samples that are not numbers: the input is louder than 32-bit "
                "floating point can add up, or the model's weights are damaged"
            )
    return waveforms


def _is_finite(waveform: Tensor) -> bool:
    return not waveform.numel() or bool(torch.stack(torch.aminmax(waveform)).isfinite().all())


def exact_scale(*waveforms: Tensor) -> float:
    """The power of two that brings the peak of ``waveforms`` near to one; 1 for ordinary peaks.

    Waveforms times it are exact, but for what lies 2^126 below the peak.
    """
    peak = max(waveform.abs().max().item() for waveform in waveforms)
    lowest, highest = ORDINARY_PEAKS
    if peak == 0 or lowest <= peak <= highest:
        return 1.0
    exponent = math.frexp(peak)[1]
    return 2.0 ** -max(-MAX_EXPONENT, min(exponent, MAX_EXPONENT))


def polarity(waveform: Tensor) -> Tensor | None:
    """1 or -1 for each channel of (channels, T), such that their mean is not silent.

    None where the plain mean is not, which is nearly always.
    """
    if len(waveform) == 1:
        return None
    power = waveform.square().mean()
    if waveform.mean(dim=0).square().mean() >= CANCELLED * power:
        return None
    loudest = waveform[waveform.square().sum(dim=1).argmax()]
    return torch.where(waveform @ loudest < 0, -1.0, 1.0)


def in_mono(values: Tensor, signs: Tensor | None) -> Tensor:
    """Mean (...) of channels' samples or spectra (channels, ...), turned as ``polarity`` says."""
    if signs is None:
        return values.mean(dim=0)
    return (signs.reshape(-1, *[1] * (values.ndim - 1)) * values).mean(dim=0)


def mono(waveform: Tensor) -> Tensor:
    """Mean (T,) of the channels of (channels, T), in phase where they would cancel each other."""
    return in_mono(waveform, polarity(waveform))
