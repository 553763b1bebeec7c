"""``stemweave generate | arrange | edit | extend | vary``: commands that make or change pieces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.console import console
from stemweave.cli.options import Bar, Common, Out, chosen_stems
from stemweave.cli.piece_runs import (
    Change,
    change_piece,
    check_length,
    given_files,
    numbered_folders,
    record_of,
    require_room,
    write_piece,
)
from stemweave.cli.sheets import SheetOptions, common_folder, summary, written_s
from stemweave.errors import InputError
from stemweave.io.encode import check_format
from stemweave.io.files import require_absent, require_writable
from stemweave.music.folder import music_files
from stemweave.stems import MIXTURE

if TYPE_CHECKING:
    from torch import Tensor

    from stemweave.io.piece import Piece

Source = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        readable=False,  # what reads it says so in one sentence
        help="folder of stem files (bass.wav, drums.wav, ...), or a mixture, which is separated",
    ),
]
DEFAULT_SECONDS = 10.24


def generate(
    out: Out,
    options: SheetOptions,
    common: Common,
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, max=100_000, help="pieces to make")
    ] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=3600, help="length of each; that of the score, or 10.24"),
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(min=8000, max=192_000, help="Hz; the model's own if absent")
    ] = None,
    mono: Annotated[
        bool, typer.Option("--mono", help="one channel, also of a stereo model")
    ] = False,
) -> None:
    """Write new pieces to OUT/<index>/{stems...,mixture}.wav, and their sheet and score.

    Models that understand sheets draw what is not given of tempo, metre, chords, style and
    instruments, and write the notes.
    """
    _ = common.encoding  # refused before a model is loaded
    given, notes = options.read()
    duration_s = seconds or written_s(given, notes) or DEFAULT_SECONDS
    folders = numbered_folders(out, number, common.overwrite)
    check_length(duration_s)
    pipe = common.load()
    for index, folder in enumerate(folders):
        own_sheet = options.completed(pipe, given, duration_s, common.seed + index)
        own_score = options.written(pipe, own_sheet, notes, common.seed + index, pipe.stems)
        with Bar(f"piece {index}") as progress:
            piece = pipe.generate(
                duration_s,
                tempo_bpm=None if pipe.takes_sheets else options.tempo,
                sheet=own_sheet,
                score=own_score,
                sample_rate=sample_rate,
                mono=mono,
                sampling=common.sampling(progress, index),
            )
        settings = dict(duration_s=duration_s, mono=mono)
        record = record_of("generate", pipe, common, options, index, **settings)
        write_piece(folder, piece, own_sheet, own_score, common, record)
        if own_sheet is not None:
            console.say(f"  {summary(own_sheet)}")


def arrange(
    out: Out,
    given: Annotated[
        list[str], typer.Option("--given", help="NAME=FILE, once for every stem you have")
    ],
    options: SheetOptions,
    common: Common,
    add: Annotated[str | None, typer.Option(help="only these, e.g. piano; default: all")] = None,
    inpainting: Annotated[
        str | None, typer.Option(help="known (trained) or replace (the paper's)")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=0, max=20, help="how much new stems listen to the given ones, e.g. 1.5"),
    ] = None,
) -> None:
    """Write the given stems, the missing ones and the sum to OUT/{stems...,mixture}.wav."""
    encoding, overwrite = common.encoding, common.overwrite
    if inpainting not in (None, "known", "replace"):
        raise InputError(f"--inpainting must be known or replace, not {inpainting}")
    files = given_files(given)
    require_absent([out / f"{name}.{encoding}" for name in (*files, MIXTURE)], overwrite)
    require_room(out, common)
    own_sheet, notes = options.read(beside=common_folder(files.values()), with_score=True)
    require_absent(list(music_files(out, own_sheet, notes).values()), overwrite)
    require_writable(out)
    from stemweave.io.batch import read_given
    from stemweave.music.drawing import lasting

    waveforms, sample_rate = read_given(files)
    check_format(encoding, max(len(waveform) for waveform in waveforms.values()))
    pipe = common.load()
    added = chosen_stems(pipe.stems, add, "--add") if add is not None else None
    require_absent([out / f"{name}.{encoding}" for name in added or pipe.stems], overwrite)
    own_sheet = options.analysed(pipe, own_sheet, waveforms, sample_rate)
    if own_sheet is not None:
        own_sheet = lasting(own_sheet, next(iter(waveforms.values())).shape[-1] / sample_rate)
    missing = added or [stem for stem in pipe.stems if stem not in files]
    notes = options.written(pipe, own_sheet, notes, common.seed, missing)
    require_absent(list(music_files(out, own_sheet, notes).values()), overwrite)
    with Bar("arranging") as progress:
        piece = pipe.arrange(
            waveforms,
            sample_rate,
            add=added,
            sampling=common.sampling(progress, guidance=guidance, inpainting=inpainting),
            **options.conditions(pipe, own_sheet, notes),
        )
    record = record_of(
        "arrange",
        pipe,
        common,
        options,
        given=sorted(files),
        add=missing,
        guidance=guidance,
        inpainting=inpainting,
    )
    write_piece(out, piece, own_sheet, notes, common, record)
    if own_sheet is not None:
        console.say(f"  {summary(own_sheet)}")


def edit(
    source: Source,
    out: Out,
    options: SheetOptions,
    common: Common,
    stems: Annotated[
        str | None, typer.Option(help="to renew, e.g. bass,drums; all of INPUT if absent")
    ] = None,
    start: Annotated[float, typer.Option(help="seconds at which the new part begins")] = 0.0,
    end: Annotated[
        float | None, typer.Option(help="seconds at which it ends; the piece's end if absent")
    ] = None,
) -> None:
    """Renew stems of INPUT between two times; all else stays. OUT/{stems...,mixture}.wav."""
    _ = common.encoding  # refused before a model is loaded
    pipe = common.load()
    from stemweave.tasks.requests import ranges_in_samples

    renewed = chosen_stems(pipe.stems, stems, "--stems") if stems is not None else None

    def renew(piece: Mapping[str, Tensor]) -> dict[str, tuple[float, float | None]]:
        present = [name for name in pipe.stems if name in piece]
        return dict.fromkeys(renewed or present or pipe.stems, (start, end))

    def check(piece: Mapping[str, Tensor], sample_rate: int) -> None:
        ranges_in_samples(pipe.stems, piece, sample_rate, renew(piece))

    def task(piece: dict[str, Tensor], sample_rate: int, **conditions: Any) -> Piece:
        return pipe.edit(piece, sample_rate, renew=renew(piece), **conditions)

    def new_s(duration_s: float) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(renewed or pipe.stems, (start, end or duration_s))

    record = record_of("edit", pipe, common, options, stems=renewed, start_s=start, end_s=end)
    change = Change("editing", check, task, record, new_s)
    change_piece(pipe, source, out, change, options, common)


def extend(
    source: Source,
    out: Out,
    options: SheetOptions,
    common: Common,
    seconds: Annotated[float, typer.Option(help="length of what is added")] = 10.24,
) -> None:
    """Continue INPUT after its end; all of it stays as it is. OUT/{stems...,mixture}.wav."""
    _ = common.encoding  # refused before a model is loaded
    check_length(seconds)
    pipe = common.load()
    from stemweave.tasks.requests import check_long_enough, check_seconds

    def check(piece: Mapping[str, Tensor], sample_rate: int) -> None:
        check_seconds(seconds, next(iter(piece.values())).shape[-1] / sample_rate)
        check_long_enough(piece, pipe.position_s, sample_rate)

    def task(piece: dict[str, Tensor], sample_rate: int, **conditions: Any) -> Piece:
        return pipe.extend(piece, sample_rate, seconds=seconds, **conditions)

    def new_s(duration_s: float) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(pipe.stems, (duration_s, duration_s + seconds))

    record = record_of("extend", pipe, common, options, duration_s=seconds)
    change = Change("extending", check, task, record, new_s)
    change_piece(pipe, source, out, change, options, common)


def vary(
    source: Source,
    out: Out,
    options: SheetOptions,
    common: Common,
    strength: Annotated[float, typer.Option(help="0: INPUT itself, 1: a new piece")] = 0.5,
) -> None:
    """Make a piece that is similar to INPUT and as long. OUT/{stems...,mixture}.wav."""
    _ = common.encoding  # refused before a model is loaded
    pipe = common.load()
    from stemweave.tasks.requests import check_strength

    def task(piece: dict[str, Tensor], sample_rate: int, **conditions: Any) -> Piece:
        return pipe.vary(piece, sample_rate, strength=strength, **conditions)

    record = record_of("vary", pipe, common, options, strength=strength)
    change = Change("varying", lambda *_: check_strength(strength), task, record)
    change_piece(pipe, source, out, change, options, common)
