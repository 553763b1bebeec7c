"""``stemweave``: the command line. Options in, one sentence out when something is wrong.

Commands hold no machine learning; heavy imports wait until a command runs.
"""

from __future__ import annotations

import atexit
import gc
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from traceback import format_exc
from typing import Annotated, Any, cast

import typer

from stemweave.cli import (
    analyse,
    checkpoints,
    data,
    doctor,
    evaluate,
    pieces,
    render,
    separate,
    serve,
    train,
)
from stemweave.cli.console import console, sentence
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
    common_folder,
    music_files,
    summary,
    write_music,
    written_s,
)
from stemweave.errors import InputError
from stemweave.io.encode import check_format
from stemweave.io.encoding import encoding_of
from stemweave.io.ends import handled_signals
from stemweave.io.files import path_problem, require_absent, require_writable
from stemweave.io.notices import show_warnings
from stemweave.io.threads import prepare_threads
from stemweave.models.devices import AUTO
from stemweave.stems import MIXTURE

DEFAULT_SECONDS = 10.24

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
separate.register(app)


def _version(asked: bool) -> None:
    if asked:
        print(f"stemweave {version('stemweave')}")
        raise typer.Exit


@app.callback()
def options_of_all(
    shows_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say which this is")
    ] = False,
) -> None:
    """Separate, generate, arrange and edit multi-track music with one diffusion model."""


@app.command()
def generate(
    out: Out,
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, max=100_000, help="pieces to make")
    ] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=3600, help="length of each; that of the score, or 10.24"),
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
    """Write new pieces to OUT/<index>/{stems...,mixture}.wav, and their sheet and score.

    Models that understand sheets draw what is not given of tempo, metre, chords, style and
    instruments, and write the notes.
    """
    encoding = encoding_of(format, bit_depth, bitrate)
    options = SheetOptions(
        sheet, score, tempo, metre, key, chords, style, instruments, unconditional, no_score
    )
    given, notes = options.read()
    folders = [out / str(index) for index in range(number)]
    require_absent(folders, overwrite)
    require_writable(out)
    pipe = load(model, device, sampler, dtype, compile)
    import torch

    from stemweave.tasks.sampling import Sampling

    duration_s = seconds or written_s(given, notes) or DEFAULT_SECONDS
    for index, folder in enumerate(folders):
        own_sheet = options.completed(pipe, given, duration_s, seed + index)
        own_score = options.written(pipe, own_sheet, notes, seed + index, pipe.stems)
        generator = torch.Generator().manual_seed(seed + index)
        with Bar(f"piece {index}") as progress:
            piece = pipe.generate(
                duration_s,
                tempo_bpm=None if pipe.takes_sheets else tempo,
                sheet=own_sheet,
                score=own_score,
                sampling=Sampling(steps, generator=generator, progress=progress),
            )
        written = piece.save(folder, encoding, overwrite)
        music = write_music(folder, own_sheet, own_score)
        plot_if(plot, written, folder)
        give_folder(folder, written | music)
        if own_sheet is not None:
            console.say(f"  {summary(own_sheet)}")


@app.command()
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
    """Write the given stems, the missing ones and the sum to OUT/{stems...,mixture}.wav."""
    encoding = encoding_of(format, bit_depth, bitrate)
    if inpainting not in (None, "known", "replace"):
        raise InputError(f"--inpainting must be known or replace, not {inpainting}")
    files = _parse_given(given)
    require_absent([out / f"{name}.{encoding}" for name in (*files, MIXTURE)], overwrite)
    options = SheetOptions(
        sheet, score, tempo, metre, key, chords, style, instruments, unconditional, no_score
    )
    own_sheet, notes = options.read(beside=common_folder(files.values()), with_score=True)
    require_absent(list(music_files(out, own_sheet, notes).values()), overwrite)
    require_writable(out)
    from stemweave.io.batch import read_given
    from stemweave.music.drawing import lasting
    from stemweave.tasks.sampling import Sampling

    waveforms, sample_rate = read_given(files)
    check_format(encoding, max(len(waveform) for waveform in waveforms.values()))
    pipe = load(model, device, sampler, dtype, compile)
    added = chosen_stems(pipe, add, "--add") if add is not None else None
    require_absent([out / f"{name}.{encoding}" for name in added or pipe.stems], overwrite)
    import torch

    own_sheet = options.analysed(pipe, own_sheet, list(waveforms.values()), sample_rate)
    if own_sheet is not None:
        own_sheet = lasting(own_sheet, next(iter(waveforms.values())).shape[-1] / sample_rate)
    missing = added or [stem for stem in pipe.stems if stem not in files]
    notes = options.written(pipe, own_sheet, notes, seed, missing)
    require_absent(list(music_files(out, own_sheet, notes).values()), overwrite)
    with Bar("arranging") as progress:
        piece = pipe.arrange(
            waveforms,
            sample_rate,
            add=added,
            sampling=Sampling(
                steps,
                guidance,
                inpainting=cast(Any, inpainting),
                generator=torch.Generator().manual_seed(seed),
                progress=progress,
            ),
            **options.told(pipe, own_sheet, notes),
        )
    written = piece.save(out, encoding, overwrite)
    music = write_music(out, own_sheet, notes)
    plot_if(plot, written, out)
    give_folder(out, written | music)
    if own_sheet is not None:
        console.say(f"  {summary(own_sheet)}")


for commands in (pieces, analyse, data, render, train, evaluate, checkpoints, serve, doctor):
    commands.register(app)


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


def main() -> None:
    """Run the command line; what users can mend becomes one line and exit code 2."""
    prepare_threads()
    show_warnings()
    console.reset()
    atexit.register(gc.freeze)  # what is collected at the end of Python would be all of torch
    with handled_signals():
        try:
            _refuse_empty(sys.argv[1:])
            app()
        except (InputError, OSError, RuntimeError) as error:
            problem = _problem(error)
            if problem is None:
                raise
            console.complain(problem, format_exc())
            sys.exit(2)


def _refuse_empty(arguments: list[str]) -> None:
    """A variable of a shell that was not set must not mean this folder, or the bundled model."""
    for before, argument in pairwise(["", *arguments]):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            after = argument or (before if before.startswith("-") else "")
            raise InputError(f"an argument is empty{f', after {after}' if after else ''}")


def _problem(error: InputError | OSError | RuntimeError) -> str | None:
    """One sentence for users, if the program is not to blame."""
    if isinstance(error, InputError):
        return sentence(error)
    if isinstance(error, OSError):
        return path_problem(error)
    from stemweave.models.acceleration import device_problem

    return device_problem(error)


if __name__ == "__main__":
    main()
