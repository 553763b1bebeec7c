"""``LoadedModel``: a folder of our own parts, read without diffusers' loading machinery."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from stemweave.files import InputError
from stemweave.loading import WEIGHTS, checked_device
from stemweave.model import StemModel, TaskSettings
from stemweave.model_folder import check_model_folder
from stemweave.models.int8_weights import dequantise_

PARTS = ("log_mel", "vae", "denoiser", "scheduler", "vocoder", "refiner", "sharpener")
OPTIONAL_PARTS = {"refiner", "sharpener"}


class LoadedModel(StemModel):
    """A model for use only; ``StemweavePipeline`` can also be saved, composed and published.

    Args:
        parts: by the names of ``PARTS``; those of ``OPTIONAL_PARTS`` may be missing.
        settings: of the tasks.

    Raises:
        InputError: if a part is missing or parts do not fit together.
    """

    def __init__(self, parts: Mapping[str, Any], settings: TaskSettings) -> None:
        missing = set(PARTS) - parts.keys() - OPTIONAL_PARTS
        if missing:
            raise InputError(f"the model has no {', '.join(sorted(missing))}")
        for name in PARTS:
            setattr(self, name, parts.get(name))
        self.config = settings
        self.check_components()

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> LoadedModel:
        """The model in ``folder``, for which ``loading.has_own_parts_only`` holds.

        Raises:
            InputError: as for ``StemweavePipeline.from_pretrained``.
        """
        chosen = checked_device(device)
        names = {field.name for field in fields(TaskSettings)}
        check_model_folder(folder, {*PARTS, *names})
        index = json.loads((folder / "model_index.json").read_text())
        settings = TaskSettings(**{name: index[name] for name in names & index.keys()})
        parts = {}
        for name in PARTS:
            library, kind = index.get(name, (None, None))
            if library is not None:
                parts[name] = load_part(folder / name, library, kind, chosen)
        return cls(parts, settings)


def load_part(folder: Path, library: str, kind: str, device: torch.device) -> Any:
    """A scheduler, or a network in evaluation mode on ``device``.

    Its weights are the file's pages (or made of them where they are ``quantised``), not random
    numbers that are then overwritten. Raises ``InputError`` if they cannot be read or are another
    network's.
    """
    if library == "diffusers":
        return getattr(diffusers, kind).from_pretrained(str(folder))
    module = getattr(importlib.import_module(library), kind)
    try:
        with torch.device("meta"):
            part: nn.Module = module.from_config(json.loads((folder / "config.json").read_text()))
        part.load_state_dict(dequantise_(load_file(folder / WEIGHTS)), assign=True)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot load the model part {folder}: {reason}") from error
    convert: Any = nn.Module.to  # with the part's own ``to`` diffusers imports a compiler
    return convert(part.eval(), device, torch.float32)
