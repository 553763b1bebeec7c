"""What Stemweave's records beside stems say of the files in a folder.

``separation.json`` lies beside stems of a file, ``piece.json`` beside those that a task made.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

RECORD = "separation.json"
PIECE_RECORD = "piece.json"
RECORDS = frozenset((RECORD, PIECE_RECORD))
PICTURE = "spectrograms.png"
"""Beside results of ``--plot``; no record knows it."""
PROGRAM = "stemweave"
LEFT_OUT = "left_out"
"""Key of the names of stems that are not there because they are silent."""
EARLIER = "earlier"
"""Key of the records of what a folder held before."""
MAX_BYTES = 2**20


def read_record(folder: Path, name: str = RECORD) -> dict[str, Any]:
    """Stemweave's record in ``folder``; empty if there is none."""
    path = folder / name
    try:
        is_readable = path.is_file() and path.stat().st_size < MAX_BYTES
        record = json.loads(path.read_text(encoding="utf-8")) if is_readable else None
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("program") == PROGRAM else {}


def is_foreign(folder: Path, name: str) -> bool:
    """Whether there is something of the name of a record in ``folder`` that is not Stemweave's."""
    return os.path.lexists(folder / name) and not read_record(folder, name)


def left_out(folder: Path) -> set[str]:
    """Names of stems that are not in ``folder`` because they are silent."""
    names = read_record(folder).get(LEFT_OUT)
    return _texts(names) if isinstance(names, list) else set()


def own_files(folder: Path) -> frozenset[str]:
    """Names of the files in ``folder`` that Stemweave made, by its records."""
    records = [*_with_earlier(read_record(folder)), read_record(folder, PIECE_RECORD)]
    return frozenset(name for record in records for name in _outputs(record))


def is_record_of(folder: Path, source: Path) -> bool:
    """Whether what is in ``folder`` was made of a file with the name and content of ``source``."""
    about = read_record(folder).get("input")
    if not isinstance(about, dict) or about.get("name") != source.name:
        return False
    try:
        return about.get("sha256") == sha256_of(source)
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def keep_earlier(folder: Path, private: Path) -> None:
    """Let the record in ``private``, whose files join those in ``folder``, keep what they were."""
    record = read_record(private)
    new = _outputs(record)
    kept = [
        {key: value for key, value in earlier.items() if key != EARLIER}
        for earlier in _with_earlier(read_record(folder))
        if any(name not in new and os.path.exists(folder / name) for name in _outputs(earlier))
    ]
    if record and kept:
        with suppress(RecursionError):  # of what somebody else wrote there
            text = json.dumps({**record, EARLIER: kept}, indent=2, ensure_ascii=False) + "\n"
            # half a UTF-16 pair, which JSON may hold, stays the escape that it was
            (private / RECORD).write_text(text, encoding="utf-8", errors="backslashreplace")


def _with_earlier(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield record
    earlier = record.get(EARLIER)
    if isinstance(earlier, list):
        yield from (one for one in earlier if isinstance(one, dict))


def _outputs(record: dict[str, Any]) -> set[str]:
    outputs = record.get("outputs")
    return _texts(outputs.values()) if isinstance(outputs, dict) else set()


def _texts(values: Iterable[object]) -> set[str]:
    return {value for value in values if isinstance(value, str)}
