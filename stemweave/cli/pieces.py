"""``stemweave edit | extend | vary``: commands that take a piece and give it back changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.options import (
    Bar,
    BitDepth,
    Bitrate,
    Compile,
    Device,
    Dtype,
    Format,
    Json,
    Model,
    Out,
    Overwrite,
    Plot,
    Quiet,
    Sampler,
    Seed,
    Steps,
    Verbose,
    chosen_stems,
    give_folder,
    load,
    plot_if,
)
from stemweave.cli.sheets import (
    Chords,
    Instruments,
    Key,
    Metre,
    NoScore,
    ScoreFile,
    SheetFile,
    SheetOptions,
    Style,
    Tempo,
    Unconditional,
    music_files,
    write_music,
)
from stemweave.io.encoding import encoding_of
from stemweave.models.devices import AUTO

if TYPE_CHECKING:
    from torch import Tensor

    from stemweave.io.encoding import Encoding
    from stemweave.io.piece import Piece
    from stemweave.model import StemModel

Source = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="folder of stem files (bass.wav, drums.wav, ...), or a mixture, which is separated",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (edit, extend, vary):
        app.command()(command)


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
    sheet: SheetFile = None,
    score: ScoreFile = None,
    tempo: Tempo = None,
    metre: Metre = None,
    key: Key = None,
    chords: Chords = None,
    style: Style = None,
    instruments: Instruments = None,
    unconditional: Unconditional = False,
    no_score: NoScore = False,
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    sampler: Sampler = None,
    device: Device = AUTO,
    dtype: Dtype = "auto",
    compile: Compile = False,
    format: Format = "wav",
    bit_depth: BitDepth = None,
    bitrate: Bitrate = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Renew stems of INPUT between two times; all else stays. OUT/{stems...,mixture}.wav."""
    encoding = encoding_of(format, bit_depth, bitrate)
    options = SheetOptions(
        sheet, score, tempo, metre, key, chords, style, instruments, unconditional, no_score
    )
    pipe = load(model, device, sampler, dtype, compile)
    renewed = chosen_stems(pipe, stems, "--stems") if stems is not None else None

    def task(piece: dict[str, Tensor], sample_rate: int, **told: Any) -> Piece:
        present = [name for name in pipe.stems if name in piece]
        renew = dict.fromkeys(renewed or present or pipe.stems, (start, end))
        return pipe.edit(piece, sample_rate, renew=renew, **told)

    def new_s(duration_s: float) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(renewed or pipe.stems, (start, end or duration_s))

    _run(pipe, source, out, task, "editing", options, encoding, overwrite, seed, steps, plot, new_s)


def extend(
    source: Source,
    out: Out,
    seconds: Annotated[float, typer.Option(help="length of what is added")] = 10.24,
    sheet: SheetFile = None,
    score: ScoreFile = None,
    tempo: Tempo = None,
    metre: Metre = None,
    key: Key = None,
    chords: Chords = None,
    style: Style = None,
    instruments: Instruments = None,
    unconditional: Unconditional = False,
    no_score: NoScore = False,
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    sampler: Sampler = None,
    device: Device = AUTO,
    dtype: Dtype = "auto",
    compile: Compile = False,
    format: Format = "wav",
    bit_depth: BitDepth = None,
    bitrate: Bitrate = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Continue INPUT after its end; all of it stays as it is. OUT/{stems...,mixture}.wav."""
    encoding = encoding_of(format, bit_depth, bitrate)
    options = SheetOptions(
        sheet, score, tempo, metre, key, chords, style, instruments, unconditional, no_score
    )
    pipe = load(model, device, sampler, dtype, compile)
    from stemweave.tasks.requests import check_seconds

    check_seconds(seconds)

    def task(piece: dict[str, Tensor], sample_rate: int, **told: Any) -> Piece:
        return pipe.extend(piece, sample_rate, seconds=seconds, **told)

    def new_s(duration_s: float) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(pipe.stems, (duration_s, duration_s + seconds))

    _run(
        pipe, source, out, task, "extending", options, encoding, overwrite, seed, steps, plot, new_s
    )


def vary(
    source: Source,
    out: Out,
    strength: Annotated[float, typer.Option(help="0: INPUT itself, 1: a new piece")] = 0.5,
    sheet: SheetFile = None,
    score: ScoreFile = None,
    tempo: Tempo = None,
    metre: Metre = None,
    key: Key = None,
    chords: Chords = None,
    style: Style = None,
    instruments: Instruments = None,
    unconditional: Unconditional = False,
    no_score: NoScore = False,
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    sampler: Sampler = None,
    device: Device = AUTO,
    dtype: Dtype = "auto",
    compile: Compile = False,
    format: Format = "wav",
    bit_depth: BitDepth = None,
    bitrate: Bitrate = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a piece that is similar to INPUT and as long. OUT/{stems...,mixture}.wav."""
    encoding = encoding_of(format, bit_depth, bitrate)
    options = SheetOptions(
        sheet, score, tempo, metre, key, chords, style, instruments, unconditional, no_score
    )
    pipe = load(model, device, sampler, dtype, compile)

    def task(piece: dict[str, Tensor], sample_rate: int, **told: Any) -> Piece:
        return pipe.vary(piece, sample_rate, strength=strength, **told)

    _run(pipe, source, out, task, "varying", options, encoding, overwrite, seed, steps, plot)


def _run(
    pipe: StemModel,
    source: Path,
    out: Path,
    task: Callable[..., Piece],
    label: str,
    options: SheetOptions,
    encoding: Encoding,
    overwrite: bool,
    seed: int,
    steps: int | None,
    plot: bool,
    new_s: Callable[[float], dict[str, tuple[float, float]]] | None = None,
) -> None:
    """Read the piece and its sheet, run ``task``, write the result.

    ``task(piece, sample_rate, sheet=, score=, sampling=)`` returns the changed piece,
    ``new_s(duration_s)`` says where each stem of it is new.
    """
    import torch

    from stemweave.io.batch import naming, read_piece
    from stemweave.io.encode import check_format
    from stemweave.io.files import require_absent, require_writable
    from stemweave.music.drawing import lasting
    from stemweave.stems import MIXTURE
    from stemweave.tasks.sampling import Sampling

    piece, sample_rate = read_piece(source, pipe.stems)
    check_format(encoding, len(next(iter(piece.values()))))
    names = (*pipe.stems, MIXTURE)
    require_absent([out / f"{name}.{encoding}" for name in names], overwrite)
    folder = source if source.is_dir() else None
    writes = label == "extending" or (label == "editing" and pipe.writes_scores)
    sheet, score = options.read(folder, with_score=writes)
    stems = [piece[name] for name in pipe.stems if name in piece] or [piece[MIXTURE]]
    duration_s = stems[0].shape[-1] / sample_rate
    sheet = options.analysed(pipe, sheet, stems, sample_rate)
    if new_s is not None and sheet is not None and score is not None:
        score = options.rewritten(pipe, sheet, score, new_s(duration_s), seed)
    require_absent(list(music_files(out, sheet, score).values()), overwrite)
    require_writable(out)
    with Bar(label) as progress, naming(source):
        changed = task(
            piece,
            sample_rate,
            **options.told(pipe, sheet, score),
            sampling=Sampling(
                steps, generator=torch.Generator().manual_seed(seed), progress=progress
            ),
        )
    written = changed.save(out, encoding, overwrite)
    if sheet is not None:
        sheet = lasting(sheet, changed[MIXTURE].shape[-1] / sample_rate)
    music = write_music(out, sheet, score)
    plot_if(plot, written, out)
    give_folder(out, written | music)
