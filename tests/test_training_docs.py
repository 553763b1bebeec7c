"""The measured tables of the training documents are those of the committed figures."""

import json
from pathlib import Path

import pytest

from benchmarks.documents import with_block
from tests.scripts import script

ROOT = Path(__file__).parent.parent
training_docs = script("training_docs")


@pytest.mark.parametrize("name", list(training_docs.BLOCKS))
def test_tables_are_the_committed_figures(name: str):
    text = (ROOT / "docs" / training_docs.BLOCKS[name]).read_text()
    assert with_block(text, name, training_docs.table(name)) == text
    assert f"<!-- {name} -->\n|" in text


def test_the_papers_step_fits_24_gib():
    found = json.loads((ROOT / "docs/scores/paper_step.json").read_text())
    assert found["parameters"] == 305_165_444
    assert found["peak_gib"] < 24
