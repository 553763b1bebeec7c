"""Code of users in modules of their own, which settings and options name by
``package.module:name``.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

from stemweave.errors import InputError

TRUSTED = "STEMWEAVE_IMPORT"
"""Environment variable with the modules, by commas, that the files of a model may name."""
NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_own(name: str) -> bool:
    """Whether ``name`` has the form ``package.module:name``."""
    return NAME.fullmatch(name) is not None


def imported(name: str) -> Any:
    """What ``package.module:name`` names; modules of the working folder are found, too.

    Raises:
        InputError: if it has another form, or there is no such module or name.
    """
    if not is_own(name):
        raise InputError(f"code of your own is named package.module:name, not {name!r}")
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise InputError(f"{name} cannot be imported: {error}") from error
    except AttributeError as error:
        raise InputError(f"the module {module} has no {attribute}") from error


def imported_of_a_file(name: str, file: object) -> Any:
    """``imported``, if its user has imported the module or named it: files may be of others.

    Raises:
        InputError: if it is neither, and as ``imported``.
    """
    module = name.partition(":")[0]
    if module not in sys.modules and module not in os.environ.get(TRUSTED, "").split(","):
        raise InputError(
            f"{file} holds a {name}, which is code of its author: import {module} before it is "
            f"loaded, or set {TRUSTED}={module}, if you trust it"
        )
    return imported(name)
