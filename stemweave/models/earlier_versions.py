"""Model folders that earlier versions saved: their settings and weights in today's form.

The one place where names and shapes of old files are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stemweave.errors import InputError

RETIRED_SETTINGS = {
    "bar_timestep", "generation_bar_gain", "arrangement_bar_gain", "beat_share", "phrase_share"
}  # fmt: skip
"""Of model folders, without effect today: averages over bars, which sheets replaced."""
PIXELS = 4
"""Input channels of the mask network for one spectrum: 2 × 2 points of it."""


def current_config(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` of a class ``kind`` as it is today; ``InputError`` for masks that need
    estimates.
    """
    current = dict(config)
    if kind != "MaskRefiner":
        return current
    if current.pop("blind_share", 1.0) == 0:
        raise InputError(
            "this mask network needs the diffusion's estimates (its blind_share is 0), which "
            "mask networks no longer see: train it again"
        )
    current.pop("estimate_share", None)
    if "blind_shifts" in current:
        current["shifts"] = current.pop("blind_shifts")
    return current


def current_state(kind: str, state: dict[str, Any]) -> dict[str, Any]:
    """Turn the weights ``state`` of such a network into today's, in place; returns ``state``.

    Mask networks saw estimates of the stems after the mixture; without them, zeros.
    """
    first: Tensor | None = state.get("conv_in.weight")
    if kind == "MaskRefiner" and first is not None and first.shape[1] > PIXELS:
        state["conv_in.weight"] = first[:, :PIXELS].clone()
    return state
