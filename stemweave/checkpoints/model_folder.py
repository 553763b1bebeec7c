"""Model folders and hub ids: which one is meant, what is in it, and how one is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from stemweave.errors import InputError
from stemweave.io.files import as_umask_says
from stemweave.models.earlier_versions import RETIRED_SETTINGS
from stemweave.models.part import SavedPart, forget_origin, name_of, read_object
from stemweave.models.parts import NEEDED, PARTS, TaskSettings

BUNDLED_MODEL = Path(__file__).parent.parent / "bundled"
"""The model that ships with the package."""
INDEX = "model_index.json"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
HUB_TIMEOUT_S = 10.0


def folder_of(source: str | Path, **of_hub: Any) -> Path:
    """The folder of a model: ``source`` itself, or where the hub's is kept here.

    ``of_hub`` are ``token``, ``cache_dir``, ``revision``, ... of huggingface_hub. Raises
    ``InputError`` if ``source`` is neither a folder nor of the hub.
    """
    hub = {name: of_hub[name] for name in ("token", "cache_dir") if name in of_hub}
    check_source(source, INDEX, **hub)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), **of_hub))
    except Exception as error:  # whatever a network, the hub or its library raise
        raise _absent(source) from error


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
        raise _absent(source) from error


def _absent(source: str | Path) -> InputError:
    return InputError(f"there is no folder {source}, nor could such a model be had of the hub")


def saved_model(folder: Path) -> tuple[dict[str, SavedPart], TaskSettings]:
    """The parts of a model by name, and its settings; no weights are read.

    Raises ``InputError`` for a folder that is no model, is incomplete, or has unknown settings.
    """
    index_path = folder / INDEX
    if not index_path.exists():
        raise InputError(f"{folder} is not a model folder: it has no {INDEX}")
    index = read_object(index_path)
    for part in NEEDED:
        if not isinstance(index.get(part), list):
            raise InputError(f"{folder} is no Stemweave model: its {INDEX} names no {part}")
        if not (folder / part).is_dir():
            raise InputError(f"the model {folder} is incomplete: it has no folder {part}")
    names = {field.name for field in fields(TaskSettings)}
    unknown = {key for key in index if not key.startswith("_")} - names - {*PARTS}
    unknown -= RETIRED_SETTINGS
    if unknown:
        raise InputError(f"unknown settings in the model {folder}: {', '.join(sorted(unknown))}")
    kinds = {name: index[name][1] for name in PARTS if isinstance(index.get(name), list)}
    parts = {name: SavedPart(folder / name, str(kind)) for name, kind in kinds.items() if kind}
    return parts, TaskSettings(**{name: index[name] for name in names & index.keys()})


def write_model(folder: Path, parts: Mapping[str, Any], settings: TaskSettings) -> None:
    """Write a model's parts (None: it has none of the name) and settings into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"_class_name": "StemweavePipeline", **asdict(settings)}
    for name, part in parts.items():
        if part is None:
            index[name] = [None, None]
            continue
        library = type(part).__module__
        if not library.startswith("stemweave."):
            library = library.partition(".")[0]
        index[name] = [library, name_of(type(part))]
        part.save_pretrained(folder / name)
        forget_origin(folder / name)
    as_umask_says(folder)
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
