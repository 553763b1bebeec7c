"""YAML files of settings, which may say only how they differ from another file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stemweave.errors import InputError


def read_settings_file(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a file holds, over what the file holds that it ``extends``, named from its own folder.

    Raises:
        InputError: if a file cannot be read, is no YAML of keys and values, or extends itself.
    """
    if path in extending:
        raise InputError(f"{path} extends itself")
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise InputError(f"cannot read settings {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no settings: it must be keys and values")
    base = found.pop("extends", None)
    if base is None:
        return found
    return _over(read_settings_file(path.parent / str(base), (*extending, path)), found)


def _over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged
