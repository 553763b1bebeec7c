"""A pickle reader for ``torch.load`` that makes tensors and executes nothing else.

Objects of the kinds in ``IGNORED``, which Lightning's files hold beside weights, are read as empty
stand-ins. Anything else that a file names is refused before it is looked up.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

IGNORED = tuple(
    re.compile(pattern)
    for pattern in (
        r"builtins\.(bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set"
        r"|slice|str|tuple)",
        r"__builtin__\.(bytearray|complex|dict|frozenset|list|long|object|set|unicode|xrange)",
        r"collections\.(ChainMap|Counter|defaultdict|deque)",
        r"(copyreg|copy_reg)\._reconstructor",
        r"_codecs\.encode",
        r"argparse\.Namespace",
        r"(pathlib|datetime|decimal|fractions|uuid|typing)(\.\w+)*\.[A-Z]\w*",
        r"datetime\.(date|datetime|time|timedelta|timezone)",
        r"numpy\.(dtype|ndarray|bool_?|(u?int|float|complex)\d+)",
        r"numpy\.dtypes\.\w+",
        r"numpy\._?core\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer)",
        r"(pytorch_lightning|lightning|lightning_fabric|omegaconf)(\.\w+)*\.[A-Z]\w*",
        r"torch\.(device|dtype|bool|bfloat16|u?int\d+|float\d*|half|double|complex\d+|long)",
    )
)
"""Names that a file may say, of what is then not made."""


class Refused(pickle.UnpicklingError):
    """A file wants something made that is neither a tensor nor known to be harmless."""


class Ignored:
    """Stands for an object that is not made: takes whatever is done to it, and keeps nothing."""

    def __new__(cls, *arguments: Any, **options: Any) -> Ignored:
        return super().__new__(cls)

    def _ignore(self, *arguments: Any, **options: Any) -> None:
        """Whatever it is."""

    __init__ = __setstate__ = __setitem__ = append = extend = add = _ignore


def _tensor_maker(module: str, name: str) -> Callable[..., Any] | None:
    """A new function, which a file cannot change for others, or one of PyTorch's own types."""
    if (module, name) == ("collections", "OrderedDict"):
        return OrderedDict
    if (module, name) == ("torch", "Size"):
        return torch.Size
    if module != "torch._utils":
        return None
    if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        rebuild: Callable[..., Tensor] = getattr(torch._utils, name)
        return lambda *arguments: rebuild(*arguments)
    if name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        return lambda data, *_: data
    return None


class Unpickler(pickle.Unpickler):
    """``pickle.Unpickler`` for which there is nothing to call but what makes tensors."""

    def find_class(self, module: str, name: str) -> Any:
        """What ``module.name`` stands for; raises ``Refused``.

        Kinds of storage are PyTorch's own business: they do not come here.
        """
        maker = _tensor_maker(module, name)
        if maker is not None:
            return maker
        if any(pattern.fullmatch(f"{module}.{name}") for pattern in IGNORED):
            return type("Ignored", (Ignored,), {})
        raise Refused(f"{module}.{name}")


def load(file: Any, **options: Any) -> Any:
    """``pickle.load``, with this module's ``Unpickler``."""
    return Unpickler(file, **options).load()
