"""Uploads: a multipart body becomes files, chunk by chunk, and is cut off at the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from stemweave.web.errors import Refused, plain

MAX_HEADER_BYTES = 4096
MAX_NAME_LENGTH = 200
MAX_TEXT_BYTES = 4 * MAX_NAME_LENGTH


@dataclass
class Upload:
    """What a body held.

    Attributes:
        files: field name → where it was written.
        labels: field name → the client's name for it, for messages only.
        name: what to call the project.
    """

    files: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    name: str = ""


async def receive_upload(request: Request, folder: Path, fields: Collection[str]) -> Upload:
    """Write the files of a multipart body to ``folder``; ``fields`` are the names they may have.

    An empty body is an empty upload. Raises ``Refused``.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    receiver: _Receiver | None = None
    try:
        async for chunk in request.stream():
            if not chunk:
                continue
            if receiver is None:
                if kind != b"multipart/form-data" or not options.get(b"boundary"):
                    raise Refused(415, "send the files as multipart/form-data")
                receiver = _Receiver(options[b"boundary"], folder, fields)
            await asyncio.to_thread(receiver.write, chunk)
        return Upload() if receiver is None else receiver.finish()
    except FormParserError as error:
        raise Refused(400, "the multipart body cannot be read") from error
    except ClientDisconnect as error:
        raise Refused(400, "the upload was cancelled") from error
    finally:
        if receiver is not None:
            receiver.close()


class _Receiver:
    """Callbacks of the multipart parser: parts with a file name go to disk, the rest is text."""

    def __init__(self, boundary: bytes, folder: Path, fields: Collection[str]) -> None:
        self._folder, self._fields = folder, fields
        self._upload = Upload()
        self._file: BinaryIO | None = None
        self._field = ""
        self._text = bytearray()
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._header_bytes = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise Refused(400, "the multipart boundary cannot be used") from error

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def finish(self) -> Upload:
        self._parser.finalize()
        if not self._ended:
            raise Refused(400, "the multipart body is cut off")
        return self._upload

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _part_begin(self) -> None:
        self._disposition, self._header_bytes = b"", 0
        self._header.clear()
        self._value.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, length: int) -> None:
        self._header_bytes += length
        if self._header_bytes > MAX_HEADER_BYTES:
            raise Refused(400, "a part of the multipart body has too large headers")

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._text.clear()
        if b"filename" not in options:
            if self._field != "name":
                raise Refused(422, f"unknown field {self._field!r}: there is only name")
            return
        if self._field not in self._fields:
            known = ", ".join(self._fields)
            raise Refused(422, f"unknown file field {self._field!r}: this model has {known}")
        if self._field in self._upload.files:
            raise Refused(422, f"{self._field} was sent twice")
        filename = options[b"filename"].decode("utf-8", "replace")
        label = harmless_text(PureWindowsPath(filename.replace("\0", "")).name)
        path = self._folder / self._field
        self._upload.files[self._field] = path
        self._upload.labels[self._field] = label or self._field
        self._file = path.open("wb")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > MAX_TEXT_BYTES:
            raise Refused(422, f"name may have {MAX_NAME_LENGTH} characters")

    def _part_end(self) -> None:
        if self._file is None:
            self._upload.name = harmless_text(self._text.decode("utf-8", "replace"))
        self.close()

    def _end(self) -> None:
        self._ended = True


def harmless_text(text: str) -> str:
    """``text`` on one line, without control characters and not too long."""
    return "".join(char for char in plain(text) if char.isprintable()).strip()[:MAX_NAME_LENGTH]
