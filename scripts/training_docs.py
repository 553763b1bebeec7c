"""Writes the measured table of docs/training.md from docs/scores/paper_step.json.

    python -m scripts.training_docs

``paper_step.json`` is made by ``scripts/paper_step.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.documents import renew

ROOT = Path(__file__).parent.parent
SCORES = ROOT / "docs" / "scores"
BLOCKS = {"paper_step": "training.md"}


def paper_step_table(found: dict[str, Any]) -> str:
    seconds = ", ".join(f"{s:.0f}" for s in found["seconds_per_step"])
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| parameters | {found['parameters'] / 1e6:.2f} M |",
            f"| peak memory of the process | {found['peak_gib']:.1f} GiB |",
            f"| of which before training | {found['peak_gib_before_training']:.1f} GiB at most |",
            f"| seconds of each step ({found['threads']} of {found['cpus']} cores) | {seconds} |",
        ]
    )


TABLES = {"paper_step": paper_step_table}


def table(name: str) -> str:
    """The table of the committed figures."""
    return TABLES[name](json.loads((SCORES / f"{name}.json").read_text()))


def main() -> None:
    for name, document in BLOCKS.items():
        renew(ROOT / "docs" / document, name, table(name))


if __name__ == "__main__":
    main()
