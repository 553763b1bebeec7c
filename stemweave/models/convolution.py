"""3×3 convolutions with fewer multiplications, for inference on CPUs without AVX-512.

NNPACK, which comes with PyTorch, filters tiles in Winograd's way (arXiv 1509.09308); oneDNN does so
only with AVX-512. Where channels and positions are many it takes about two thirds of the time and
differs by rounding: 1e-5 of a convolution's largest value, 2e-6 of the bundled networks'.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

MIN_CHANNELS = 64
MIN_POSITIONS = 1024
"""Below these the transforms of tiles and weights cost more than they save."""


@lru_cache(maxsize=1)
def has_minimal_filtering() -> bool:
    """Whether this PyTorch has NNPACK, ready for use, and the CPU is one that gains by it."""
    return (
        hasattr(torch, "_nnpack_spatial_convolution")
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
        and torch.backends.nnpack.is_available()
    )


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` that is fast in inference on a CPU if it is 3×3, of stride 1, zeros around.

    Other shapes are made by peft, of the layers that it adapts.
    """

    def is_filtered(self, inputs: Tensor) -> bool:
        """Whether NNPACK convolves ``inputs``: in inference, in float32, on the CPU, if large."""
        return (
            inputs.device.type == "cpu"
            and self.bias is not None
            and (self.kernel_size, self.stride, self.padding) == ((3, 3), (1, 1), (1, 1))
            and inputs.dtype == self.weight.dtype == torch.float32
            and min(self.in_channels, self.out_channels) >= MIN_CHANNELS
            and inputs.shape[-2] * inputs.shape[-1] >= MIN_POSITIONS
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and has_minimal_filtering()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C_out, H, W) of ``inputs`` (N, C_in, H, W)."""
        if not self.is_filtered(inputs):
            return super().forward(inputs)
        weight, plain = self.weight.contiguous(), inputs.contiguous()
        convolved = [  # one by one: for more than one NNPACK takes a slower way
            torch._nnpack_spatial_convolution(one, weight, cast(Tensor, self.bias), 1)
            for one in plain.split(1)
        ]
        return convolved[0] if len(convolved) == 1 else torch.cat(convolved)
