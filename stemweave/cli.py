"""``stemweave``: the command line. Options in, one sentence out when something is wrong.

Commands hold no machine learning; heavy imports wait until a command runs.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from stemweave import piece_commands
from stemweave.checkpoints import commands as checkpoint_commands
from stemweave.data import commands as data_commands
from stemweave.evaluation import commands as evaluation_commands
from stemweave.files import InputError, find_audio_files, output_names, require_absent
from stemweave.options import (
    Bar,
    Device,
    Format,
    Model,
    Out,
    Overwrite,
    Plot,
    Seed,
    Steps,
    audio_format,
    chosen_stems,
    load,
    plot_if,
)
from stemweave.render import commands as render_commands
from stemweave.stems import MIXTURE
from stemweave.training import commands as training_commands

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Separate, generate, arrange and edit multi-track music with one diffusion model.",
)


@app.command()
def separate(
    files: Annotated[list[Path], typer.Argument(help="audio files or folders of them")],
    out: Out,
    stems: Annotated[str | None, typer.Option(help="only these, e.g. bass,drums")] = None,
    method: Annotated[str, typer.Option(help="mask or vocoder")] = "mask",
    guidance: Annotated[
        float | None, typer.Option(min=0, max=20, help="weight w of the mixture")
    ] = None,
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    device: Device = "cpu",
    format: Format = "wav",
    overwrite: Overwrite = False,
) -> None:
    """Write the stems of each FILE to OUT/<name>/<stem>.wav."""
    fmt = audio_format(format)
    if method not in ("mask", "vocoder"):
        raise InputError(f"--method must be mask or vocoder, not {method}")
    inputs = find_audio_files(files)
    pipe = load(model, device)
    chosen = chosen_stems(pipe, stems, "--stems")
    from stemweave.batch import separate_file

    failures = []
    for path, name in zip(inputs, output_names(inputs), strict=True):
        try:
            with Bar(path.name) as progress:
                written = separate_file(
                    pipe,
                    path,
                    out / name,
                    stems=chosen,
                    fmt=fmt,
                    method=cast(Any, method),
                    guidance=guidance,
                    steps=steps,
                    seed=seed,
                    overwrite=overwrite,
                    progress=progress,
                )
            if plot:
                from stemweave.plots import plot_files

                plot_files({"mixture": path, **written}, out / name / "spectrograms.png")
            typer.echo(f"{path} → {out / name}")
        except InputError as error:
            if len(inputs) == 1:
                raise
            failures.append(str(error))
            typer.echo(f"error: {error}", err=True)
    if failures:
        typer.echo(f"{len(failures)} of {len(inputs)} files failed", err=True)
        raise typer.Exit(1)


@app.command()
def generate(
    out: Out,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="pieces to make")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="length of each")] = 10.24,
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    device: Device = "cpu",
    format: Format = "wav",
    overwrite: Overwrite = False,
) -> None:
    """Write new pieces to OUT/<index>/{stems...,mixture}.wav."""
    fmt = audio_format(format)
    folders = [out / str(index) for index in range(number)]
    if not overwrite:
        require_absent(folders, overwrite)
    pipe = load(model, device)
    import torch

    from stemweave.batch import write_stems

    for index, folder in enumerate(folders):
        generator = torch.Generator().manual_seed(seed + index)
        with Bar(f"piece {index}") as progress:
            piece = pipe.generate(seconds, steps=steps, generator=generator, progress=progress)
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
    plot: Plot = False,
    model: Model = None,
    seed: Seed = 0,
    steps: Steps = None,
    device: Device = "cpu",
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
    pipe = load(model, device)
    added = chosen_stems(pipe, add, "--add") if add else None
    import torch

    with Bar("arranging") as progress:
        piece = pipe.arrange(
            waveforms,
            sample_rate,
            add=added,
            steps=steps,
            inpainting=cast(Any, inpainting),
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


def _end(number: int, _: object) -> None:
    """End as an exception does: nothing half-written stays. A second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(128 + number)


def main() -> None:
    """Run the command line; ``InputError`` becomes one line and exit code 2."""
    signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
