"""What Stemweave's records beside stems say of the files in a folder.

``separation.json`` lies beside stems of a file, ``piece.json`` beside those that a task made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORD = "separation.json"
PIECE_RECORD = "piece.json"
RECORDS = frozenset((RECORD, PIECE_RECORD))
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
        record = json.loads(path.read_text()) if path.stat().st_size < MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("program") == PROGRAM else {}


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
        if any(name not in new and (folder / name).exists() for name in _outputs(earlier))
    ]
    if record and kept:
        text = json.dumps({**record, EARLIER: kept}, indent=2, ensure_ascii=False)
        (private / RECORD).write_text(text + "\n")


def _with_earlier(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield record
    earlier = record.get(EARLIER)
    yield from (one for one in earlier or () if isinstance(one, dict))


def _outputs(record: dict[str, Any]) -> set[str]:
    outputs = record.get("outputs")
    return set(map(str, outputs.values())) if isinstance(outputs, dict) else set()
