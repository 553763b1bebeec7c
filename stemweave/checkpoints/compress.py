"""A trained part in half of the size: large layers in eight bits."""

from __future__ import annotations

import json
from pathlib import Path

from stemweave.checkpoints.part import CONFIG, part_weights, require_replaceable, write_part
from stemweave.errors import InputError
from stemweave.models.int8_weights import Int8Weights, quantised
from stemweave.training.networks import COMPONENTS

READ_INT8 = [
    network.__name__
    for networks in COMPONENTS.values()
    for network in networks
    if issubclass(network, Int8Weights)
]


def compress_part(folder: Path, out: Path) -> None:
    """Write the part in ``folder`` to ``out`` with large layers in int8 (``quantised``).

    Raises:
        InputError: if ``folder`` is no part whose network can read that; if ``out`` is something
            else than a part to replace.
    """
    require_replaceable(out)
    state = part_weights(folder)
    name = json.loads((folder / CONFIG).read_text()).get("_class_name")
    if name not in READ_INT8:
        raise InputError(f"{folder} holds a {name}: only {' and '.join(READ_INT8)} can be int8")
    write_part(out, quantised(state), like=folder)
