"""``stemweave``: the command line. Options in, one sentence out when something is wrong.

Commands hold no machine learning; heavy imports wait until a command runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from stemweave.checkpoints import commands as checkpoint_commands
from stemweave.data import commands as data_commands
from stemweave.evaluation import commands as evaluation_commands
from stemweave.files import FORMATS, AudioFormat, InputError, find_audio_files, output_names
from stemweave.render import commands as render_commands
from stemweave.training import commands as training_commands

if TYPE_CHECKING:
    from tqdm import tqdm

    from stemweave.diffusion.sampler import Progress
    from stemweave.pipeline import StemweavePipeline

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Separate, generate and arrange multi-track music with one diffusion model.",
)

Out = Annotated[Path, typer.Option("--out", "-o", help="folder for the results")]
Model = Annotated[
    str | None, typer.Option(help="model folder or hub id; the bundled model by default")
]
Seed = Annotated[int, typer.Option(min=0, help="equal seeds give equal results")]
Steps = Annotated[
    int | None, typer.Option(min=1, max=1000, help="network passes; the model's default if absent")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, ...")]
Format = Annotated[str, typer.Option("--format", help="wav (float32), flac (24-bit) or mp3")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace existing results")]
Plot = Annotated[bool, typer.Option("--plot", help="also write a picture of the spectrograms")]


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
    fmt = _format(format)
    if method not in ("mask", "vocoder"):
        raise InputError(f"--method must be mask or vocoder, not {method}")
    inputs = find_audio_files(files)
    pipe = _load(model, device)
    chosen = _stems(pipe, stems, "--stems")
    from stemweave.batch import separate_file

    failures = []
    for path, name in zip(inputs, output_names(inputs), strict=True):
        try:
            with _Bar(path.name) as progress:
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
    fmt = _format(format)
    from stemweave.files import require_absent

    folders = [out / str(index) for index in range(number)]
    if not overwrite:
        require_absent(folders, overwrite)
    pipe = _load(model, device)
    import torch

    from stemweave.batch import write_stems

    for index, folder in enumerate(folders):
        generator = torch.Generator().manual_seed(seed + index)
        with _Bar(f"piece {index}") as progress:
            piece = pipe.generate(seconds, steps=steps, generator=generator, progress=progress)
        written = write_stems(folder, piece, pipe.sample_rate, fmt, overwrite)
        _plot_if(plot, written, folder)
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
    fmt = _format(format)
    if inpainting not in (None, "known", "replace"):
        raise InputError(f"--inpainting must be known or replace, not {inpainting}")
    files = _parse_given(given)
    from stemweave.batch import read_given, write_stems

    waveforms, sample_rate = read_given(files)
    pipe = _load(model, device)
    added = _stems(pipe, add, "--add") if add else None
    import torch

    with _Bar("arranging") as progress:
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
    _plot_if(plot, written, out)
    typer.echo(str(out))


for commands in (
    data_commands,
    render_commands,
    training_commands,
    evaluation_commands,
    checkpoint_commands,
):
    commands.register(app)


def _format(name: str) -> AudioFormat:
    if name not in FORMATS:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}, not {name}")
    return cast(AudioFormat, name)


def _load(model: str | None, device: str) -> StemweavePipeline:
    from stemweave.pipeline import load_pipeline

    return load_pipeline(model, device)


def _stems(pipe: StemweavePipeline, names: str | None, option: str) -> list[str]:
    """The stems that ``names`` ("bass,drums") lists, in the model's order; all if None."""
    if names is None:
        return list(pipe.stems)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted or [names]:
        if name not in pipe.stems:
            raise InputError(f"{option} {name!r} is not one of {', '.join(pipe.stems)}")
    return [stem for stem in pipe.stems if stem in wanted]


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


def _plot_if(plot: bool, written: dict[str, Path], folder: Path) -> None:
    if plot:
        from stemweave.plots import plot_files

        plot_files(written, folder / "spectrograms.png")


class _Bar:
    """A progress bar while a task runs, on a terminal only."""

    def __init__(self, label: str) -> None:
        self.label = label

    def __enter__(self) -> Progress | None:
        self.bar: tqdm[Any] | None = None
        if not sys.stderr.isatty():
            return None
        from tqdm import tqdm

        bar = self.bar = tqdm(desc=self.label, leave=False)

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return progress

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()


def main() -> None:
    """Run the command line; ``InputError`` becomes one line and exit code 2."""
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
