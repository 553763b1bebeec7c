"""Model folders on disk: which one is meant, and whether it is one that we can load."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from inspect import signature
from pathlib import Path
from typing import Any

from stemweave.errors import InputError
from stemweave.models.earlier_versions import current_config

BUNDLED_MODEL = Path(__file__).parent.parent / "bundled"
"""The model that ships with the package."""
INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
"""Of one part."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
HUB_TIMEOUT_S = 10.0
PARTS = ("log_mel", "vae", "denoiser", "scheduler", "vocoder")
"""What every model has."""


def check_model(source: str | Path, settings: Collection[str], **of_hub: Any) -> None:
    """Raise ``InputError`` if ``source`` is neither a sound model folder nor on the hub.

    ``settings`` are the keys that a ``model_index.json`` may have; ``of_hub`` as for
    ``check_source``.
    """
    check_source(source, INDEX, **of_hub)
    if Path(source).is_dir():
        check_model_folder(Path(source), settings)


def check_source(source: str | Path, file: str, token: Any = None, cache_dir: Any = None) -> None:
    """Raise ``InputError`` if ``source`` is neither a folder nor of the hub, with ``file`` in it.

    The hub is asked once: its own libraries go on asking for a long while. A name below a folder
    that is here is meant to be here.
    """
    if Path(source).is_dir():
        return
    if Path(source).exists():
        raise InputError(f"{source} is a file, not a model folder")
    name = str(source)
    if not HUB_ID.fullmatch(name) or Path(name).parent.is_dir():
        raise InputError(f"no model at {source}: give a model folder or a hub id owner/name")
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(name, file, cache_dir), str):
            HfApi(token=token).model_info(name, timeout=HUB_TIMEOUT_S)
    except Exception as error:  # whatever a network, the hub or its library raise
        raise loading_failed(source, error) from error


def check_model_folder(folder: Path, settings: Collection[str]) -> None:
    """Raise ``InputError`` for a folder that is no model or has unknown configuration keys.

    diffusers only warns of unknown keys, which lets a misspelt setting pass unnoticed.
    """
    index_path = folder / INDEX
    if not index_path.exists():
        raise InputError(f"{folder} is not a model folder: it has no {INDEX}")
    index = _read_object(index_path)
    for part in PARTS:
        if not isinstance(index.get(part), list):
            raise InputError(f"{folder} is no Stemweave model: its {INDEX} names no {part}")
        if not (folder / part).is_dir():
            raise InputError(f"the model {folder} is incomplete: it has no folder {part}")
    unknown = {key for key in index if not key.startswith("_")} - set(settings)
    for name, entry in index.items():
        path = folder / name / "config.json"
        if not isinstance(entry, list) or not path.exists():
            continue
        if not str(entry[0]).startswith("stemweave."):
            continue
        module = __import__(entry[0], fromlist=[entry[1]])
        accepted = set(signature(getattr(module, entry[1]).__init__).parameters)
        config = current_config(entry[1], _read_object(path))
        keys = {key for key in config if not key.startswith("_")}
        unknown |= {f"{name}.{key}" for key in keys - accepted}
    if unknown:
        raise InputError(f"unknown settings in the model {folder}: {', '.join(sorted(unknown))}")


def has_own_parts_only(folder: Path) -> bool:
    """Whether all parts in a model folder are ours, diffusers' schedulers apart, in one file each.

    False, too, for what is no model folder.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError):
        return False
    if not isinstance(index, dict):
        return False
    for name, entry in index.items():
        if not isinstance(entry, list) or entry[0] is None:
            continue
        library, kind = entry
        if library == "diffusers" and kind.endswith("Scheduler"):
            continue
        if not library.startswith("stemweave.") or not (folder / name / WEIGHTS).exists():
            return False
    return True


def loading_failed(source: str | Path, error: Exception) -> InputError:
    """The sentence for a model that passed the checks and yet cannot be loaded."""
    if not Path(source).is_dir():
        return InputError(f"there is no folder {source}, nor could such a model be had of the hub")
    reason = str(error).split(". ")[0].rstrip(". ")
    return InputError(f"cannot load the model {source}: {reason}")


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; ``InputError`` if there is none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not JSON that can be read: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold an object of JSON, not a {type(value).__name__}")
    return value
