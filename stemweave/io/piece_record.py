"""``piece.json`` beside stems that a task made: which task, model and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemweave.io.separation_record import described_model, made_by

if TYPE_CHECKING:
    from stemweave.model import StemModel


def record_text(
    task: str,
    pipe: StemModel,
    settings: Mapping[str, Any],
    files: Mapping[str, Path],
    sample_rate: int,
    gain: float,
) -> str:
    """The JSON for a piece in the audio files ``files``.

    Args:
        task: generate, arrange, edit, extend or vary.
        settings: of the task; those that are None are left out.
        gain: of all files, below 1 if samples would have clipped.
    """
    record = {
        **made_by(),
        "task": task,
        "model": described_model(pipe.source),
        "settings": {name: value for name, value in settings.items() if value is not None},
        "sample_rate": sample_rate,
        "outputs": {name: path.name for name, path in files.items()},
        "gain": gain,
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
