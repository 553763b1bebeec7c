"""Tables I-III in the form of the MSG-LD paper (arXiv 2409.12346), printed for any data set.

Separation: log-mel MSE per stem; the paper's own row is that of the decoder's log-mels, before any
vocoder. Generation: one FAD. Arrangement: FAD of the 14 subsets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stemweave.data.songs import Song
from stemweave.evaluation import arrangement, generation, separation
from stemweave.evaluation.embeddings import Embedding
from stemweave.evaluation.report import write_report
from stemweave.evaluation.results import Evaluation, provenance
from stemweave.evaluation.table import Cell, Table, columns_of


class PaperSizes(NamedTuple):
    """How many windows each table is measured on."""

    separated: int
    generated: int
    arranged: int


def evaluate_paper(
    pipe: Any,
    songs: Sequence[Song],
    sizes: PaperSizes,
    embedding: Embedding,
    *,
    steps: int | None,
    guidance: float | None,
    seed: int,
) -> tuple[dict[str, Evaluation], str]:
    """All three evaluations by their names, and the tables as text."""
    drawn: dict[str, Any] = {"steps": steps, "seed": seed, "progress": True}
    separated = separation.evaluate_separation(
        pipe, songs, sizes.separated, guidance=guidance, stems=pipe.stems, **drawn
    )
    generated = generation.evaluate_generation(
        pipe, songs, sizes.generated, embeddings=[embedding], **drawn
    )
    arranged = arrangement.evaluate_arrangement(
        pipe, songs, sizes.arranged, embedding=embedding, **drawn
    )
    results = {"separation": separated, "generation": generated, "arrangement": arranged}
    tables = separated.table, generated.table, arranged.table
    return results, paper_tables(*tables, embedding=embedding.name)


def write_reports(
    results: Mapping[str, Evaluation], model: str, data: Path, split: str, out: Path
) -> None:
    """Write each evaluation's report into a folder of its name in ``out``."""
    for name, evaluation in results.items():
        evaluation.table.metadata |= provenance(model, data, split)
        write_report(evaluation, out / name)


def initials(names: Mapping[str, Cell]) -> dict[str, str]:
    """Column heads as the paper prints them: B, D, G, P; other columns keep their names."""
    stems = [name for name in names if name != "mean"]
    return {name: arrangement.subset_code([name], stems) for name in stems} | {"mean": "mean"}


def paper_table(title: str, rows: Mapping[str, Mapping[str, Cell]]) -> str:
    """Plain-text table: methods down, columns across, means only."""
    columns = columns_of(rows)
    width = max(len(row) for row in rows)
    lines = [title, " " * width + "".join(f"{column:>8}" for column in columns)]
    for row, cells in rows.items():
        texts = [Cell(cells[c].value).as_text() if c in cells else "–" for c in columns]
        lines.append(f"{row:<{width}}" + "".join(f"{text:>8}" for text in texts))
    return "\n".join(lines)


def paper_tables(separated: Table, generated: Table, arranged: Table, embedding: str) -> str:
    """The three tables from finished evaluations; ``embedding`` names the FAD's network.

    Errors are in the paper's front end, or in the model's own if its rate is not the paper's. The
    decoder's log-mels can only be scored in the model's own: if that is not the paper's, they have
    a table of their own.
    """
    paper_rate = separation.PAPER_MSE in separated.measures
    measure = separation.PAPER_MSE if paper_rate else separation.MSE
    errors = _errors(separated, measure)
    separations = [paper_table(f"Table I. Source separation: {measure}", errors)]
    decoded = _errors(separated, separation.MSE)
    if separation.SPECTRA_ROW in decoded and separation.SPECTRA_ROW not in errors:
        title = f"Table I, decoder's log-mels. Source separation: {separation.MSE}, own front end"
        separations.append(paper_table(title, decoded))
    distances = {
        row: {"FAD": cells["FAD"]}
        for row, cells in generated.measures[generation.distance_measure(embedding)].items()
        if row in (generation.FLOOR_ROW, generation.GENERATED_ROW)
    }
    subsets = {
        row: cells
        for row, cells in arranged.measures[f"sub-FAD, {embedding}"].items()
        if row != arrangement.OTHER_ROW
    }
    return "\n\n".join(
        [
            *separations,
            paper_table(f"Table II. Total generation: FAD ({embedding})", distances),
            paper_table(f"Table III. Arrangement generation: FAD ({embedding})", subsets),
        ]
    )


def _errors(separated: Table, measure: str) -> dict[str, dict[str, Cell]]:
    """Rows that the paper's table has, and what they are to be compared with."""
    shown = (
        separation.MIXTURE_ROW,
        separation.ORACLE_ROW,
        separation.SPECTRA_ROW,
        separation.MASK_ROW,
        separation.DIFFUSION_ROW,
        separation.VOCODED_ROW,
    )
    return {
        row: {initials(cells)[column]: cell for column, cell in cells.items()}
        for row, cells in separated.measures.get(measure, {}).items()
        if row in shown
    }
