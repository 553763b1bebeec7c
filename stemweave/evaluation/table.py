"""Result tables: numbers with confidence intervals and counts → table.json and table.md."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MEANING = "What each number means and how noisy it is: docs/evaluation.md."
"""A note of every table."""


RESAMPLES = 1000
"""Of the bootstrap behind an interval of a mean."""
Samples = dict[tuple[str, str, str], list[float]]
"""Single values by measure, row and column."""


@dataclass(frozen=True)
class Cell:
    """One number; ``low`` and ``high`` bound its 95 % interval, ``count`` is its sample size."""

    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None

    def as_text(self, digits: int = 2) -> str:
        if not math.isfinite(self.value):
            return "–"
        text = f"{self.value:.{digits}f}"
        if self.low is None or self.high is None:
            return text
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return text
        return f"{text} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


@dataclass
class Table:
    """Measures (one printed block each) × rows (methods) × columns (stems, subsets, sets).

    ``metadata`` records what makes a run repeatable (commit, seed, data, settings); ``samples``
    keeps the single values behind a cell for the plots, ``clusters`` the song of each of them.
    """

    title: str
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    measures: dict[str, dict[str, dict[str, Cell]]] = field(default_factory=dict)
    samples: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    clusters: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    digits: int = 2

    def put(self, measure: str, row: str, column: str, cell: Cell) -> None:
        self.measures.setdefault(measure, {}).setdefault(row, {})[column] = cell

    def put_samples(
        self,
        measure: str,
        row: str,
        column: str,
        values: Sequence[float],
        clusters: Sequence[str] | None = None,
    ) -> None:
        """Mean of the finite ``values`` with its bootstrap interval; resamples ``clusters``."""
        kept = [i for i, value in enumerate(values) if math.isfinite(value)]
        finite = [values[i] for i in kept]
        names = [clusters[i] if clusters else str(i) for i in kept]
        self.samples.setdefault(measure, {}).setdefault(row, {})[column] = finite
        self.clusters[measure, row, column] = names
        low, high = mean_interval([(finite, names)])
        mean = statistics.fmean(finite) if finite else math.nan
        self.put(measure, row, column, Cell(mean, low, high, len(finite)))

    def put_all(self, values: Samples, songs: Sequence[str] | None = None) -> None:
        """``put_samples`` of every list."""
        for place, own in values.items():
            self.put_samples(*place, own, songs)

    def put_mean_column(self, measure: str, partial: bool = False) -> None:
        """Add the plain mean over each row's columns, where every column has a number.

        ``partial``: over those columns that have one. The interval comes from the samples, if there
        are any: songs are drawn for all columns together.
        """
        for row, cells in self.measures.get(measure, {}).items():
            others = {name: cell.value for name, cell in cells.items() if name != "mean"}
            defined = [name for name, value in others.items() if math.isfinite(value)]
            if not defined or (len(defined) < len(others) and not partial):
                continue
            samples = self.samples.get(measure, {}).get(row, {})
            low, high = mean_interval(
                [
                    (samples.get(name, []), self.clusters.get((measure, row, name), []))
                    for name in defined
                ]
            )
            mean = statistics.fmean(others[name] for name in defined)
            self.put(measure, row, "mean", Cell(mean, low, high))

    def value(self, measure: str, row: str, column: str) -> float:
        return self.measures[measure][row][column].value

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form; numbers that are not finite become null."""
        return {
            "title": self.title,
            "metadata": self.metadata,
            "notes": self.notes,
            "measures": {
                measure: {
                    row: {column: _cell_dict(cell) for column, cell in cells.items()}
                    for row, cells in rows.items()
                }
                for measure, rows in self.measures.items()
            },
        }

    def as_markdown(self, intervals: bool = True) -> str:
        """One markdown table per measure, then the notes and the run's metadata."""
        parts = [f"# {self.title}", ""]
        for measure, rows in self.measures.items():
            parts += [f"## {measure}", "", *self._markdown_rows(rows, intervals), ""]
        if self.notes:
            parts += ["## Notes", "", *(f"- {note}" for note in self.notes), ""]
        if self.metadata:
            parts += ["## Run", "", *(f"- {key}: {val}" for key, val in self.metadata.items()), ""]
        return "\n".join(parts)

    def _markdown_rows(self, rows: dict[str, dict[str, Cell]], intervals: bool) -> list[str]:
        columns = columns_of(rows)
        lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for row, cells in rows.items():
            texts = []
            for column in columns:
                cell = cells.get(column, Cell(math.nan))
                texts.append((cell if intervals else Cell(cell.value)).as_text(self.digits))
            lines.append(f"| {row} | " + " | ".join(texts) + " |")
        return lines

    def write(self, folder: Path) -> None:
        """Write ``table.json``, ``table.md`` and ``samples.json`` into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "table.json").write_text(text + "\n", encoding="utf-8")
        (folder / "table.md").write_text(self.as_markdown(), encoding="utf-8")
        samples = json.dumps(self.samples, ensure_ascii=False, allow_nan=False)
        (folder / "samples.json").write_text(samples + "\n", encoding="utf-8")


def columns_of(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All columns that any of ``rows`` has."""
    return list(dict.fromkeys(column for cells in rows.values() for column in cells))


def _cell_dict(cell: Cell) -> dict[str, float | int | None]:
    numbers = {"value": cell.value, "low": cell.low, "high": cell.high}
    finite = {k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()}
    return {**finite, "count": cell.count}


def mean_interval(
    columns: Sequence[tuple[Sequence[float], Sequence[str]]],
) -> tuple[float | None, float | None]:
    """95 % percentile-bootstrap interval of the mean over columns of each column's mean.

    A column is its values and the song of each value: whole songs are drawn, since segments of one
    song are not independent, and the same ones for all columns. (None, None) where a column has
    values of fewer than two songs.
    """
    if min(len(set(songs)) for _, songs in columns) < 2:
        return None, None
    units = sorted({song for _, songs in columns for song in songs})
    index = {song: i for i, song in enumerate(units)}
    drawn = np.random.default_rng(0).integers(0, len(units), (RESAMPLES, len(units)))
    total = np.zeros(RESAMPLES)
    for values, songs in columns:
        members = np.array([index[song] for song in songs])
        sums = np.bincount(members, np.asarray(values, dtype=np.float64), len(units))
        counts = np.bincount(members, minlength=len(units))
        with np.errstate(invalid="ignore"):  # a draw without any song of this column: no value
            total += sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.nanpercentile(total / len(columns), [2.5, 97.5])
    return float(low), float(high)
