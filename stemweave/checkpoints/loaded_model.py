"""``LoadedModel``: a folder of our own parts, read without diffusers' loading machinery."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import FrozenDict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from stemweave.checkpoints.model_folder import WEIGHTS, check_model_folder
from stemweave.errors import InputError
from stemweave.model import StemModel, TaskSettings
from stemweave.models.devices import checked_device
from stemweave.models.earlier_versions import current_config, current_state
from stemweave.models.int8_weights import dequantise_

PARTS = (
    "log_mel",
    "vae",
    "denoiser",
    "scheduler",
    "vocoder",
    "refiner",
    "sharpener",
    "score_model",
    "analyser",
)


@dataclass(frozen=True)
class PartSource:
    """Where a part is, and its class: a name in a module."""

    folder: Path
    library: str
    kind: str

    def config(self) -> Any:
        """Its settings, defaults included; None of a scheduler."""
        if self.library == "diffusers":
            return None
        accepted = signature(getattr(importlib.import_module(self.library), self.kind).__init__)
        defaults = {name: entry.default for name, entry in accepted.parameters.items()}
        return FrozenDict({**defaults, **self.saved()})

    def saved(self) -> dict[str, Any]:
        """The settings in its file, as the class takes them today."""
        return current_config(self.kind, json.loads((self.folder / "config.json").read_text()))

    def load(self, device: torch.device) -> Any:
        """A scheduler, or a network in evaluation mode on ``device``.

        Its weights are the file's pages (or made of them where they are ``quantised``), not random
        numbers that are then overwritten. Raises ``InputError`` if they cannot be read or are
        another network's.
        """
        if self.library == "diffusers":
            return getattr(diffusers, self.kind).from_pretrained(str(self.folder))
        module = getattr(importlib.import_module(self.library), self.kind)
        try:
            with torch.device("meta"):
                part: nn.Module = module.from_config(self.saved())
            state = current_state(self.kind, dequantise_(load_file(self.folder / WEIGHTS)))
            part.load_state_dict(state, assign=True)
        except (OSError, SafetensorError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"cannot load the model part {self.folder}: {reason}") from error
        convert: Any = nn.Module.to  # with the part's own ``to`` diffusers imports a compiler
        return convert(part.eval(), device, torch.float32)


class LoadedModel(StemModel):
    """A model for use only; ``StemweavePipeline`` can also be saved, composed and published.

    Each part is loaded when it is first used, so a task waits for no other parts than its own.

    Args:
        sources: of the parts that the model has, by the names of ``PARTS``.
        settings: of the tasks.
        device: where networks run.

    Raises:
        InputError: if parts do not fit together.
    """

    def __init__(
        self, sources: Mapping[str, PartSource], settings: TaskSettings, device: torch.device
    ) -> None:
        self._sources = dict(sources)
        self._configs = {name: source.config() for name, source in sources.items()}
        self._changes: dict[str, list[Callable[[Any], object]]] = {}
        self._device = device
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
        sources = {
            name: PartSource(folder / name, *index[name])
            for name in PARTS
            if index.get(name, [None])[0] is not None
        }
        return cls(sources, settings, chosen)

    def __getattr__(self, name: str) -> Any:
        """A part that is not loaded yet."""
        if name not in PARTS:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        source = self._sources.get(name)
        part = None if source is None else source.load(self._device)
        for change in self._changes.pop(name, ()):
            change(part)
        setattr(self, name, part)
        return part

    def config_of(self, part: str) -> Any:
        loaded = self.__dict__.get(part)
        return self._configs.get(part) if loaded is None else loaded.config

    def alter(self, part: str, change: Callable[[Any], object]) -> None:
        if part in self.__dict__:
            super().alter(part, change)
        elif part in self._sources:
            self._changes.setdefault(part, []).append(change)

    @property
    def compute_device(self) -> torch.device:
        """Where the networks run."""
        return self._device
