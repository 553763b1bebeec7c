"""Inputs, weights and outputs of the reference implementation (data in this folder)."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent
SPEC = json.loads((FOLDER / "spec.json").read_text())
EXPECTED = np.load(FOLDER / "expected.npz")


def draw(key: str, shape: list[int]) -> Tensor:
    """Standard normal values that the name alone determines."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


def reference_input(name: str) -> Tensor:
    part = name.split(".")[0]
    return draw(f"input:{name}", SPEC[part]["inputs"][name])


def reference_weights(part: str, keys: str = "keys") -> dict[str, Tensor]:
    weights = {}
    for name, shape in SPEC[part][keys].items():
        value = draw(f"{part}:{name}", shape) * 0.05
        if len(shape) == 1 and name.endswith("weight"):
            value = value + 1
        weights[name] = value
    return weights


def expected(name: str) -> Tensor:
    return torch.from_numpy(EXPECTED[name])


def assert_close(ours: Tensor, name: str, tolerance: float = 1e-4) -> None:
    """Largest difference relative to the largest magnitude."""
    theirs = expected(name)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()
