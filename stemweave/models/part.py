"""``Part``: a network with its settings, saved as ``config.json`` and one file of weights."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stemweave.errors import InputError
from stemweave.io.files import as_umask_says
from stemweave.io.own_code import imported_of_a_file, is_own
from stemweave.models.earlier_versions import current_config, current_state

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
ORIGIN = "_name_or_path"
SCALE = ".int8_scale"
"""What is added to the name of an 8-bit weight for the name of its scales."""
OURS = {
    "LogMel": "log_mel", "PatchVAE": "vae", "CompactUNet": "compact", "UNet3D": "unet3d",
    "MaskRefiner": "refiner", "MaskSharpener": "sharpener", "SpectralVocoder": "vocoder",
    "ScoreTransformer": "score_transformer", "SongAnalyser": "analyser",
}  # fmt: skip
"""Modules of our networks by their names, whatever module a model folder says."""
OTHERS = {"AutoencoderKL": "diffusers", "SpeechT5HifiGan": "transformers"}
"""Packages of the paper's parts; schedulers are diffusers', too."""

Own = TypeVar("Own", bound="Part")


class Config(dict[str, Any]):
    """Settings of a network, frozen; ``config.name`` is ``config["name"]``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"there is no setting {name}") from error

    def __setitem__(self, name: str, value: Any) -> NoReturn:
        raise TypeError("settings are frozen: see Part.register_to_config")

    def __reduce__(self) -> tuple[Any, ...]:
        return Config, (dict(self),)


class Part(nn.Module):
    """A network whose arguments are its settings: ``config`` has them, defaults included."""

    config: Config

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        initialise = cls.__init__
        accepted = inspect.signature(initialise)

        @functools.wraps(initialise)
        def remember(self: Part, *arguments: Any, **named: Any) -> None:
            given = accepted.bind(self, *arguments, **named)
            given.apply_defaults()
            _, *settings = given.arguments.items()
            if type(self) is cls:  # not the class that it extends
                object.__setattr__(self, "config", Config(settings))
            initialise(self, *arguments, **named)

        setattr(cls, "__init__", remember)  # noqa: B010

    @classmethod
    def settings(cls) -> dict[str, Any]:
        """The settings that there are, with their defaults."""
        parameters = inspect.signature(cls.__init__).parameters.items()
        return {name: entry.default for name, entry in parameters if name != "self"}

    @classmethod
    def unknown(cls, config: Mapping[str, Any]) -> list[str]:
        """Names of settings that there are not; those that begin with _ are remarks."""
        return sorted({key for key in config if not key.startswith("_")} - cls.settings().keys())

    @classmethod
    def current(cls, config: Mapping[str, Any]) -> Config:
        """``config``, also an earlier version's, with defaults; raises ``InputError`` for
        unknown ones.
        """
        given = current_config(cls.__name__, config)
        unknown = cls.unknown(given)
        if unknown:
            raise InputError(f"{cls.__name__} has no setting {', '.join(unknown)}")
        return Config({**cls.settings(), **given})

    @classmethod
    def from_config(cls: type[Own], config: Mapping[str, Any]) -> Own:
        """An untrained network with these settings; raises ``InputError`` for unknown ones."""
        settings = cls.current(config)
        part = cls(**{name: settings[name] for name in cls.settings()})
        object.__setattr__(part, "config", settings)
        return part

    @classmethod
    def from_pretrained(
        cls: type[Own],
        folder: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Own:
        """A trained network in evaluation mode.

        Its weights are the file's pages, not random numbers that are then overwritten. Raises
        ``InputError`` if they cannot be read or are another network's.
        """
        try:
            with torch.device("meta"):
                part = cls.from_config(json.loads((Path(folder) / CONFIG).read_text()))
            state = current_state(cls.__name__, dequantised(load_file(Path(folder) / WEIGHTS)))
            part.load_state_dict(state, assign=True)
        except (OSError, SafetensorError, ValueError, RuntimeError) as error:
            raise _unreadable(folder, error) from error
        return part.eval().to(device, dtype)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings and weights into ``folder``, which is made."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        config = {**self.config, "_class_name": name_of(type(self))}
        text = json.dumps(config, indent=2, sort_keys=True)
        (Path(folder) / CONFIG).write_text(text + "\n")
        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, Path(folder) / WEIGHTS, metadata={"format": "pt"})
        as_umask_says(Path(folder) / WEIGHTS)

    def register_to_config(self, **settings: Any) -> None:
        """Change ``settings`` that the network reads when it is called."""
        object.__setattr__(self, "config", Config({**self.config, **settings}))

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return next(self.parameters()).dtype


