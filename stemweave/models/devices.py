"""Which device computes: the one that is named, or the best that passes a test."""

from __future__ import annotations

import time
from typing import Any

from stemweave.errors import InputError

AUTO = "auto"
TEST_S = 1.0
"""A device that takes longer for the test is no gain."""
TOLERANCE = 1e-2
"""Of the largest result, between a device's and the CPU's: some devices round to 10 bits."""


def checked_device(name: str) -> Any:
    """The ``torch.device`` of this name; "auto": the first accelerator that works, or the CPU."""
    import torch

    if name == AUTO:
        return torch.device(next(filter(works, accelerators()), "cpu"))
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name} cannot be used here: {reason}") from error
    return device


def accelerators() -> list[str]:
    """Kinds of devices that torch finds here, the CPU apart, best first."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [kind for kind, there in found.items() if there]


def works(kind: str) -> bool:
    """Whether a device computes what our networks do as the CPU does, and in time."""
    try:
        _apart(kind)
        began_s = time.monotonic()
        return _apart(kind) <= TOLERANCE and time.monotonic() - began_s <= TEST_S
    except (RuntimeError, NotImplementedError, AssertionError, TypeError):
        return False


def _apart(kind: str) -> float:
    """Largest difference between a device's and the CPU's results, as a share of the largest."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.SiLU(), nn.Flatten(2),
            nn.Conv1d(8, 8, 3, stride=2), nn.Softmax(-1), nn.Linear(31, 31),
        )  # fmt: skip
        inputs = torch.randn(1, 1, 4, 4, 4)
        expected = network(inputs)
        found = network.to(kind)(inputs.to(kind)).cpu()
        spectra = []
        for where in ("cpu", kind):
            ones, window = torch.ones(256, device=where), torch.hann_window(64, device=where)
            spectra.append(torch.stft(ones, 64, window=window, return_complex=True).abs().cpu())
    pairs = ((expected, found), spectra)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


def device_name(device: Any) -> str:
    """A device for users, e.g. ``cuda (NVIDIA H200)``."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
