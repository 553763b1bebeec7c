"""What is wrong but stops nothing: a line on stderr that begins with "warning:"."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class _Notices(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(f"warning: {public(record.getMessage())}", file=sys.stderr)


_notices = _Notices(logging.WARNING)


_public_names: dict[str, str] = {}


@contextmanager
def made_privately(private: Path, path: Path) -> Iterator[None]:
    """In the block, what is said of the folder ``private`` is said of what it will be, ``path``."""
    _public_names[str(private)] = str(path)
    try:
        yield
    finally:
        del _public_names[str(private)]


def public(text: str) -> str:
    """``text`` without private names."""
    for private, path in _public_names.items():
        text = text.replace(private, path)
    return text


def show_warnings() -> None:
    """From here on what our modules warn of is printed; calling it again changes nothing."""
    logging.getLogger("stemweave").addHandler(_notices)
    # where it keeps its list of fonts is nobody's concern
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
