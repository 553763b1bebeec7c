"""``docs/python.md``: the public names, made of their signatures and docstrings.

python scripts/python_reference.py writes it; a test holds it against the code.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import stemweave
from stemweave.checkpoints.saved_model import SavedModel
from stemweave.models.parts import TaskSettings
from stemweave.music import lead_sheet, midi, score
from stemweave.tasks.sampling import Sampling

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
INTRODUCTION = """# Python

Made of the docstrings by `python scripts/python_reference.py`. `import stemweave` has `StemModel`
(`StemweavePipeline` is another name of it), `load_model`, `Piece`, `InputError` and `__version__`;
all else is named with its module. Waveforms are float tensors on the CPU, (channels, samples).
"""
PUBLIC: dict[str, list[Any]] = {
    "stemweave": [stemweave.StemModel, stemweave.load_model, stemweave.Piece, stemweave.InputError],
    "stemweave.tasks.sampling": [Sampling],
    "stemweave.models.parts": [TaskSettings],
    "stemweave.music.lead_sheet": [lead_sheet.LeadSheet, lead_sheet.read_sheet],
    "stemweave.music.score": [score.Score, score.ScoreNote],
    "stemweave.music.midi": [midi.read_midi, midi.write_midi],
}


def as_markdown() -> str:
    """The page."""
    sections = [INTRODUCTION]
    for module, members in PUBLIC.items():
        sections.append(f"## {module}\n")
        for member in members:
            sections.append(entry(member.__name__, member, "###"))
            if inspect.isclass(member):
                sections += [
                    entry(f"{member.__name__}.{name}", inspect.unwrap(method), "####")
                    for name, method in own_methods(member)
                ]
    return "\n".join(sections)


def own_methods(member: type) -> list[tuple[str, Any]]:
    """Public methods and properties that the class documents, in order; those of ``SavedModel``
    stand before a model's own.
    """
    found = []
    inherited = vars(SavedModel) if issubclass(member, SavedModel) else {}
    for name, value in {**inherited, **vars(member)}.items():
        method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(method) and method.__doc__:
            found.append((name, method))
    return found


def entry(name: str, member: Any, level: str) -> str:
    """Heading, signature and docstring of one name."""
    shown = "" if inspect.isclass(member) else f"```\n{name}{signature(member)}\n```\n\n"
    return f"{level} {name}\n\n{shown}```text\n{inspect.getdoc(member)}\n```\n"


def signature(member: Any) -> str:
    """As in the code, one argument a line if there are many."""
    found = inspect.signature(member)
    kept = [one for name, one in found.parameters.items() if name not in ("self", "cls")]
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(found.replace(parameters=kept)))
    return text if len(text) < 80 else text.replace(", ", ",\n    ").replace("(", "(\n    ", 1)


if __name__ == "__main__":
    PAGE.write_text(as_markdown())
