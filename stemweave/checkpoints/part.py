"""One trained part of a model, e.g. a denoiser: its folder's weights, read, written, halved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stemweave.errors import InputError
from stemweave.io.files import appearing, as_umask_says
from stemweave.models.part import CONFIG, SCALE, WEIGHTS, dequantised
from stemweave.models.provenance import trained

MIN_WEIGHTS = 65536
"""Smaller layers are left as they are: first and last ones above all."""
COMPRESSED = ("CompactUNet", "MaskRefiner", "ScoreTransformer", "SpectralVocoder")
"""Networks whose large layers may be in eight bits."""


def part_weights(folder: Path) -> dict[str, Tensor]:
    """All weights by name; ``InputError`` if ``folder`` holds none."""
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no part of a model: there is no {CONFIG} in it")
    try:
        return dequantised(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS} cannot be read: {error}") from error


def part_record(folder: Path) -> dict[str, Any]:
    """What a part says of its training."""
    return trained(json.loads((folder / CONFIG).read_text()))


def require_replaceable(out: Path) -> None:
    """Raise ``InputError`` if ``out`` is there and something else than a part to replace."""
    if out.exists() and not (out / CONFIG).is_file():
        raise InputError(f"{out} is there and no part of a model: name another folder")


def write_part(out: Path, state: Mapping[str, Tensor], like: Path) -> None:
    """Write weights, with the configuration of the part ``like``, to the folder ``out``.

    What it said of its own weights is left out: these are others.
    """
    config = json.loads((like / CONFIG).read_text())
    trained(config).pop("weights", None)
    with appearing(out) as partial:
        partial.mkdir()
        save_file(dict(state), partial / WEIGHTS, metadata={"format": "pt"})
        (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        as_umask_says(partial)
        shutil.rmtree(out, ignore_errors=True)


def compress_part(folder: Path, out: Path) -> None:
    """Write the part in ``folder`` to ``out`` with large layers in int8 (``quantised``).

    Raises ``InputError`` if it may not be so, or ``out`` is something else than a part to replace.
    """
    require_replaceable(out)
    state = part_weights(folder)
    name = json.loads((folder / CONFIG).read_text()).get("_class_name")
    if name not in COMPRESSED:
        raise InputError(f"{folder} holds a {name}: only {', '.join(COMPRESSED)} can be int8")
    write_part(out, quantised(state), like=folder)


def quantised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with large matrices (O, …) in int8 and their scales (O,); what is left, float16.

    A scale is a row's largest weight over 127. ``models.part`` makes floats of them again.
    """
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
