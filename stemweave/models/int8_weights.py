"""Large weights in a file as integers of eight bits: half of float16's size.

Every row of a layer's matrix (the weights of one output channel) has one scale, its largest weight
over 127. What is lost is about 40 dB below the weights. In memory they are floats again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

SCALE = ".int8_scale"
"""What is added to the name of a weight for the name of its scales."""
MIN_WEIGHTS = 65536
"""Smaller layers are left as they are: first and last ones above all."""


def quantised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with large matrices (O, …) in int8 and their scales (O,); what is left, float16."""
    stored = {}
    for name, tensor in state.items():
        is_large_layer = name.endswith("weight") and tensor.ndim > 1
        if not is_large_layer or tensor.numel() < MIN_WEIGHTS:
            stored[name] = tensor.half()
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(dim=1) / 127
        whole = (rows / scale.clamp(min=1e-12)[:, None]).round().to(torch.int8)
        stored[name] = whole.reshape(tensor.shape)
        stored[name + SCALE] = scale
    return stored


def dequantise_(state: dict[str, Any]) -> dict[str, Any]:
    """Turn what ``quantised`` stored into float32, in place; returns ``state``."""
    for name in [name for name in state if name.endswith(SCALE)]:
        weight = name.removesuffix(SCALE)
        whole, scale = state[weight], state.pop(name)
        state[weight] = whole.float() * scale.reshape(-1, *[1] * (whole.ndim - 1))
    return state


class Int8Weights:
    """Beside diffusers' ``ModelMixin``: ``from_pretrained`` of such files."""

    def _fix_state_dict_keys_on_load(self, state_dict: dict[str, Any]) -> None:
        """diffusers' own hook for files whose weights are to be changed before they are used."""
        dequantise_(state_dict)
        super()._fix_state_dict_keys_on_load(state_dict)  # type: ignore[misc]
