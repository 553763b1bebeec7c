"""Answers that browsers save, and zips that are sent while they are made."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from io import RawIOBase
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi.responses import FileResponse

CHUNK_BYTES = 1 << 18


def saved_as(filename: str) -> dict[str, str]:
    """The header that makes browsers save an answer under ``filename``."""
    disposition = FileResponse("", filename=filename).headers["content-disposition"]
    return {"content-disposition": disposition}


def zip_named(filename: str) -> dict[str, Any]:
    """What a response says of a zip."""
    return {"media_type": "application/zip", "headers": saved_as(filename)}


class _Pieces(RawIOBase):
    """A file that cannot be sought in: what is written is handed on and forgotten."""

    def __init__(self) -> None:
        self.pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def, override]
        self.pending += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self.pending)
        self.pending.clear()
        return taken


async def zipped(
    files: AsyncGenerator[tuple[str, Path | Awaitable[Path]], None],
) -> AsyncIterator[bytes]:
    """A zip of files as they are, by name, each sent as soon as it is made."""
    pieces = _Pieces()
    async with aclosing(files):
        with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
            async for name, made in files:
                with archive.open(name, "w", force_zip64=True) as entry:
                    yield pieces.take()  # the client sees that something comes
                    path = made if isinstance(made, Path) else await made
                    with path.open("rb") as source:
                        while chunk := await to_thread.run_sync(source.read, CHUNK_BYTES):
                            await to_thread.run_sync(entry.write, chunk)  # computes a checksum
                            yield pieces.take()
    yield pieces.take()
