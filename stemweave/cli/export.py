"""``stemweave export``: a folder of results becomes a session of a DAW."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemweave.cli.analyse import sheet_of
from stemweave.cli.console import console
from stemweave.cli.options import OneModel
from stemweave.errors import InputError

if TYPE_CHECKING:
    from stemweave.music.lead_sheet import LeadSheet
    from stemweave.music.score import Score


def export(
    folder: Annotated[
        Path, typer.Argument(help="results of separate, generate, arrange, edit, extend or vary")
    ],
    common: OneModel,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="a folder, or a NAME.zip; a zip beside FOLDER by default"),
    ] = None,
    midi: Annotated[
        bool, typer.Option("--midi", help="tempo map, notes, chords, click as one MIDI file")
    ] = False,
    reaper: Annotated[bool, typer.Option("--reaper", help="a project of Reaper")] = False,
    dawproject: Annotated[
        bool, typer.Option("--dawproject", help="a project of Bitwig, Cubase, Studio One, ...")
    ] = False,
    loop: Annotated[
        str | None, typer.Option(help="first and last bar that samplers and DAWs repeat: 5-8")
    ] = None,
) -> None:
    """Write the stems of FOLDER as Broadcast WAV with MIDI, Reaper project and DAWproject.

    All three, if none is named. All lie on one tempo map: that of sheet.json, or of what the
    analyser finds in the sound.
    """
    from stemweave.io.files import publish, require_absent, staging_in, writing_failed
    from stemweave.music.daw import KINDS, export_files, stem_sounds, write_zip

    kinds = [kind for kind, on in zip(KINDS, (midi, reaper, dawproject), strict=True) if on]
    loop_bars = _bars(loop)
    sounds = stem_sounds(folder)
    title = _title(folder.resolve())
    out = out or folder.resolve().with_name(f"{title}.zip")
    require_absent([out], common.overwrite)
    sheet, score = _read(folder, common)
    with staging_in(out.parent) as private:
        made = private / title
        made.mkdir()
        files = export_files(made, title, sounds, sheet, score, kinds or KINDS, loop_bars)
        try:
            if out.suffix.lower() == ".zip":
                write_zip(private / out.name, made, files)
                (private / out.name).replace(out)
            else:
                for _ in files:
                    pass
                publish(made, out)
        except OSError as error:
            raise writing_failed(out, error) from error
    console.give({"out": str(out)}, str(out))


def _title(folder: Path) -> str:
    """The folder's name; of one that ``generate`` numbered, with the name before."""
    return f"{folder.parent.name}-{folder.name}" if folder.name.isdigit() else folder.name


def _bars(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", text)
    if found is None:
        raise InputError(f"--loop takes the first and the last bar, e.g. 5-8, not {text!r}")
    return int(found[1]), int(found[2])


def _read(folder: Path, common: OneModel) -> tuple[LeadSheet, Score | None]:
    """Sheet and score of a folder; the sheet is what the analyser finds if there is none."""
    from stemweave.music.folder import read_music

    sheet, score = read_music(folder)
    if sheet is not None and sheet.has_tempo:
        return sheet, score
    pipe = common.load()
    if not pipe.analyses:
        raise InputError(
            f"{folder} has no sheet.json and the model has no analyser: write a sheet.json with a "
            'tempo, e.g. {"version": 1, "tempo_bpm": 96, "metre": "4/4"}'
        )
    return sheet_of(pipe, folder), None
