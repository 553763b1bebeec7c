"""``/api/versions``: what was made, to listen to and to download."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, StreamingResponse

from stemweave.files import InputError
from stemweave.io.encode import AudioFormat
from stemweave.web.answers import VersionAnswer, version_answer
from stemweave.web.errors import DISK_FULL, Refused
from stemweave.web.studio import Studio, studio_of
from stemweave.web.tables import Version

MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
CHUNK_BYTES = 1 << 18
MAX_AGE = {"cache-control": "private, max-age=3600"}
"""Versions never change, so players may seek in what they have."""

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
    version_id: str, studio: InStudio, format: AudioFormat = "wav"
) -> StreamingResponse:
    """A zip of all tracks."""
    version = await to_thread.run_sync(studio.version, version_id)
    files = {
        f"{name}.{format}": await _encoded(studio, version, name, format)
        for name in version.track_names
    }
    filename = f"{await _file_stem(studio, version)}.zip"
    disposition = FileResponse(next(iter(files.values())), filename=filename).headers
    return StreamingResponse(
        _zipped(files),
        media_type="application/zip",
        headers={"content-disposition": disposition["content-disposition"]},
    )


async def _encoded(studio: Studio, version: Version, name: str, fmt: AudioFormat) -> Path:
    """The file to send. Raises ``Refused``."""
    try:
        path = await to_thread.run_sync(
            studio.library.encoded, version, name, fmt, limiter=studio.conversions
        )
    except InputError as error:
        sentence = str(error)
        if sentence.startswith("cannot write"):
            raise Refused(507, DISK_FULL) from error
        raise Refused(422, sentence.replace("--", "")) from error
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


def _zipped(files: dict[str, Path]) -> Iterator[bytes]:
    """A zip of ``files``, stored as they are, made while it is sent."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as entry:
                while chunk := source.read(CHUNK_BYTES):
                    entry.write(chunk)
                    yield pieces.take()
    yield pieces.take()
