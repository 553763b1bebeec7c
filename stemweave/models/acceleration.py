"""How a loaded model's networks run: number type, memory format, compiler; what devices say.

Waveforms, spectra and latents stay on the CPU and in float32, so that seeds give the same noise
everywhere.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from stemweave.errors import InputError

DTYPES = {"auto": None, "float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Number types by name; None leaves the denoiser as it is."""
FREE_SHARE = 0.8
"""Of a device's free memory that batches of windows may fill."""
MAX_WINDOWS = 64


def accelerate(pipe: Any, dtype: str = "auto", compile: bool = False) -> None:
    """Let ``pipe``'s denoiser compute in ``dtype`` (autocast: weights stay as they are), compiled.

    All else of a model takes little time and stays in float32, but for masks on CPUs that compute
    in bfloat16: "float32" keeps those in float32, too. Raises ``InputError`` if there is no such
    type, or no compiler.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype}")
    device_type, chosen = pipe.compute_device.type, DTYPES[dtype]
    if compile:
        require_compiler(device_type)

    def prepare(denoiser: nn.Module) -> None:
        if device_type != "cpu":  # as half-precision convolutions want them
            channels_last(denoiser)
        if compile:
            denoiser.compile()

    pipe.denoiser_dtype = chosen
    pipe.alter("denoiser", prepare)
    if dtype == "float32":
        for part in ("refiner", "sharpener"):
            pipe.alter(part, lambda masks: setattr(masks, "exact", True))


def channels_last(network: nn.Module) -> nn.Module:
    """Put the weights of convolutions, of either two or three dimensions, channels last."""
    is_3d = any(parameter.ndim == 5 for parameter in network.parameters())
    chosen = torch.channels_last_3d if is_3d else torch.channels_last
    return network.to(memory_format=chosen)  # type: ignore[call-overload, no-any-return]


def denoiser_precision(
    dtype: torch.dtype | None, device: torch.device
) -> AbstractContextManager[Any]:
    """Autocast to ``dtype``, if there is one."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def computes_in_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32: on GPUs, and CPUs with instructions for it."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_computes_in_bfloat16()


@functools.cache
def cpu_computes_in_bfloat16() -> bool:
    """``computes_in_bfloat16`` of the CPU, whatever else there is."""
    capabilities = torch.cpu.get_capabilities()
    return any(value for name, value in capabilities.items() if name.endswith("bf16"))


def mask_dtype(network: Any, device: torch.device) -> torch.dtype:
    """What a network of masks computes in: bfloat16 on CPUs that are faster in it, else float32.

    But not in training, nor for weights of another type, nor where ``network.exact`` is set.
    """
    faster = device.type == "cpu" and network.dtype == torch.float32 and cpu_computes_in_bfloat16()
    if faster and not network.exact and not torch.is_grad_enabled():
        return torch.bfloat16
    return torch.float32


def mask_precision(network: Any, device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to ``mask_dtype`` if that is bfloat16."""
    dtype = mask_dtype(network, device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def require_compiler(device_type: str) -> None:
    """Raise ``InputError`` if there is nothing to compile networks with."""
    if device_type == "cpu":
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise InputError(
                f"compiling needs a C++ compiler, and {compiler} is not installed: install it, or "
                "leave out compile"
            )
    elif device_type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError("compiling needs Triton: pip install triton, or leave out compile")


def windows_that_fit(free_bytes: int, bytes_per_window: int) -> int:
    """How many windows may go through the networks at once, at least one."""
    return max(1, min(MAX_WINDOWS, int(FREE_SHARE * free_bytes / max(1, bytes_per_window))))


class WindowBatch:
    """How many windows the next batch should have: as ``wanted``, or as the device's memory allows.

    On CUDA the first batch is one window and shows what a window needs. Elsewhere it is always one.
    """

    def __init__(self, wanted: int | None, device: torch.device) -> None:
        self.wanted = wanted
        self.device = device
        self._size = 1
        if device.type == "cuda":
            self._before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)

    def size(self) -> int:
        """Of the next batch."""
        return self.wanted or self._size

    def learn(self) -> None:
        """Take note of what the batch before needed."""
        if self.wanted is None and self.device.type == "cuda" and self._size == 1:
            needed = torch.cuda.max_memory_allocated(self.device) - self._before
            free, _ = torch.cuda.mem_get_info(self.device)
            self._size = windows_that_fit(free, needed)


def device_problem(error: BaseException) -> str | None:
    """One sentence for users if a device, not the program, is why ``error`` was raised."""
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in first:
        return (
            "the device's memory is full: try dtype bfloat16, end other programs that use it, or "
            "take device cpu"
        )
    if isinstance(error, RuntimeError) and any(
        word in first for word in ("CUDA error", "CUDA driver", "cuDNN", "HIP error", "MPS backend")
    ):
        return f"the device failed: {first}"
    return None
