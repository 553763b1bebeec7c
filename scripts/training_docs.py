"""Writes the measured tables of docs/training.md and docs/finetuning.md from docs/scores/*.json.

    python scripts/training_docs.py            # --measure first: describe both presets (a minute)

``paper_step.json`` is made by ``scripts/paper_step.py``, ``finetuning.json`` by
``examples/finetune.sh``, ``memory.json`` here.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from stemweave.training.describe import as_json, describe
from stemweave.training.settings import load_settings

ROOT = Path(__file__).parent.parent
SCORES = ROOT / "docs" / "scores"
NUM_GPUS = 8
BLOCKS = {"memory": "training.md", "paper_step": "training.md", "finetuning": "finetuning.md"}
MARKED = r"(<!-- {0} -->\n)(.*?)(<!-- /{0} -->)"


def measure() -> None:
    """Describe both presets on 8 GPUs."""
    found = {
        name: as_json(describe(load_settings(ROOT / "configs" / f"{name}.yaml"), NUM_GPUS))
        for name in ("paper", "large")
    }
    (SCORES / "memory.json").write_text(json.dumps(found, indent=1) + "\n")


def memory_table(found: dict[str, Any]) -> str:
    lines = [
        "| GiB a GPU, 8 GPUs | parameters | batch a GPU | gradient checkpointing | state, whole | "
        "state, shards | activations | total, whole | total, shards |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, preset in found.items():
        rows = {(r["gradient_checkpointing"], r["sharded"]): r for r in preset["memory"]}
        for checkpointing in (False, True):
            whole, shards = (rows[checkpointing, sharded] for sharded in (False, True))
            cells = [
                f"`configs/{name}.yaml`",
                f"{preset['parameters']['denoiser'] / 1e6:.0f} M",
                str(preset["batch_size"]),
                "yes" if checkpointing else "no",
                f"{whole['state']:.1f}",
                f"{shards['state'] + shards['gathered']:.1f}",
                f"{whole['activations']:.1f}",
                f"{whole['total']:.1f}",
                f"{shards['total']:.1f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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


def finetuning_table(found: dict[str, Any]) -> str:
    columns = list(found["before"])
    lines = [
        "| SI-SDR improvement (dB) | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name, row in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[column]:.1f}" for column in columns) + " |")
    return "\n".join(lines)


TABLES = {"memory": memory_table, "paper_step": paper_step_table, "finetuning": finetuning_table}


def with_table(text: str, name: str) -> str:
    """``text`` with the table between its marks made anew."""
    table = TABLES[name](json.loads((SCORES / f"{name}.json").read_text()))
    return re.sub(MARKED.format(name), rf"\g<1>{table}\n\g<3>", text, flags=re.DOTALL)


def main() -> None:
    if "--measure" in sys.argv:
        measure()
    for name, document in BLOCKS.items():
        path = ROOT / "docs" / document
        path.write_text(with_table(path.read_text(), name))


if __name__ == "__main__":
    main()
