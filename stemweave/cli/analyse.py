"""``stemweave analyse``: tempo, bars, key and chords of a recording, notes of its stems."""

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
    from collections.abc import Mapping

    from torch import Tensor

    from stemweave.model import StemModel
    from stemweave.music.lead_sheet import LeadSheet
    from stemweave.music.score import Score

MIDI_FILE = "sheet.mid"


def analyse(
    source: Source,
    common: OneModel,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="folder for sheet.json and sheet.mid")
    ] = None,
    midi: Annotated[
        bool,
        typer.Option(
            "--midi", help="also score.mid: notes of bass, guitar and piano, by basic-pitch"
        ),
    ] = False,
) -> None:
    """Find tempo, bars, metre, key and chords of INPUT; -o writes them as a sheet and as MIDI."""
    from stemweave.io.batch import read_piece
    from stemweave.music.lead_sheet import SHEET_FILE
    from stemweave.music.midi import SCORE_FILE
    from stemweave.tasks.transcribe import require_transcriber

    if midi:
        require_transcriber()
        if out is None:
            raise InputError("--midi writes score.mid: say with -o into which folder")
    pipe = common.load()
    if out is not None:
        files = (SHEET_FILE, MIDI_FILE, *((SCORE_FILE,) if midi else ()))
        require_absent([out / name for name in files], common.overwrite)
        require_writable(out)
    piece, sample_rate = read_piece(source, pipe)
    sheet = _found(pipe, source, piece, sample_rate)
    if out is not None:
        write_sheet(out, sheet, _heard(pipe, piece, sample_rate, sheet) if midi else None)
    console.give(json.loads(sheet.to_json()), summary(sheet))


def sheet_of(pipe: StemModel, source: Path) -> LeadSheet:
    """What the analyser finds in a file or a folder of stems; ``InputError`` if that is no beat."""
    from stemweave.io.batch import read_piece

    return _found(pipe, source, *read_piece(source, pipe))


def _found(
    pipe: StemModel, source: Path, piece: Mapping[str, Tensor], sample_rate: int
) -> LeadSheet:
    """As ``sheet_of``, of what was read from ``source``."""
    from stemweave.io.batch import naming
    from stemweave.tasks.compose import summed

    with naming(source):
        sheet = pipe.analyse(summed(pipe, piece), sample_rate)
    if sheet.beats_s is None:
        raise InputError(f"{source} has no beat that could be found")
    return sheet


def _heard(
    pipe: StemModel, piece: Mapping[str, Tensor], sample_rate: int, sheet: LeadSheet
) -> Score:
    """Notes of the stems of ``piece``; a mixture alone is separated first."""
    from stemweave.stems import MIXTURE
    from stemweave.tasks.transcribe import transcribed

    stems = piece
    if piece.keys().isdisjoint(pipe.stems):
        stems = pipe.separate(piece[MIXTURE], sample_rate)
    return transcribed(stems, sample_rate, sheet)


def write_sheet(folder: Path, sheet: LeadSheet, score: Score | None = None) -> None:
    """Write ``sheet.json``, ``sheet.mid`` with click, chords and sections, and a known score."""
    from stemweave.music.midi import write_midi
    from stemweave.music.score import Score

    write_music(folder, sheet, score)
    write_midi(folder / MIDI_FILE, Score({}), sheet, guides=True)
