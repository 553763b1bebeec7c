"""Pictures of an evaluation: box plots per stem, bars with intervals, spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch

from stemweave.evaluation.results import Example
from stemweave.evaluation.table import Cell, Table, columns_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPECTROGRAM_N_FFT = 1024
SPECTROGRAM_RANGE_DB = 80.0


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def box_plot(table: Table, measure: str, path: Path) -> bool:
    """Single values of ``measure``, one panel per column, one box per row; False if there are none.

    Boxes are quartiles, whiskers the 5th and 95th percentile, the triangle the mean.
    """
    rows = {row: cells for row, cells in table.samples.get(measure, {}).items() if cells}
    columns = [c for c in columns_of(rows) if any(cells.get(c) for cells in rows.values())]
    if not columns:
        return False
    figure, panels = row_panels(measure, columns, list(rows))
    for axis, column in zip(panels, columns, strict=True):
        axis.boxplot(
            [rows[row].get(column, []) for row in rows],
            positions=range(len(rows)),
            manage_ticks=False,
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            showmeans=True,
        )
    note = "box: quartiles and median; whiskers: 5th and 95th percentile; triangle: mean"
    figure.supxlabel(note, fontsize=8)
    save(figure, path)
    return True


def row_panels(
    measure: str, columns: Sequence[str], rows: Sequence[str], same_scale: bool = False
) -> tuple[Figure, Any]:
    """A figure and its axes: a panel for each column, with a line for each row at 0, 1, …"""
    figure, axes = plt.subplots(
        1,
        len(columns),
        figsize=(3 * len(columns), 1 + 0.35 * len(rows)),
        sharex=same_scale,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(column)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.grid(axis="x", alpha=0.3)
    figure.suptitle(measure)
    return figure, axes[0]


def bar_panels(table: Table, measure: str, path: Path, *, wide: bool = False) -> bool:
    """``measure`` with a panel per column, a bar and its interval per row; False if empty.

    A ``wide`` table has a panel per row instead, all of one scale.
    """
    rows = table.measures.get(measure, {})
    if wide:
        turned: dict[str, dict[str, Cell]] = {}
        for row, cells in rows.items():
            for column, cell in cells.items():
                turned.setdefault(column, {})[row] = cell
        rows = turned
    columns = columns_of(rows)
    if not columns:
        return False
    figure, panels = row_panels(measure, columns, list(rows), same_scale=wide)
    for axis, column in zip(panels, columns, strict=True):
        found = [(i, cells[column]) for i, cells in enumerate(rows.values()) if column in cells]
        axis.barh(
            [i for i, _ in found],
            [cell.value for _, cell in found],
            xerr=np.array([interval_lengths(cell) for _, cell in found]).T,
            error_kw={"elinewidth": 0.7},
            color="tab:blue",
        )
    save(figure, path)
    return True


def interval_lengths(cell: Cell) -> tuple[float, float]:
    """How far the interval of ``cell`` reaches below and above its value; 0 without one."""
    if cell.low is None or cell.high is None:
        return 0.0, 0.0
    return max(0.0, cell.value - cell.low), max(0.0, cell.high - cell.value)


def spectrogram_db(waveform: torch.Tensor) -> np.ndarray:
    """Magnitudes (bins, frames) in dB of ``waveform`` (T,), floor 80 dB below full scale."""
    spectrum = torch.stft(
        waveform,
        SPECTROGRAM_N_FFT,
        SPECTROGRAM_N_FFT // 4,
        window=torch.hann_window(SPECTROGRAM_N_FFT),
        return_complex=True,
    )
    level = 20 * torch.log10(spectrum.abs() / (SPECTROGRAM_N_FFT / 4) + 1e-12)
    return level.clamp(min=-SPECTROGRAM_RANGE_DB, max=0).numpy()


def spectrogram_grid(example: Example, rows: Sequence[str], sample_rate: int, path: Path) -> bool:
    """Spectrograms of ``example``: one line per row, one column per track, for comparison."""
    shown = [row for row in rows if row in example.tracks]
    tracks = columns_of({row: example.tracks[row] for row in shown})
    if not tracks:
        return False
    figure, axes = plt.subplots(
        len(shown),
        len(tracks),
        figsize=(3.2 * len(tracks), 2 * len(shown)),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for line, row in zip(axes, shown, strict=True):
        line[0].set_ylabel(f"{row}\nkHz")
        for axis, track in zip(line, tracks, strict=True):
            if track not in example.tracks[row]:
                axis.set_axis_off()
                continue
            waveform = example.tracks[row][track]
            image = axis.imshow(
                spectrogram_db(waveform),
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=-SPECTROGRAM_RANGE_DB,
                vmax=0,
                extent=(0, waveform.shape[-1] / sample_rate, 0, sample_rate / 2000),
            )
            axis.set_title(track, fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("s")
    figure.colorbar(image, ax=axes, label="dBFS", pad=0.01)
    save(figure, path)
    return True
