"""Weights in files that PyTorch wrote: by name, in float32, without executing what is in there."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stemweave.checkpoints import tensor_pickle
from stemweave.errors import InputError

StateDict = dict[str, Tensor]

WRAPPERS = ("module.", "_orig_mod.")
"""What names of weights begin with where several GPUs or a compiler held the network."""
LONGEST_NAME = 120
ZIP = b"PK\x03\x04"


def read_weights(path: Path) -> StateDict:
    """The weights of a checkpoint, by their names without ``WRAPPERS``, in float32.

    Raises ``InputError`` if the file is damaged, names anything but plain data, or holds no
    weights.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist or is a folder: give the .ckpt file")
    content = _unpickled(path)
    if isinstance(content, Mapping):
        for key in ("state_dict", "generator"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds no state_dict")
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    nameless = next((name for name in found if not isinstance(name, str)), None)
    if nameless is not None:
        raise InputError(f"{path} holds a weight that is named {nameless!r}, not by a text")
    weights = {}
    for name, tensor in found.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{path} is damaged: a weight is larger than what the file holds")
        while name.startswith(WRAPPERS):
            name = name.partition(".")[2]
        if not tensor.is_complex():
            weights[name] = tensor.float()
    return weights


def _unpickled(path: Path) -> Any:
    """Whatever the file holds, tensors and plain data of it; ``InputError`` if there is more."""
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP)) == ZIP
        if is_zip and "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
            raise tensor_pickle.Refused("a TorchScript program")
        if not is_zip and tarfile.is_tarfile(path):
            raise tensor_pickle.Refused("an archive of files")
        # pages of the file instead of memory, as far as they are read
        return torch.load(
            str(path), map_location="cpu", pickle_module=tensor_pickle, weights_only=False,
            mmap=is_zip,
        )  # fmt: skip
    except tensor_pickle.Refused as error:
        raise InputError(
            f"{path} is not a checkpoint of plain weights: it holds {printable(str(error))}, of "
            "which nothing is made; give a file of its state_dict alone"
        ) from error
    except Exception as error:  # what a file that is no pickle raises depends on its bytes
        raise InputError(
            f"{path} is not a checkpoint of plain weights, or it is damaged: fetch it again"
        ) from error


def printable(name: str) -> str:
    """A name from a file, for a message: no control characters, not too long."""
    text = name.encode("ascii", "backslashreplace").decode()
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "..."


def finite_number(tensor: Tensor, name: str) -> float:
    """A scalar above 0; raises ``InputError`` for anything else."""
    value = tensor.item() if tensor.numel() == 1 else float("nan")
    if not 0 < value < float("inf"):
        raise InputError(f"the checkpoint's {name} must be one number above 0, not {value:g}")
    return float(value)
