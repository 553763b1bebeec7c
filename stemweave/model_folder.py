"""Model folders on disk: which one is meant, and whether it is one that we can load."""

from __future__ import annotations

import json
from collections.abc import Collection
from inspect import signature
from pathlib import Path

from stemweave.files import InputError

BUNDLED_MODEL = Path(__file__).parent / "bundled"
"""The model that ships with the package."""


def check_model(source: str | Path, settings: Collection[str]) -> None:
    """Raise ``InputError`` if ``source`` is neither a sound model folder nor like a hub id.

    ``settings`` are the keys that a ``model_index.json`` may have.
    """
    if Path(source).is_dir():
        check_model_folder(Path(source), settings)
        return
    name = str(source)
    is_hub_id = name.count("/") == 1 and all(name.split("/")) and not name.startswith(".")
    if not is_hub_id:
        raise InputError(f"no model at {source}: give a model folder or a hub id owner/name")


def check_model_folder(folder: Path, settings: Collection[str]) -> None:
    """Raise ``InputError`` for a folder that is no model or has unknown configuration keys.

    diffusers only warns of unknown keys, which lets a misspelt setting pass unnoticed.
    """
    index_path = folder / "model_index.json"
    if not index_path.exists():
        raise InputError(f"{folder} is not a model folder: it has no model_index.json")
    index = json.loads(index_path.read_text())
    unknown = {key for key in index if not key.startswith("_")} - set(settings)
    for name, entry in index.items():
        path = folder / name / "config.json"
        if not isinstance(entry, list) or not path.exists():
            continue
        if not str(entry[0]).startswith("stemweave."):
            continue
        module = __import__(entry[0], fromlist=[entry[1]])
        accepted = set(signature(getattr(module, entry[1]).__init__).parameters)
        keys = {key for key in json.loads(path.read_text()) if not key.startswith("_")}
        unknown |= {f"{name}.{key}" for key in keys - accepted}
    if unknown:
        raise InputError(f"unknown settings in the model {folder}: {', '.join(sorted(unknown))}")
