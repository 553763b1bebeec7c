"""Weighted means of trained parts' weights (arXiv 2203.05482): often better than any of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from stemweave.checkpoints.part import part_record, part_weights, require_replaceable, write_part
from stemweave.errors import InputError
from stemweave.models.provenance import misfits


def average_parts(shares: Mapping[Path, float], out: Path) -> None:
    """Write the ``mean_state`` of parts (folders of one network's weights), in float16, to ``out``.

    The first part's configuration is taken. Raises ``InputError`` if a folder is no part, parts are
    of different shapes or trainings, or ``out`` is something else than a part to replace.
    """
    require_replaceable(out)
    states = {str(folder): part_weights(folder) for folder in shares}
    first, *others = (part_record(folder) for folder in shares)
    for folder, said in zip(list(shares)[1:], others, strict=True):
        front_end = first.get("log_mel") if said.get("log_mel") else None
        problems = misfits(
            said.get("part", "part"), said,
            stems=first.get("stems"), log_mel=front_end, autoencoder=first.get("autoencoder"),
        )  # fmt: skip
        if problems:
            raise InputError(f"{folder} cannot be averaged with the others: {'; '.join(problems)}")
    mean = mean_state(states, shares.values())
    write_part(out, {name: tensor.half() for name, tensor in mean.items()}, like=next(iter(shares)))


def mean_state(
    states: Mapping[str, Mapping[str, Tensor]], shares: Iterable[float]
) -> dict[str, Tensor]:
    """The mean, in float32, of some networks' weights, which are given by the networks' names.

    A weight that not all networks have is the mean of those that do; ``InputError`` if it is of
    different shapes.
    """
    weight_of = dict(zip(states, shares, strict=True))
    mean = {}
    for name in dict.fromkeys(name for state in states.values() for name in state):
        having = {key: state[name] for key, state in states.items() if name in state}
        first = next(iter(having.values()))
        for key, tensor in having.items():
            if tensor.shape != first.shape:
                raise InputError(
                    f"{key} cannot be averaged with the others: its {name} is "
                    f"{tuple(tensor.shape)}, not {tuple(first.shape)}"
                )
        whole = sum(weight_of[key] for key in having)
        parts = [tensor.float() * (weight_of[key] / whole) for key, tensor in having.items()]
        mean[name] = torch.stack(parts).sum(dim=0)
    return mean
