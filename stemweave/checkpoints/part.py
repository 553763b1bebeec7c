"""One trained part of a model, e.g. a denoiser: its folder's weights, read and written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stemweave.checkpoints.model_folder import WEIGHTS
from stemweave.errors import InputError
from stemweave.io.files import appearing
from stemweave.models.int8_weights import dequantise_
from stemweave.models.provenance import trained

CONFIG = "config.json"


def part_weights(folder: Path) -> dict[str, Tensor]:
    """All weights by name; ``InputError`` if ``folder`` holds none."""
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no part of a model: there is no {CONFIG} in it")
    try:
        return dequantise_(load_file(folder / WEIGHTS))
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
        shutil.rmtree(out, ignore_errors=True)
