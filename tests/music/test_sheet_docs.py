"""docs/sheet-and-score.md: its sheet, its Python and its lists are what the code has."""

import re
from pathlib import Path

import pytest

from stemweave.music.instruments import INSTRUMENTS
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.styles import STYLES

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "sheet-and-score.md").read_text()


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_sheet_that_is_shown():
    sheet = LeadSheet.from_json(block("json"))
    assert sheet.to_json() == block("json")


def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block("python"), names)
    assert names["sheet"].chord_at(8.0).symbol == "G/B"
    assert len(names["score"].notes["bass"]) == 4
    assert LeadSheet.from_json((tmp_path / "sheet.json").read_text()) == names["sheet"]


def test_lists_are_complete():
    styles = re.search(r"\*\*Styles\*\*: (.*?)\.\n", PAGE, re.DOTALL)[1]
    assert re.split(r",\s+", styles) == list(STYLES)
    for stem, classes in INSTRUMENTS.items():
        assert f"| {stem} | {', '.join(classes)} |" in PAGE
