"""``/api/versions``: what was made, to listen to and to download."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import AsyncIterator
from io import RawIOBase
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from stemweave.files import InputError, OutputError
from stemweave.io.encode import AudioFormat, check_format
from stemweave.web.answers import VersionAnswer, version_answer
from stemweave.web.errors import DISK_FULL, Refused
from stemweave.web.studio import Studio, studio_of
from stemweave.web.tables import Version

MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
CHUNK_BYTES = 1 << 18
MAX_AGE = {"cache-control": "private, max-age=3600"}
"""Versions never change, so players may seek in what they have."""

log = logging.getLogger("stemweave.web")

router = APIRouter(prefix="/api/versions", tags=["versions"])
InStudio = Annotated[Studio, Depends(studio_of)]


@router.get("/{version_id}")
def get_version(version_id: str, studio: InStudio) -> VersionAnswer:
    """One version of a project."""
    return version_answer(studio.version(version_id))


@router.get(
    "/{version_id}/tracks/{name}",
    response_class=FileResponse,
    responses={
        200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "audio"},
        206: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "a range"},
    },
)
async def get_track(
    version_id: str,
    name: str,
    studio: InStudio,
    format: AudioFormat = "wav",
    download: bool = False,
) -> FileResponse:
    """One track; ``download=1`` makes browsers save it."""
    version = await to_thread.run_sync(studio.version, version_id)
    if name not in version.track_names:
        raise Refused(404, f"the version has only {', '.join(version.track_names)}")
    path = await _encoded(studio, version, name, format)
    filename = f"{await _file_stem(studio, version)} - {name}.{format}" if download else None
    return FileResponse(path, media_type=MEDIA_TYPES[format], filename=filename, headers=MAX_AGE)


@router.get(
    "/{version_id}/download",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}}, "description": "zip of all tracks"}},
)
async def download_version(
    version_id: str, studio: InStudio, request: Request, format: AudioFormat = "wav"
) -> Response:
    """A zip of all tracks, sent while it is made: one track is encoded after the other."""
    version = await to_thread.run_sync(studio.version, version_id)
    _check_format(version, format)
    about: dict[str, Any] = {
        "media_type": "application/zip",
        "headers": {"content-disposition": saved_as(f"{await _file_stem(studio, version)}.zip")},
    }
    if request.method == "HEAD":
        return Response(**about)
    return StreamingResponse(_zipped(studio, version, format), **about)


def saved_as(filename: str) -> str:
    """Content-Disposition that makes browsers save an answer under ``filename``."""
    return FileResponse("", filename=filename).headers["content-disposition"]


def _check_format(version: Version, fmt: AudioFormat) -> None:
    """Raise ``Refused`` if ``fmt`` cannot hold the version's tracks."""
    try:
        check_format(fmt, version.sample_rate, version.channels)
    except InputError as error:
        raise Refused(422, str(error).replace("--", "")) from error


async def _encoded(studio: Studio, version: Version, name: str, fmt: AudioFormat) -> Path:
    """The file to send. Raises ``Refused``."""
    _check_format(version, fmt)
    try:
        path = await to_thread.run_sync(
            studio.library.encoded, version, name, fmt, limiter=studio.conversions
        )
    except OutputError as error:
        raise Refused(507, DISK_FULL) from error
    except InputError as error:
        if not studio.library.folder(version.id).exists():
            raise Refused(404, "the version was deleted") from error
        log.error("version %s: %s", version.id, error)
        raise Refused(500, f"the track {name} is damaged on the server") from error
    if not path.exists():
        raise Refused(404, "the version was deleted")
    return path


async def _file_stem(studio: Studio, version: Version) -> str:
    """The project's name as a file's."""
    project = await to_thread.run_sync(studio.project, version.project_id)
    return "".join("_" if char in '/\\:*?"<>|' else char for char in project.name).strip(". ")


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


async def _zipped(studio: Studio, version: Version, fmt: AudioFormat) -> AsyncIterator[bytes]:
    """A zip of the tracks as they are, each sent as soon as it is encoded."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for name in version.track_names:
            with archive.open(f"{name}.{fmt}", "w", force_zip64=True) as entry:
                yield pieces.take()  # the client sees that something comes
                with (await _encoded(studio, version, name, fmt)).open("rb") as source:
                    while chunk := await to_thread.run_sync(source.read, CHUNK_BYTES):
                        await to_thread.run_sync(entry.write, chunk)  # computes a checksum
                        yield pieces.take()
    yield pieces.take()
