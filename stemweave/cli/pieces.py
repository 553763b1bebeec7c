"""``stemweave generate | arrange | edit | extend | vary``: commands that make or change pieces."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stemweave.cli.console import console
from stemweave.cli.options import Bar, Common, Out, chosen_stems
from stemweave.cli.piece_runs import (
    Change,
    check_length,
    given_files,
    numbered_folders,
    record_of,
    require_room,
    write_piece,
)
from stemweave.cli.sheets import SheetOptions, summary
from stemweave.errors import InputError
from stemweave.io.encode import check_format
from stemweave.io.files import require_absent, require_writable
from stemweave.music.folder import music_files
from stemweave.stems import MIXTURE

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
    from stemweave.music.rolls import score_end_s

    written_s = score_end_s(notes, given) if notes is not None and given is not None else None
    duration_s = seconds or written_s or DEFAULT_SECONDS
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
        record = record_of("generate", pipe, common, options, settings, index)
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
    folders = {path.parent for path in files.values()}
    beside = folders.pop() if len(folders) == 1 else None
    own_sheet, notes = options.read(beside, with_score=True)
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
    asked = dict(given=sorted(files), add=missing, guidance=guidance, inpainting=inpainting)
    record = record_of("arrange", pipe, common, options, asked)
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
    from stemweave.tasks.requests import ranges_in_samples

    change = Change(source, out, options, common)
    pipe, piece = change.pipe, change.piece
    renewed = chosen_stems(pipe.stems, stems, "--stems") if stems is not None else None
    present = [name for name in pipe.stems if name in piece]
    renew = dict.fromkeys(renewed or present or pipe.stems, (start, end))
    ranges_in_samples(pipe.stems, piece, change.sample_rate, renew)
    new_s = dict.fromkeys(renewed or pipe.stems, (start, end or change.duration_s))
    settings = dict(stems=renewed, start_s=start, end_s=end)
    change.write("edit", partial(pipe.edit, renew=renew), settings, new_s, pipe.writes_scores)


def extend(
    source: Source,
    out: Out,
    options: SheetOptions,
    common: Common,
    seconds: Annotated[float, typer.Option(help="length of what is added")] = 10.24,
) -> None:
    """Continue INPUT after its end; all of it stays as it is. OUT/{stems...,mixture}.wav."""
    check_length(seconds)
    change = Change(source, out, options, common)
    pipe, duration_s = change.pipe, change.duration_s
    from stemweave.tasks.requests import check_long_enough, check_seconds

    check_seconds(seconds, duration_s)
    check_long_enough(change.piece, pipe.position_s, change.sample_rate)
    new_s = dict.fromkeys(pipe.stems, (duration_s, duration_s + seconds))
    settings = dict(duration_s=seconds)
    change.write("extend", partial(pipe.extend, seconds=seconds), settings, new_s, True)


def vary(
    source: Source,
    out: Out,
    options: SheetOptions,
    common: Common,
    strength: Annotated[float, typer.Option(help="0: INPUT itself, 1: a new piece")] = 0.5,
) -> None:
    """Make a piece that is similar to INPUT and as long. OUT/{stems...,mixture}.wav."""
    from stemweave.tasks.requests import check_strength

    change = Change(source, out, options, common)
    check_strength(strength)
    change.write("vary", partial(change.pipe.vary, strength=strength), dict(strength=strength))
