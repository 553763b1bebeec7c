"""Systems that separate, models and functions of users, and their paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stemweave.errors import InputError
from stemweave.evaluation.table import Table
from stemweave.io.own_code import imported, is_own

Separator = Callable[[Tensor, int], Tensor]
"""A system to score: mixture (T,) at the model's rate and a seed → stems (S, T)."""


def pipeline_separator(
    pipe: Any,
    stems: Sequence[str],
    sample_rate: int | None = None,
    *,
    method: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
) -> Separator:
    """``pipe.separate`` of mixtures at ``sample_rate``; its own defaults where nothing is given.

    Raises ``InputError`` if it lacks one of ``stems``.
    """
    missing = [stem for stem in stems if stem not in pipe.separated_stems]
    if missing:
        raise InputError(f"models to be compared have the same stems: one lacks {missing[0]}")
    rate = sample_rate or pipe.log_mel.config.sample_rate
    if (method or pipe.methods[0]) == "mask":  # without diffusion
        steps = guidance = None

    def separate(mixture: Tensor, seed: int) -> Tensor:
        separated = pipe.separate(
            mixture[None],
            rate,
            method=method,
            guidance=guidance,
            steps=steps,
            generator=torch.Generator().manual_seed(seed),
        )
        return torch.stack([separated[stem][0] for stem in stems])

    return separate


def own_separator(name: str, stems: Sequence[str], sample_rate: int) -> Separator:
    """A user's function ``package.module:name`` of (mixture (T,), rate, stems) → (S, T).

    Raises ``InputError`` if there is none; when it is called, if it gives anything else.
    """
    system = imported(name)

    def separate(mixture: Tensor, seed: int) -> Tensor:
        separated = torch.as_tensor(system(mixture, sample_rate, list(stems)))
        if separated.shape != (len(stems), len(mixture)):
            raise InputError(
                f"{name} must give stems × samples, {len(stems)} × {len(mixture)}, not "
                f"{' × '.join(map(str, separated.shape))}"
            )
        return separated.float()

    return separate


def functions_and_models(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of users' functions, and of models, the bundled one if there is none."""
    models = [name for name in names if not is_own(name)]
    return [name for name in names if is_own(name)], models or ["bundled"]


def separators(
    own: Sequence[str],
    models: Mapping[str, Any],
    stems: Sequence[str],
    sample_rate: int,
    **how: Any,
) -> dict[str, Separator]:
    """Users' functions and ``models`` by their names, to be scored on the same ``stems``.

    ``how`` are steps and guidance of the models. Raises as ``own_separator`` and
    ``pipeline_separator``.
    """
    functions = {name: own_separator(name, stems, sample_rate) for name in own}
    return functions | {
        name: pipeline_separator(pipe, stems, sample_rate, **how) for name, pipe in models.items()
    }


def put_differences(table: Table, baseline: str | None) -> None:
    """Add to every measure of ``table`` the differences of its rows to a row ``baseline``, if any.

    They are taken segment by segment, so that what makes a segment hard does not count; intervals
    are of their mean, whole songs resampled.

    Raises ``InputError`` if there is no such row.
    """
    if baseline is None:
        return
    if not any(baseline in rows for rows in table.samples.values()):
        known = dict.fromkeys(row for rows in table.samples.values() for row in rows)
        raise InputError(f"--baseline must be one of the rows: {'; '.join(known)}; not {baseline}")
    for measure, rows in list(table.samples.items()):
        title = f"{measure}: difference to {baseline}, paired"
        for row, columns in rows.items():
            for column, values in columns.items():
                songs = table.clusters[measure, row, column]
                before = rows.get(baseline, {}).get(column)
                if row == baseline or before is None or len(before) != len(values):
                    continue
                differences = [b - a for a, b in zip(before, values, strict=True)]
                table.put_samples(title, row, column, differences, songs)
        table.put_mean_column(title)
