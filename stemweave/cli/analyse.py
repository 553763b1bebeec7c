"""``stemweave analyse``: tempo, bars, key and chords of a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemweave.cli.console import console
from stemweave.cli.options import OneModel
from stemweave.cli.pieces import Source
from stemweave.cli.sheets import summary
from stemweave.errors import InputError
from stemweave.io.files import require_absent, require_writable
from stemweave.music.folder import write_music

if TYPE_CHECKING:
    from stemweave.model import StemModel
    from stemweave.music.lead_sheet import LeadSheet

MIDI_FILE = "sheet.mid"


def analyse(
    source: Source,
    common: OneModel,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="folder for sheet.json and sheet.mid")
    ] = None,
) -> None:
    """Find tempo, bars, metre, key and chords of INPUT; -o writes them as a sheet and as MIDI."""
    from stemweave.music.lead_sheet import SHEET_FILE

    pipe = common.load()
    if out is not None:
        require_absent([out / SHEET_FILE, out / MIDI_FILE], common.overwrite)
        require_writable(out)
    sheet = sheet_of(pipe, source)
    if out is not None:
        write_sheet(out, sheet)
    console.give(json.loads(sheet.to_json()), summary(sheet))


def sheet_of(pipe: StemModel, source: Path) -> LeadSheet:
    """What the analyser finds in a file or a folder of stems; ``InputError`` if that is no beat."""
    from stemweave.io.batch import naming, read_piece
    from stemweave.tasks.compose import summed

    piece, sample_rate = read_piece(source, pipe)
    with naming(source):
        sheet = pipe.analyse(summed(pipe, piece), sample_rate)
    if sheet.beats_s is None:
        raise InputError(f"{source} has no beat that could be found")
    return sheet


def write_sheet(folder: Path, sheet: LeadSheet) -> None:
    """Write ``sheet.json``, and ``sheet.mid`` with click, chords and sections."""
    from stemweave.music.midi import write_midi
    from stemweave.music.score import Score

    write_music(folder, sheet, None)
    write_midi(folder / MIDI_FILE, Score({}), sheet, guides=True)
