"""Measured tables in documents, between marks that stay when a table is made anew."""

from __future__ import annotations

from pathlib import Path

from stemweave.errors import InputError


def with_block(text: str, name: str, block: str) -> str:
    """``text`` with ``block`` between the lines ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: if ``text`` has no such lines.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, start, rest = text.partition(begin)
    _, stop, after = rest.partition(end)
    if not stop:
        raise ValueError(f"no {begin.strip()} and {end} for the table")
    return f"{before}{start}{block.strip()}\n{stop}{after}"


def renew(document: Path, name: str, block: str) -> None:
    """The same in a file; raises ``InputError`` if it has no marks."""
    try:
        text = with_block(document.read_text(), name, block)
    except ValueError as error:
        raise InputError(f"{document} has {error}") from error
    document.write_text(text)
