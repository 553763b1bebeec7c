"""Writes the measured table of docs/training.md from docs/scores/paper_step.json.

    python scripts/training_docs.py

``paper_step.json`` is made by ``scripts/paper_step.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SCORES = ROOT / "docs" / "scores"
BLOCKS = {"paper_step": "training.md"}
MARKED = r"(<!-- {0} -->\n)(.*?)(<!-- /{0} -->)"


def paper_step_table(found: dict[str, Any]) -> str:
    seconds = ", ".join(f"{s:.0f}" for s in found["seconds_per_step"])
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| parameters | {found['parameters'] / 1e6:.2f} M |",
            f"| peak memory of the process | {found['peak_gib']:.1f} GiB |",
            f"| of which before training | {found['peak_gib_before_training']:.1f} GiB at most |",
            f"| `describe`'s estimate, without Python and libraries | {found['estimated_gib']:.1f}"
            " GiB |",
            f"| seconds of each step ({found['threads']} of {found['cpus']} cores) | {seconds} |",
        ]
    )


TABLES = {"paper_step": paper_step_table}


def with_table(text: str, name: str) -> str:
    """``text`` with the table between its marks made anew."""
    table = TABLES[name](json.loads((SCORES / f"{name}.json").read_text()))
    return re.sub(MARKED.format(name), rf"\g<1>{table}\n\g<3>", text, flags=re.DOTALL)


def main() -> None:
    for name, document in BLOCKS.items():
        path = ROOT / "docs" / document
        path.write_text(with_table(path.read_text(), name))


if __name__ == "__main__":
    main()
