"""A finished evaluation as a folder: table.json, table.md, plots, audio and index.html."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from stemweave.errors import ExistsError, InputError
from stemweave.evaluation import plots
from stemweave.evaluation.results import Evaluation, Example, provenance
from stemweave.evaluation.table import Cell, Table, columns_of
from stemweave.io.encode import write_audio

STYLE = """
body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: right }
th:first-child { text-align: left } small { color: #666; display: block }
img { max-width: 100% } audio { width: 13rem; height: 2rem } .scroll { overflow-x: auto }
"""


def require_new_folder(out: Path, overwrite: bool) -> None:
    """Raise ``ExistsError`` if ``out`` already holds a report and ``overwrite`` is off."""
    if out.is_file():
        raise InputError(f"{out} is a file; give a folder for the report")
    if (out / "table.json").exists() and not overwrite:
        raise ExistsError(f"{out} already holds a report")


def publish(
    evaluation: Evaluation,
    model: str,
    data: Path,
    split: str,
    out: Path | None,
    compared: Sequence[str] = (),
) -> None:
    """Note where the run came from, print its table and, with ``out``, write the report."""
    evaluation.table.metadata |= provenance(model, data, split)
    print(evaluation.table.as_markdown(intervals=False))
    if out is not None:
        write_report(evaluation, out, compared)
        print(f"Report: {out / 'index.html'}")


def write_report(evaluation: Evaluation, out: Path, compared: Sequence[str] = ()) -> None:
    """Write everything about ``evaluation`` into ``out``.

    ``compared`` names the rows whose spectrograms are drawn under each other for every example
    (all rows if empty).
    """
    table = evaluation.table
    table.write(out)
    pictures = _write_plots(table, out / "plots")
    blocks = []
    for number, example in enumerate(evaluation.examples):
        picture = out / "plots" / f"example{number}.png"
        rows = compared or list(example.tracks)
        drawn = plots.spectrogram_grid(example, rows, evaluation.sample_rate, picture)
        players = _write_audio(example, out / "audio" / f"example{number}", evaluation.sample_rate)
        image = f'<img src="plots/{picture.name}" alt="spectrograms" loading="lazy">'
        blocks.append(f"<h3>{escape(example.title)}</h3>{players}{image if drawn else ''}")
    page = _page(table, pictures, blocks)
    (out / "index.html").write_text(page, encoding="utf-8")


def file_name(text: str) -> str:
    """``text`` with everything but letters and digits turned into single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _write_plots(table: Table, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for measure, rows in table.measures.items():
        wide = max((len(cells) for cells in rows.values()), default=0) > 6
        path = folder / f"{file_name(measure)}.png"
        boxes = not wide and plots.box_plot(table, measure, path)
        if boxes or plots.bar_panels(table, measure, path, wide=wide):
            written.append(path)
    return written


def _write_audio(example: Example, folder: Path, sample_rate: int) -> str:
    """FLAC files of all tracks and the HTML table that plays them, a row each."""
    rows = []
    for row, tracks in example.tracks.items():
        cells = []
        for name, waveform in tracks.items():
            path = folder / f"{file_name(row)}_{file_name(name)}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, waveform.clamp(-1, 1)[None], sample_rate, encoding="flac")
            source = f"audio/{folder.name}/{path.name}"
            player = f'<audio controls preload="none" src="{source}"></audio>'
            cells.append(f"<small>{escape(name)}</small>{player}")
        rows.append((row, cells))
    return _html_table(rows)


def _html_table(rows: Iterable[tuple[str, Iterable[str]]], columns: Sequence[str] = ()) -> str:
    """Names of rows and columns are text, cells are HTML."""
    head = "".join(f"<th>{escape(one)}</th>" for one in ("", *columns))
    lines = [f"<tr>{head}</tr>"] if columns else []
    for row, cells in rows:
        own = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f"<tr><th>{escape(row)}</th>{own}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _cell_html(cell: Cell | None, digits: int) -> str:
    if cell is None:
        return "–"
    value = Cell(cell.value).as_text(digits)
    interval = cell.as_text(digits).removeprefix(value).strip()
    count = f"n = {cell.count}" if cell.count is not None else ""
    small = " ".join(part for part in (interval, count) if part)
    return f"{value}<small>{small}</small>" if small else value


def _measure_html(table: Table, measure: str) -> str:
    rows = table.measures[measure]
    columns = columns_of(rows)
    cells = {
        row: [_cell_html(own.get(column), table.digits) for column in columns]
        for row, own in rows.items()
    }
    return _html_table(cells.items(), columns)


def _page(table: Table, pictures: list[Path], examples: list[str]) -> str:
    drawn = {path.stem: path for path in pictures}
    parts = [f"<h1>{escape(table.title)}</h1>"]
    for measure in table.measures:
        parts += [f"<h2>{escape(measure)}</h2>", _measure_html(table, measure)]
        if picture := drawn.get(file_name(measure)):
            parts.append(f'<img src="plots/{picture.name}" alt="{escape(measure)}" loading="lazy">')
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    run = _html_table((str(key), [escape(str(one))]) for key, one in table.metadata.items())
    parts += ["<h2>Examples</h2>", *examples] if examples else []
    parts += [f"<h2>Notes</h2><ul>{notes}</ul>", f"<h2>Run</h2>{run}"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(table.title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )
