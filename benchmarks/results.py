"""``benchmarks/results``: what was measured, one JSON file per benchmark, and the page of all."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from benchmarks.documents import with_block
from benchmarks.machine import as_sentence

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PAGE = FOLDER / "results.md"
DOCUMENT = FOLDER.parent / "docs" / "speed.md"
NAMES = ("stages", "growth", "busy", "onnx_backend", "unet3d", "paper_memory", "peers")
"""The benchmarks in the order of the page; peers takes the paper's network from ``unet3d``."""
TITLES = {
    "stages": "The bundled model, stage by stage",
    "growth": "Growth",
    "busy": "Short pieces and busy machines",
    "onnx_backend": "ONNX Runtime",
    "unet3d": "The paper's network",
    "paper_memory": "Memory of the paper's model",
    "peers": "Peers",
}


def run_one(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """``run`` of one benchmark. Not in ``__main__``, which spawned processes cannot import."""
    result: dict[str, Any] = importlib.import_module(f"benchmarks.{name}").run(**options)
    return result


def load(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """What ``run()`` of benchmark ``name`` returned when it was last saved; None if never."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text())["result"] if path.exists() else None


def save(
    name: str, result: dict[str, Any], machine: dict[str, Any], folder: Path = RESULTS
) -> None:
    """Keep ``result`` with the machine's description; seconds and MB to four digits."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "result": rounded(result)}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def rounded(value: Any) -> Any:
    """``value`` with every float at four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry) for entry in value]
    return value


def update_document(folder: Path = RESULTS, document: Path = DOCUMENT) -> str:
    """Put each benchmark's ``summary`` between its marks in docs/speed.md; returns the text.

    Marks are ``<!-- NAME -->`` and ``<!-- /NAME -->``. Benchmarks without ``summary`` or without
    results are passed by; raises ``ValueError`` if one with both has no marks.
    """
    text = document.read_text()
    for name in NAMES:
        result = load(name, folder)
        summary = getattr(importlib.import_module(f"benchmarks.{name}"), "summary", None)
        if result is None or summary is None:
            continue
        text = with_block(text, name, summary(result))
    document.write_text(text)
    return text


def write_page(folder: Path = RESULTS, page: Path = PAGE) -> str:
    """``results.md`` from all JSON files that there are; returns its text."""
    sections = ["# What was measured", "Written by `make bench` from `benchmarks/results`."]
    for name in NAMES:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        content = json.loads(path.read_text())
        body = importlib.import_module(f"benchmarks.{name}").as_markdown(content["result"])
        sections += [f"## {TITLES[name]}", body, f"*{as_sentence(content['machine'])}*"]
    text = "\n\n".join(sections) + "\n"
    page.write_text(text)
    return text
