"""SI-SDR improvements before and after fine-tuning, from two reports of ``evaluate separation``.

    python scripts/finetuning_scores.py BEFORE AFTER [-o docs/scores/finetuning.json]

``scripts/training_docs.py`` makes a table of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from stemweave.evaluation.separation import MASK_ROW, ORACLE_ROW, SI_SDRI


def improvements(report: Path, row: str) -> dict[str, float]:
    """Stem → dB, with their mean."""
    cells = json.loads((report / "table.json").read_text())["measures"][SI_SDRI][row]
    return {stem: round(cell["value"], 2) for stem, cell in cells.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    rows = {
        "before": improvements(arguments.before, MASK_ROW),
        "after": improvements(arguments.after, MASK_ROW),
        "masks from the true stems": improvements(arguments.after, ORACLE_ROW),
    }
    print(json.dumps(rows, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
