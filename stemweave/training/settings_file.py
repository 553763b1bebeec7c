"""YAML files of settings, which may say only how they differ from another file."""

from __future__ import annotations

from collections.abc import Sequence
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
    """``base`` with ``changes``, section by section; of another ``kind`` without its ``model``."""
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        base = {key: value for key, value in base.items() if key != "model"}  # another network's
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged


def with_changes(settings: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """``settings`` with values of dotted keys, each KEY=VALUE with a value as in YAML.

    Raises ``InputError`` if one is not of this form.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"--set {change}: the value is not valid YAML") from error
        if not equals or not all(key.split(".")):
            raise InputError(f"--set takes KEY=VALUE, e.g. denoiser.steps=500, not {change!r}")
        for name in reversed(key.split(".")):
            value = {name: value}
        settings = _over(settings, value)
    return settings
