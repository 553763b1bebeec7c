"""Networks of masks compute in bfloat16 where the CPU is faster in it."""

import pytest
import torch

from stemweave.models import acceleration
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import MaskSharpener


def check_masks_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
    network: MaskRefiner | MaskSharpener,
    inputs: tuple[torch.Tensor, ...],
    faster: bool,
    rounding: float,
) -> None:
    """But in training and where results are to be exact, within ``rounding``."""
    monkeypatch.setattr(acceleration, "cpu_computes_in_bfloat16", lambda: faster)
    torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    trained_with = network(*inputs)
    with torch.inference_mode():
        masks = network(*inputs)
        network.exact = True
        exact = network(*inputs)
    assert torch.allclose(exact, trained_with, atol=rounding) and masks.dtype == torch.float32
    assert ((masks - exact).abs().max() > rounding) == faster
    assert (masks - exact).abs().mean() < 3e-3
