"""``/api/versions/{id}/daw``: a version as a session for DAWs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from stemweave.music.daw import export_files
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score
from stemweave.stems import MIXTURE
from stemweave.web.errors import DISK_FULL, Refused
from stemweave.web.music_routes import music_of
from stemweave.web.studio import InStudio, Studio
from stemweave.web.tables import Version
from stemweave.web.version_routes import file_stem
from stemweave.web.zipping import zip_named, zipped

router = APIRouter(prefix="/api/versions", tags=["music"])
Bar = Annotated[int | None, Query(ge=1, le=100_000)]


@router.get(
    "/{version_id}/daw",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}}, "description": "zip of a session"}},
)
async def download_session(
    version_id: str, studio: InStudio, request: Request, first_bar: Bar = None, last_bar: Bar = None
) -> Response:
    """Stems as Broadcast WAV, MIDI, Reaper project and DAWproject; bars from 1 are a loop."""
    version = await to_thread.run_sync(studio.version, version_id)
    if (first_bar is None) != (last_bar is None):
        raise Refused(422, "a loop needs first_bar and last_bar")
    title = await file_stem(studio, version)
    about = zip_named(f"{title} - DAW.zip")
    if request.method == "HEAD":
        return Response(**about)
    room = 2 * sum(track["bytes"] for track in version.tracks)
    if studio.library.free_bytes() < room + studio.settings.min_free_mb * 1e6:
        raise Refused(507, DISK_FULL)
    sheet, score = await music_of(studio, version)
    if not sheet.has_tempo:
        raise Refused(422, "no beat was found in it: give its sheet a tempo")
    loop_bars = None if first_bar is None or last_bar is None else (first_bar, last_bar)
    files = _session(studio, version, title, sheet, score, loop_bars)
    return StreamingResponse(zipped(_after(await anext(files), files)), **about)


async def _session(
    studio: Studio,
    version: Version,
    title: str,
    sheet: LeadSheet,
    score: Score | None,
    loop_bars: tuple[int, int] | None,
) -> AsyncGenerator[tuple[str, Path], None]:
    """Names and files of a session, one by one, which go when the last one is sent."""
    names = [name for name in version.track_names if name != MIXTURE] or [MIXTURE]
    sounds = {name: studio.library.track(version.id, name) for name in names}
    with studio.library.working_folder() as folder:
        files = export_files(folder, title, sounds, sheet, score, loop_bars=loop_bars)
        while file := await to_thread.run_sync(next, files, None, limiter=studio.conversions):
            yield f"{title}/{file.relative_to(folder).as_posix()}", file


async def _after(
    first: tuple[str, Path], others: AsyncGenerator[tuple[str, Path], None]
) -> AsyncGenerator[tuple[str, Path], None]:
    async with aclosing(others):
        yield first
        async for file in others:
            yield file
