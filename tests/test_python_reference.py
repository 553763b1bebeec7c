"""docs/python.md is what the code says."""

from tests.scripts import script


def test_the_page_is_made_of_the_docstrings():
    reference = script("python_reference")
    assert reference.as_markdown() == reference.PAGE.read_text(), (
        "run python scripts/python_reference.py"
    )
