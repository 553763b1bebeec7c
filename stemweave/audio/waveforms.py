"""What every waveform must fulfil before a model hears it."""

from __future__ import annotations

import torch
from torch import Tensor

from stemweave.files import InputError


def check_waveform(waveform: Tensor, name: str) -> None:
    """Raise ``InputError`` if there are no samples or some are not finite."""
    if waveform.shape[-1] == 0:
        raise InputError(f"{name} is empty: give at least one sample")
    if not torch.isfinite(waveform).all():
        raise InputError(f"{name} has samples that are not numbers (NaN or infinite)")
