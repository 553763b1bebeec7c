"""``stemweave``: the command line. Options in, one sentence out when something is wrong.

Commands hold no machine learning; heavy imports wait until a command runs.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from stemweave import piece_commands, separate_command
from stemweave.checkpoints import commands as checkpoint_commands
from stemweave.data import commands as data_commands
from stemweave.ends import handled_signals
from stemweave.evaluation import commands as evaluation_commands
from stemweave.files import InputError, require_absent
from stemweave.io.encode import check_format
from stemweave.notices import show_warnings
from stemweave.options import (
    Bar,
    Compile,
    Device,
    Dtype,
    Format,
    Model,
    Out,
    Overwrite,
    Plot,
    Sampler,
    Seed,
    Steps,
    audio_format,
    chosen_stems,
    load,
    plot_if,
)
from stemweave.render import commands as render_commands
from stemweave.stems import MIXTURE
from stemweave.threads import prepare_threads
from stemweave.training import commands as training_commands
from stemweave.web import commands as web_commands

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Separate, generate, arrange and edit multi-track music with one diffusion model.",
)
separate_command.register(app)


@app.command()
def generate(
    out: Out,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="pieces to make")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="length of each")] = 10.24,
    tempo: Annotated[
        float | None, typer.Option(help="beats per minute, four to a bar; drawn by default")
    ] = None,
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    sampler: Sampler = None,
    device: Device = "cpu",
    dtype: Dtype = "auto",
    compile: Compile = False,
    format: Format = "wav",
    overwrite: Overwrite = False,
) -> None:
    """Write new pieces to OUT/<index>/{stems...,mixture}.wav."""
    fmt = audio_format(format)
    folders = [out / str(index) for index in range(number)]
    if not overwrite:
        require_absent(folders, overwrite)
    pipe = load(model, device, sampler, dtype, compile)
    import torch

    from stemweave.batch import write_stems

    for index, folder in enumerate(folders):
        generator = torch.Generator().manual_seed(seed + index)
        with Bar(f"piece {index}") as progress:
            piece = pipe.generate(
                seconds, tempo_bpm=tempo, steps=steps, generator=generator, progress=progress
            )
        written = write_stems(folder, piece, pipe.sample_rate, fmt, overwrite)
        plot_if(plot, written, folder)
        typer.echo(str(folder))


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
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    sampler: Sampler = None,
    device: Device = "cpu",
    dtype: Dtype = "auto",
    compile: Compile = False,
    format: Format = "wav",
    overwrite: Overwrite = False,
) -> None:
    """Write the given stems, the missing ones and the sum to OUT/{stems...,mixture}.wav."""
    fmt = audio_format(format)
    if inpainting not in (None, "known", "replace"):
        raise InputError(f"--inpainting must be known or replace, not {inpainting}")
    files = _parse_given(given)
    require_absent([out / f"{name}.{fmt}" for name in (*files, MIXTURE)], overwrite)
    from stemweave.batch import read_given, write_stems

    waveforms, sample_rate = read_given(files)
    check_format(fmt, sample_rate, max(len(waveform) for waveform in waveforms.values()))
    pipe = load(model, device, sampler, dtype, compile)
    added = chosen_stems(pipe, add, "--add") if add is not None else None
    require_absent([out / f"{name}.{fmt}" for name in added or pipe.stems], overwrite)
    import torch

    with Bar("arranging") as progress:
        piece = pipe.arrange(
            waveforms,
            sample_rate,
            add=added,
            steps=steps,
            inpainting=cast(Any, inpainting),
            guidance=guidance,
            generator=torch.Generator().manual_seed(seed),
            progress=progress,
        )
    written = write_stems(out, piece, sample_rate, fmt, overwrite)
    plot_if(plot, written, out)
    typer.echo(str(out))


for commands in (
    piece_commands,
    data_commands,
    render_commands,
    training_commands,
    evaluation_commands,
    checkpoint_commands,
    web_commands,
):
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
    """Run the command line; ``InputError`` becomes one line and exit code 2."""
    prepare_threads()
    show_warnings()
    atexit.register(gc.freeze)  # what is collected at the end of Python would be all of torch
    with handled_signals():
        _run()


def _run() -> None:
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        from stemweave.acceleration import device_problem

        problem = device_problem(error)
        if problem is None:
            raise
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
