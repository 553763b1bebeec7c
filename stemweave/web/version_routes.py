"""``/api/versions``: what was made, to listen to and to download."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncGenerator, Awaitable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.datastructures import QueryParams

from stemweave.audio.stretching import FASTEST, MOST_SEMITONES, SLOWEST, Stretch, can_stretch
from stemweave.audio.waveforms import ResultError
from stemweave.errors import InputError, OutputError
from stemweave.io.encode import check_format
from stemweave.io.encoding import AudioFormat
from stemweave.web.answers import VersionAnswer, version_answer
from stemweave.web.errors import Refused, plain
from stemweave.web.mixdown import LARGEST_GAIN, Mix, mix_of, write_mix
from stemweave.web.music_routes import music_of
from stemweave.web.studio import InStudio, Studio
from stemweave.web.tables import Version
from stemweave.web.zipping import CHUNK_BYTES, saved_as, zip_named, zipped

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "opus": "audio/ogg",
}
MAX_AGE = {"cache-control": "private, max-age=3600"}
"""Versions never change, so players may seek in what they have."""

MIX_OPTIONS = ("start", "end", "speed", "semitones", "click", "format", "download")
"""What the address of a mix says beside gains and pans of its tracks."""

log = logging.getLogger("stemweave.web")

router = APIRouter(prefix="/api/versions", tags=["versions"])


def _stretch(
    speed: Annotated[float, Query(ge=SLOWEST, le=FASTEST, allow_inf_nan=False)] = 1.0,
    semitones: Annotated[
        float, Query(ge=-MOST_SEMITONES, le=MOST_SEMITONES, allow_inf_nan=False)
    ] = 0.0,
) -> Stretch:
    stretch = Stretch(round(speed, 3), round(semitones, 2))
    if stretch.changes and not can_stretch():
        raise Refused(501, "speed and pitch need python-stretch on the server: pip install it")
    return stretch


Stretched = Annotated[Stretch, Depends(_stretch)]


@router.get("/{version_id}")
def get_version(version_id: str, studio: InStudio) -> VersionAnswer:
    """One version of a project."""
    return version_answer(studio.version(version_id))


@router.delete("/{version_id}", status_code=204)
def delete_version(version_id: str, studio: InStudio) -> None:
    """Delete a version and its audio; what was made of it stays.

    The only version of a project stays, and one that a job works on.
    """
    studio.delete_version(studio.version(version_id))


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
    stretch: Stretched,
    format: AudioFormat = "wav",
    download: bool = False,
) -> FileResponse:
    """One track, at another speed or pitch if wanted; ``download=1`` makes browsers save it."""
    version = await to_thread.run_sync(studio.version, version_id)
    if name not in version.track_names:
        raise Refused(404, f"the version has only {', '.join(version.track_names)}")
    path = await _encoded(studio, version, name, format, stretch)
    filename = f"{await file_stem(studio, version)} - {name}.{format}" if download else None
    return FileResponse(path, media_type=MEDIA_TYPES[format], filename=filename, headers=MAX_AGE)


@router.get(
    "/{version_id}/download",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}}, "description": "zip of all tracks"}},
)
async def download_version(
    version_id: str,
    studio: InStudio,
    request: Request,
    stretch: Stretched,
    format: AudioFormat = "wav",
) -> Response:
    """A zip of all tracks, sent while it is made: one track is encoded after the other."""
    version = await to_thread.run_sync(studio.version, version_id)
    check_format(format, version.channels)
    about = zip_named(f"{await file_stem(studio, version)}.zip")
    if request.method == "HEAD":
        return Response(**about)
    return StreamingResponse(zipped(_tracks(studio, version, format, stretch)), **about)


@router.get(
    "/{version_id}/mix",
    response_class=StreamingResponse,
    responses={
        200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "audio"}
    },
    openapi_extra={
        "parameters": [
            {
                "name": "gains",
                "in": "query",
                "style": "form",
                "explode": True,
                "description": "track=gain, linear; pan.track=pan, from -1 to 1",
                "schema": {"type": "object", "additionalProperties": {"type": "number"}},
            }
        ]
    },
)
async def get_mix(
    version_id: str,
    studio: InStudio,
    request: Request,
    stretch: Stretched,
    start: Annotated[float, Query(ge=0, allow_inf_nan=False)] = 0.0,
    end: Annotated[float | None, Query(gt=0, allow_inf_nan=False)] = None,
    click: Annotated[float, Query(ge=0, le=LARGEST_GAIN, allow_inf_nan=False)] = 0.0,
    format: AudioFormat = "wav",
    download: bool = False,
) -> Response:
    """The tracks as one, each with a gain and a pan of its own, from ``start`` to ``end``, seconds
    of the piece at its own speed; ``click`` is the gain of a click on every beat.

    Formats that clip are turned down as a whole if need be; the header ``stemweave-gain-db`` says
    by how much.
    """
    version = await to_thread.run_sync(studio.version, version_id)
    gains, pans = _faders(request.query_params)
    mix = mix_of(version, gains, pans, start, end, stretch)
    check_format(format, mix.channels)
    if click:
        mix = replace(mix, beats=await _beats(studio, version), click_gain=click)
    headers = {"cache-control": "no-store"}
    if download:
        headers |= saved_as(f"{await file_stem(studio, version)} - mix.{format}")
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPES[format], headers=headers)
    file, gain = await _rendered(studio, version, mix, format)
    headers["content-length"] = str(os.fstat(file.fileno()).st_size)
    if gain < 1:
        headers["stemweave-gain-db"] = f"{20 * math.log10(gain):.2f}"
    return StreamingResponse(_sent(file), media_type=MEDIA_TYPES[format], headers=headers)


async def _beats(studio: Studio, version: Version) -> list[tuple[float, bool]]:
    """Times of the beats, and whether bars begin with them. Raises ``Refused`` if none is known."""
    sheet, _ = await music_of(studio, version)
    if sheet.beats_s is None:
        raise Refused(422, "no beat was found in it: give its sheet a tempo")
    lines = set(sheet.downbeats or ())
    return [(seconds, beat in lines) for beat, seconds in enumerate(sheet.beats_s)]


def _faders(query: QueryParams) -> tuple[dict[str, float], dict[str, float]]:
    """Gains and pans by track: all parameters that have no meaning of their own."""
    gains: dict[str, float] = {}
    pans: dict[str, float] = {}
    for key, text in query.multi_items():
        if key in MIX_OPTIONS:
            continue
        try:
            value = float(text)
        except ValueError:
            raise Refused(422, f"{plain(key)}: must be a number") from None
        into = pans if key.startswith("pan.") else gains
        into[plain(key.removeprefix("pan."))] = value
    return gains, pans


async def _rendered(
    studio: Studio, version: Version, mix: Mix, fmt: AudioFormat
) -> tuple[BinaryIO, float]:
    """The mix as an open file that has no name any more, and the gain it was given."""

    def render() -> tuple[BinaryIO, float]:
        with studio.library.working_folder() as folder:
            path = folder / f"mix.{fmt}"
            gain = write_mix(studio.library, version, mix, path, fmt)
            return path.open("rb"), gain

    return await to_thread.run_sync(render, limiter=studio.conversions)


def _sent(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def _encoded(
    studio: Studio, version: Version, name: str, fmt: AudioFormat, stretch: Stretch
) -> Path:
    """The file to send. Raises ``Refused``."""
    check_format(fmt, version.channels)
    try:
        path = await to_thread.run_sync(
            studio.library.encoded, version, name, fmt, stretch, limiter=studio.conversions
        )
    except (OutputError, ResultError):
        raise
    except InputError as error:
        if not studio.library.folder(version.id).exists():
            raise Refused(404, "the version was deleted") from error
        log.error("version %s: %s", version.id, error)
        raise Refused(500, f"the track {name} is damaged on the server") from error
    if not path.exists():
        raise Refused(404, "the version was deleted")
    return path


async def file_stem(studio: Studio, version: Version) -> str:
    project = await to_thread.run_sync(studio.project, version.project_id)
    return "".join("_" if char in '/\\:*?"<>|' else char for char in project.name).strip(". ")


async def _tracks(
    studio: Studio, version: Version, fmt: AudioFormat, stretch: Stretch
) -> AsyncGenerator[tuple[str, Awaitable[Path]], None]:
    """Names and files of the tracks, for ``zipped``."""
    try:
        for done, name in enumerate(version.track_names):
            studio.tell_packing(version, fmt, done)
            yield f"{name}.{fmt}", _encoded(studio, version, name, fmt, stretch)
    finally:
        studio.tell_packing(version, fmt, len(version.tracks))
