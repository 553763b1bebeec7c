"""One trained part of a model, e.g. a denoiser: its folder's weights, read, halved, averaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stemweave.errors import InputError
from stemweave.io.files import appearing, as_umask_says
from stemweave.models.part import CONFIG, SCALE, WEIGHTS, dequantised
from stemweave.models.provenance import misfits, trained

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


def _config(folder: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads((folder / CONFIG).read_text()))


def require_replaceable(out: Path) -> None:
    """Raise ``InputError`` if ``out`` is there and something else than a part to replace."""
    if out.exists() and not (out / CONFIG).is_file():
        raise InputError(f"{out} is there and no part of a model: name another folder")


def write_part(out: Path, state: Mapping[str, Tensor], like: Path) -> None:
    """Write weights to ``out`` with the configuration of ``like``, but for what it said of its
    own.
    """
    config = _config(like)
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
    name = _config(folder).get("_class_name")
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


def average_parts(shares: Mapping[Path, float], out: Path) -> None:
    """Write the ``mean_state`` of parts (folders of one network's weights), in float16, to ``out``.

    Their weighted mean is often better than any of them (arXiv 2203.05482). The first part's
    configuration is taken. Raises ``InputError`` if a folder is no part, parts are of different
    shapes or trainings, or ``out`` is something else than a part to replace.
    """
    require_replaceable(out)
    states = {str(folder): part_weights(folder) for folder in shares}
    first, *others = (trained(_config(folder)) for folder in shares)
    for folder, said in zip(list(shares)[1:], others, strict=True):
        front_end = first.get("log_mel") if said.get("log_mel") else None
        problems = misfits(
            said.get("part", "part"), said,
            stems=first.get("stems"), log_mel=front_end, autoencoder=first.get("autoencoder"),
        )  # fmt: skip
        if problems:
            raise InputError(f"{folder} cannot be averaged with the others: {'; '.join(problems)}")
    mean = mean_state(states, shares.values())
    write_part(out, {name: tensor.half() for name, tensor in mean.items()}, like=next(iter(shares)))


def mean_state(
    states: Mapping[str, Mapping[str, Tensor]], shares: Iterable[float]
) -> dict[str, Tensor]:
    """The mean, in float32, of some networks' weights, which are given by the networks' names.

    A weight that not all networks have is the mean of those that do; ``InputError`` if it is of
    different shapes.
    """
    weight_of = dict(zip(states, shares, strict=True))
    mean = {}
    for name in dict.fromkeys(name for state in states.values() for name in state):
        having = {key: state[name] for key, state in states.items() if name in state}
        first = next(iter(having.values()))
        for key, tensor in having.items():
            if tensor.shape != first.shape:
                raise InputError(
                    f"{key} cannot be averaged with the others: its {name} is "
                    f"{tuple(tensor.shape)}, not {tuple(first.shape)}"
                )
        whole = sum(weight_of[key] for key in having)
        parts = [tensor.float() * (weight_of[key] / whole) for key, tensor in having.items()]
        mean[name] = torch.stack(parts).sum(dim=0)
    return mean
