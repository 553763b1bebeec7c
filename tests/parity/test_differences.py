"""docs/paper.md: what the table says of our presets is what they hold."""

import re
from pathlib import Path

import yaml

from stemweave.training.settings import load_settings

ROOT = Path(__file__).parent.parent.parent
PRESETS = ("paper.yaml", "paper_code.yaml")


def rows() -> list[list[str]]:
    """Cells of the table's lines."""
    lines = re.findall(r"^\|(.*)\|$", (ROOT / "docs" / "paper.md").read_text(), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


def test_the_presets_are_what_the_table_says():
    settings = [load_settings(ROOT / "configs" / name) for name in PRESETS]
    checked = 0
    for what, _, _, key, *cells, _ in rows():
        if not key:
            continue
        for preset, cell in zip(settings, cells, strict=True):
            value = preset
            for name in key.strip("`").split("."):
                value = getattr(value, name)
            said = yaml.safe_load(re.match(r"`(.*?)`", cell)[1])
            assert said == value, (what, cell, value)
            checked += 1
    assert checked == 14