def name_of(kind: type) -> str:
    """A network's class as files name it: ``package.module:Class`` of one that is not ours."""
    ours = kind.__name__ in OURS or not issubclass(kind, Part)
    return kind.__name__ if ours else f"{kind.__module__}:{kind.__qualname__}"


def dequantised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` in which matrices of eight bits, of which each row has one scale, are floats.

    The bundled model's file has such: they are half as large as in float16, and what is lost is
    about 40 dB below the weights.
    """
    found = {name: tensor for name, tensor in state.items() if not name.endswith(SCALE)}
    for name in [name for name in state if name.endswith(SCALE)]:
        weight = found[name.removesuffix(SCALE)]
        scale = state[name].reshape(-1, *[1] * (weight.ndim - 1))
        found[name.removesuffix(SCALE)] = weight.float() * scale
    return found


@dataclass(frozen=True)
class SavedPart:
    """A part of a model in its folder: one of ours, of diffusers or transformers, or of a user.

    ``kind`` is as ``name_of`` names it.
    """

    folder: Path
    kind: str

    def config(self) -> Any:
        """Its settings, defaults included; None of a scheduler. Raises ``InputError``."""
        if self.kind.endswith("Scheduler"):
            return None
        if self._is_part:
            config = current_config(self.kind, read_object(self.folder / CONFIG))
            unknown = [f"{self.folder.name}.{key}" for key in self._class().unknown(config)]
            if unknown:
                model = self.folder.parent
                raise InputError(f"unknown settings in the model {model}: {', '.join(unknown)}")
            return self._class().current(config)
        if self.kind == "AutoencoderKL":
            return Config(read_object(self.folder / CONFIG))
        return self._class().config_class.from_pretrained(self.folder)

    def load(self, device: str | torch.device = "cpu") -> Any:
        """The part in float32 on ``device``; raises ``InputError`` if it cannot be read."""
        with torch.inference_mode(False):  # its weights may be trained later
            if self._is_part:
                return self._class().from_pretrained(self.folder, device)
            try:
                part = self._class().from_pretrained(self.folder)
            except (OSError, ValueError, RuntimeError, SafetensorError) as error:
                raise _unreadable(self.folder, error) from error
            if isinstance(part, nn.Module):
                nn.Module.to(part.eval(), device, torch.float32)
            return part

    @property
    def _is_part(self) -> bool:
        return self.kind in OURS or is_own(self.kind)

    def _class(self) -> Any:
        if is_own(self.kind):
            return imported_of_a_file(self.kind, self.folder)
        if self.kind in OURS:
            module = importlib.import_module(f"stemweave.models.{OURS[self.kind]}")
        elif self.kind in OTHERS or self.kind.endswith("Scheduler"):
            module = importlib.import_module(OTHERS.get(self.kind, "diffusers"))
        else:
            raise InputError(f"{self.folder} holds a {self.kind}, which is no part that is known")
        return getattr(module, self.kind)


def _unreadable(folder: str | Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"cannot load the model part {folder}: {reason}")


def forget_origin(folder: Path) -> None:
    """Take out of a part's settings the path that it was read from, which diffusers notes."""
    path = folder / CONFIG
    config = read_object(path) if path.exists() else {}
    if config.pop(ORIGIN, None) is not None:
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ``InputError`` if there is none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not JSON that can be read: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold an object of JSON, not a {type(value).__name__}")
    return value
