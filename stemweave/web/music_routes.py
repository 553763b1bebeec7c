"""``/api/versions/{id}/sheet`` and ``/score``: beats, bars, chords and notes of a version."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import Field

from stemweave.errors import InputError
from stemweave.music.folder import read_music, write_music
from stemweave.music.lead_sheet import VERSION, LeadSheet
from stemweave.music.midi import part_of
from stemweave.music.midi_file import read_midi_file
from stemweave.music.score import Score
from stemweave.web.bodies import Closed, Note
from stemweave.web.errors import Refused
from stemweave.web.studio import InStudio, Studio
from stemweave.web.tables import Version

MAX_BEATS = 100_000
Text = Annotated[str | None, Field(max_length=100)]
Beat = Annotated[float, Field(allow_inf_nan=False)]

router = APIRouter(prefix="/api/versions", tags=["music"])


class Sheet(Closed):
    """A ``sheet.json``; what is null is unknown.

    ``beats_s`` are times of the beats, ``downbeats`` indices of those that begin bars, ``chords``
    are [start in beats, symbol].
    """

    version: int = VERSION
    tempo_bpm: Beat | None = None
    metre: Text = None
    key: Text = None
    style: Text = None
    instruments: dict[str, str] | None = None
    chords: Annotated[list[tuple[Beat, str]] | None, Field(max_length=MAX_BEATS)] = None
    downbeats: Annotated[list[int] | None, Field(max_length=MAX_BEATS)] = None
    beats_s: Annotated[list[Beat] | None, Field(max_length=MAX_BEATS)] = None


@router.get("/{version_id}/sheet")
async def get_sheet(version_id: str, studio: InStudio) -> Sheet:
    """The sheet that the version was written on, or what the analyser finds in it."""
    version = await to_thread.run_sync(studio.version, version_id)
    sheet, _ = await music_of(studio, version)
    return _answer(sheet)


@router.put("/{version_id}/sheet")
def correct_sheet(version_id: str, corrected: Sheet, studio: InStudio) -> Sheet:
    """Correct the sheet: jobs on this version follow it. Notes keep their times."""
    version = studio.version(version_id)
    sheet = LeadSheet.from_json(corrected.model_dump_json())
    _keep(studio, version, sheet)
    studio.feed.changed(version.project_id)
    return _answer(sheet)


@router.get("/{version_id}/score")
def get_score(version_id: str, studio: InStudio) -> dict[str, list[Note]]:
    """The notes of stems that were written here, counted in the sheet's beats."""
    _, score = _read(studio, studio.version(version_id))
    notes = {} if score is None else score.notes
    return {stem: [Note(**asdict(note)) for note in own] for stem, own in notes.items()}


@router.post(
    "/{version_id}/midi",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"audio/midi": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def read_part(
    version_id: str,
    stem: Annotated[str, Query(min_length=1, max_length=100)],
    request: Request,
    studio: InStudio,
) -> list[Note]:
    """What a MIDI file, the body, has for ``stem``, in beats from its beginning."""
    await to_thread.run_sync(studio.version, version_id)
    body = await request.body()

    def read() -> list[Note]:
        with studio.library.working_folder() as folder:
            path = folder / "part.mid"
            path.write_bytes(body)
            try:
                notes = part_of(read_midi_file(path), stem)
                return [Note(**asdict(note)) for note in notes]
            except InputError as error:
                raise Refused(422, str(error).replace(str(path), "the file")) from error
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Refused(422, "the MIDI file is no score that can be read") from error

    return await to_thread.run_sync(read)


async def music_of(studio: Studio, version: Version) -> tuple[LeadSheet, Score | None]:
    """Sheet and notes of a version; the analyser listens if nobody knows its sheet yet."""
    sheet, score = await to_thread.run_sync(_read, studio, version)
    if sheet is None:
        sheet = await to_thread.run_sync(_found, studio, version, limiter=studio.analyses)
    return sheet, score


def _found(studio: Studio, version: Version) -> LeadSheet:
    """The sheet beside the tracks, made now if there is none."""
    sheet, _ = _read(studio, version)
    if sheet is None:
        sheet = studio.runner.analyse(studio.library.folder(version.id))
        _keep(studio, version, sheet)
    return sheet


def _read(studio: Studio, version: Version) -> tuple[LeadSheet | None, Score | None]:
    folder = studio.library.folder(version.id)
    if not folder.is_dir():
        raise Refused(404, "the version was deleted")
    return read_music(folder)


def _keep(studio: Studio, version: Version, sheet: LeadSheet) -> None:
    folder = studio.library.folder(version.id)
    if not folder.is_dir():
        raise Refused(404, "the version was deleted")
    write_music(folder, sheet, None)


def _answer(sheet: LeadSheet) -> Sheet:
    return Sheet.model_validate_json(sheet.to_json())
