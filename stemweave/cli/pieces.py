"""``stemweave generate | arrange | edit | extend | vary``: commands that make or change pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.console import console
from stemweave.cli.options import (
    COMMON,
    Bar,
    Common,
    Out,
    chosen_stems,
    give_folder,
    plot_if,
    with_options,
)
from stemweave.cli.sheets import (
    NO_SHEET,
    SheetOptions,
    common_folder,
    summary,
    written_s,
)
from stemweave.errors import InputError
from stemweave.io.encode import check_format
from stemweave.io.files import require_absent, require_writable
from stemweave.io.records import PIECE_RECORD
from stemweave.music.folder import music_files, write_music
from stemweave.stems import MIXTURE

if TYPE_CHECKING:
    from torch import Tensor

    from stemweave.io.piece import Piece
    from stemweave.model import StemModel
    from stemweave.music.lead_sheet import LeadSheet
    from stemweave.music.score import Score

RecordText = Callable[[Mapping[str, Path], int, float], str]
"""Of the files of a piece, their sample rate and their gain."""

Source = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="folder of stem files (bass.wav, drums.wav, ...), or a mixture, which is separated",
    ),
]


DEFAULT_SECONDS = 10.24


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (generate, arrange, edit, extend, vary):
        app.command()(with_options(command))


def generate(
    out: Out,
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
    options: SheetOptions = NO_SHEET,
    common: Common = COMMON,
) -> None:
    """Write new pieces to OUT/<index>/{stems...,mixture}.wav, and their sheet and score.

    Models that understand sheets draw what is not given of tempo, metre, chords, style and
    instruments, and write the notes.
    """
    overwrite, seed = common.overwrite, common.seed
    _ = common.encoding  # refused before a model is loaded
    given, notes = options.read()
    folders = [out / str(index) for index in range(number)]
    require_absent(folders, overwrite)
    require_writable(out)
    pipe = common.load()
    duration_s = seconds or written_s(given, notes) or DEFAULT_SECONDS
    for index, folder in enumerate(folders):
        own_sheet = options.completed(pipe, given, duration_s, seed + index)
        own_score = options.written(pipe, own_sheet, notes, seed + index, pipe.stems)
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
        record = _record("generate", pipe, common, options, index, duration_s=duration_s, mono=mono)
        _write(folder, piece, own_sheet, own_score, common, record)
        if own_sheet is not None:
            console.say(f"  {summary(own_sheet)}")


def arrange(
    out: Out,
    given: Annotated[
        list[str], typer.Option("--given", help="NAME=FILE, once for every stem you have")
    ],
    add: Annotated[str | None, typer.Option(help="only these, e.g. piano; default: all")] = None,
    inpainting: Annotated[
        str | None, typer.Option(help="known (trained) or replace (the paper's)")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=0, max=20, help="how much new stems listen to the given ones, e.g. 1.5"),
    ] = None,
    options: SheetOptions = NO_SHEET,
    common: Common = COMMON,
) -> None:
    """Write the given stems, the missing ones and the sum to OUT/{stems...,mixture}.wav."""
    encoding, overwrite = common.encoding, common.overwrite
    if inpainting not in (None, "known", "replace"):
        raise InputError(f"--inpainting must be known or replace, not {inpainting}")
    files = _parse_given(given)
    require_absent([out / f"{name}.{encoding}" for name in (*files, MIXTURE)], overwrite)
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
    record = _record(
        "arrange",
        pipe,
        common,
        options,
        given=sorted(files),
        add=missing,
        guidance=guidance,
        inpainting=inpainting,
    )
    _write(out, piece, own_sheet, notes, common, record)
    if own_sheet is not None:
        console.say(f"  {summary(own_sheet)}")


def edit(
    source: Source,
    out: Out,
    stems: Annotated[
        str | None, typer.Option(help="to renew, e.g. bass,drums; all of INPUT if absent")
    ] = None,
    start: Annotated[float, typer.Option(help="seconds at which the new part begins")] = 0.0,
    end: Annotated[
        float | None, typer.Option(help="seconds at which it ends; the piece's end if absent")
    ] = None,
    options: SheetOptions = NO_SHEET,
    common: Common = COMMON,
) -> None:
    """Renew stems of INPUT between two times; all else stays. OUT/{stems...,mixture}.wav."""
    _ = common.encoding  # refused before a model is loaded
    pipe = common.load()
    renewed = chosen_stems(pipe.stems, stems, "--stems") if stems is not None else None

    def task(piece: dict[str, Tensor], sample_rate: int, **conditions: Any) -> Piece:
        present = [name for name in pipe.stems if name in piece]
        renew = dict.fromkeys(renewed or present or pipe.stems, (start, end))
        return pipe.edit(piece, sample_rate, renew=renew, **conditions)

    def new_s(duration_s: float) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(renewed or pipe.stems, (start, end or duration_s))

    record = _record("edit", pipe, common, options, stems=renewed, start_s=start, end_s=end)
    _run(pipe, source, out, task, "editing", options, common, record, new_s)


def extend(
    source: Source,
    out: Out,
    seconds: Annotated[float, typer.Option(help="length of what is added")] = 10.24,
    options: SheetOptions = NO_SHEET,
    common: Common = COMMON,
) -> None:
    """Continue INPUT after its end; all of it stays as it is. OUT/{stems...,mixture}.wav."""
    _ = common.encoding  # refused before a model is loaded
    pipe = common.load()
    from stemweave.tasks.requests import check_seconds

    check_seconds(seconds)

    def task(piece: dict[str, Tensor], sample_rate: int, **conditions: Any) -> Piece:
        return pipe.extend(piece, sample_rate, seconds=seconds, **conditions)

    def new_s(duration_s: float) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(pipe.stems, (duration_s, duration_s + seconds))

    record = _record("extend", pipe, common, options, duration_s=seconds)
    _run(pipe, source, out, task, "extending", options, common, record, new_s)


def vary(
    source: Source,
    out: Out,
    strength: Annotated[float, typer.Option(help="0: INPUT itself, 1: a new piece")] = 0.5,
    options: SheetOptions = NO_SHEET,
    common: Common = COMMON,
) -> None:
    """Make a piece that is similar to INPUT and as long. OUT/{stems...,mixture}.wav."""
    _ = common.encoding  # refused before a model is loaded
    pipe = common.load()

    def task(piece: dict[str, Tensor], sample_rate: int, **conditions: Any) -> Piece:
        return pipe.vary(piece, sample_rate, strength=strength, **conditions)

    record = _record("vary", pipe, common, options, strength=strength)
    _run(pipe, source, out, task, "varying", options, common, record)


def _run(
    pipe: StemModel,
    source: Path,
    out: Path,
    task: Callable[..., Piece],
    label: str,
    options: SheetOptions,
    common: Common,
    record: RecordText,
    new_s: Callable[[float], dict[str, tuple[float, float]]] | None = None,
) -> None:
    """Read the piece and its sheet, run ``task``, write the result.

    ``task(piece, sample_rate, sheet=, score=, sampling=)`` returns the changed piece,
    ``new_s(duration_s)`` says where each stem of it is new.
    """
    from stemweave.io.batch import naming, read_piece
    from stemweave.music.drawing import lasting

    encoding, overwrite, seed = common.encoding, common.overwrite, common.seed
    piece, sample_rate = read_piece(source, pipe)
    check_format(encoding, len(next(iter(piece.values()))))
    names = (*pipe.separated_stems, MIXTURE)
    require_absent([out / f"{name}.{encoding}" for name in names], overwrite)
    folder = source if source.is_dir() else None
    writes = label == "extending" or (label == "editing" and pipe.writes_scores)
    sheet, score = options.read(folder, with_score=writes)
    duration_s = next(iter(piece.values())).shape[-1] / sample_rate
    sheet = options.analysed(pipe, sheet, piece, sample_rate)
    if new_s is not None and sheet is not None and score is not None:
        score = options.rewritten(pipe, sheet, score, new_s(duration_s), seed)
    require_absent(list(music_files(out, sheet, score).values()), overwrite)
    require_writable(out)
    with Bar(label) as progress, naming(source):
        changed = task(
            piece,
            sample_rate,
            **options.conditions(pipe, sheet, score),
            sampling=common.sampling(progress),
        )
    if sheet is not None:
        sheet = lasting(sheet, changed[MIXTURE].shape[-1] / sample_rate)
    _write(out, changed, sheet, score, common, record)


def _record(
    task: str,
    pipe: StemModel,
    common: Common,
    options: SheetOptions,
    index: int = 0,
    **settings: Any,
) -> RecordText:
    """The text of ``piece.json`` for the files and their gain."""
    from stemweave.io.piece_record import record_text

    given = {name: str(value) for name, value in vars(options).items() if value}
    drawn = {"seed": common.seed + index, "steps": common.steps, "sampler": common.sampler}
    return partial(record_text, task, pipe, {**drawn, **settings, **given})


def _write(
    out: Path,
    piece: Piece,
    sheet: LeadSheet | None,
    score: Score | None,
    common: Common,
    record: RecordText,
) -> None:
    """Write a piece with its record and music, and its picture if wanted, and say so."""
    from stemweave.io.encode import Document
    from stemweave.io.piece import write_stems

    encoding = common.encoding
    files = {name: out / f"{name}.{encoding}" for name in piece}
    document = Document(out / PIECE_RECORD, partial(record, files, piece.sample_rate))
    written = write_stems(out, piece, piece.sample_rate, encoding, common.overwrite, [document])
    music = write_music(out, sheet, score)
    plot_if(common.plot, written, out)
    give_folder(out, written | music)


def _parse_given(given: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for entry in given:
        name, separator, file = entry.partition("=")
        if not separator or not name or not file:
            raise InputError(f"--given takes NAME=FILE, e.g. bass=bass.wav, not {entry!r}")
        if name in files:
            raise InputError(f"--given names {name} twice")
        files[name] = Path(file)
    return files
