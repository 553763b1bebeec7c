"""Weighted means of trained parts' weights (arXiv 2203.05482): often better than any of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stemweave.files import InputError, appearing
from stemweave.loading import WEIGHTS

CONFIG = "config.json"


def average_parts(shares: Mapping[Path, float], out: Path) -> None:
    """Write the mean of parts (folders of one network's weights), in float16, to ``out``.

    Shares are of their sum. A weight that not all parts have is the mean of those that do. The
    first part's configuration is taken.

    Raises:
        InputError: if a folder is no part, or parts are of different shapes; if ``out`` is
            something else than a part to replace.
    """
    if out.exists() and not (out / CONFIG).is_file():
        raise InputError(f"{out} is there and no part of a model: name another folder")
    states = {folder: _state(folder) for folder in shares}
    names = dict.fromkeys(name for state in states.values() for name in state)
    tensors = {}
    for name in names:
        having = {folder: state[name] for folder, state in states.items() if name in state}
        first = next(iter(having.values()))
        for folder, tensor in having.items():
            if tensor.shape != first.shape:
                raise InputError(
                    f"{folder} cannot be averaged with the others: its {name} is "
                    f"{tuple(tensor.shape)}, not {tuple(first.shape)}"
                )
        whole = sum(shares[folder] for folder in having)
        parts = [tensor.float() * (shares[folder] / whole) for folder, tensor in having.items()]
        tensors[name] = torch.stack(parts).sum(dim=0).half()
    with appearing(out) as partial:
        partial.mkdir()
        save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
        shutil.copy(next(iter(shares)) / CONFIG, partial / CONFIG)
        shutil.rmtree(out, ignore_errors=True)


def _state(folder: Path) -> dict[str, Tensor]:
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no part of a model: there is no {CONFIG} in it")
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS} cannot be read: {error}") from error
