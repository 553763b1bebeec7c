"""``stemweave train`` as the tests call it."""

import json
from pathlib import Path
from typing import Any

import yaml


def train(run, stage: str, config: Path, folder: Path, *options: object) -> None:
    """Train to the end; fail with what the command said."""
    result = run("train", stage, config, "--run", folder, *options)
    assert result.code == 0, result.err


def change(config: Path, stage: str | None, **settings: Any) -> None:
    """Change settings of a stage, or of the run."""
    content = yaml.safe_load(config.read_text())
    (content if stage is None else content[stage]).update(settings)
    config.write_text(yaml.safe_dump(content))


def last_log(folder: Path) -> dict[str, float]:
    return json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
