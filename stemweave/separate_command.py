"""``stemweave separate``: files and folders in, their stems out, every failure reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemweave.catalogue import (
    Failure,
    Mixture,
    Separation,
    find_mixtures,
    find_mixtures_beside,
    separate_into,
    separate_on_workers,
    separation_workers,
    unfinished,
    write_failures,
)
from stemweave.console import sentence
from stemweave.data.commands import RayOption
from stemweave.devices import AUTO
from stemweave.files import InputError
from stemweave.io.decode import probe_audio
from stemweave.io.encoding import encoding_of
from stemweave.options import (
    Bar,
    BitDepth,
    Bitrate,
    Compile,
    Device,
    Dtype,
    Format,
    Json,
    Model,
    Overwrite,
    Plot,
    Quiet,
    Sampler,
    Seed,
    Steps,
    Verbose,
    chosen_stems,
    chosen_sums,
    load,
)

if TYPE_CHECKING:
    from stemweave.model import StemModel

MAX_SHOWN = 20
"""Failures of a run over workers that are printed."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(separate)


def separate(
    files: Annotated[list[Path], typer.Argument(help="audio files or folders of them")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="folder for the results; <FILE>.stems by default"),
    ] = None,
    stems: Annotated[str | None, typer.Option(help="only these, e.g. bass,drums")] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(help="the sum of these as one file, e.g. bass,drums; repeatable"),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="the sum of all stems but these as one file, e.g. drums; repeatable"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="mask: the mask network's, the default of models that have one; diffusion: masks "
            "of the diffusion's spectra; vocoder: those spectra as sound"
        ),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, max=20, help="weight w of the mixture")
    ] = None,
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
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="go on: leave out files whose stems are there")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="processes that share the cores; with --ray local one a core"),
    ] = None,
    ray: RayOption = None,
    failures: Annotated[
        Path | None, typer.Option(help="list the files that failed here, a line of JSON each")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write the stems of each FILE to OUT/<name>/<stem>.wav; a folder's files keep their paths.

    With --mix or --without only those sums are written, and stems that --stems names.
    """
    encoding = encoding_of(format, bit_depth, bitrate)
    if overwrite and skip_existing:
        raise InputError("--overwrite and --skip-existing contradict each other: give one")
    found = find_mixtures_beside(files) if out is None else find_mixtures(files, out)
    out = Path() if out is None else out
    if not (failures or skip_existing) and not any(Path(file).exists() for file, _ in found):
        probe_audio(Path(found[0].file))  # refuses it, before a model is loaded
    shared = separation_workers(workers, ray, device)
    pipe = load(model, device if ray is None else "cpu", sampler, dtype, compile)
    chosen = pipe.separation_method(method, guidance, steps)
    if shared is None:
        pipe.fetch_for(chosen)  # what cannot be loaded is said once
    sums = chosen_sums(pipe, mix or [], without or [])
    asked = Separation(
        () if sums and stems is None else tuple(chosen_stems(pipe, stems, "--stems")),
        sums,
        encoding=encoding,
        method=chosen,
        guidance=guidance,
        steps=steps,
        sampler=sampler,
        dtype=dtype,
        compile=compile,
        seed=seed,
        plot=plot,
        existing="replace" if overwrite else "skip" if skip_existing else "refuse",
    )
    todo = unfinished(found, out, asked)
    if len(todo) < len(found):
        typer.echo(f"{len(found) - len(todo)} of {len(found)} files have their stems already")
    if shared is None:
        results = _separate_here(pipe, todo, out, asked)
    else:
        del pipe  # every worker has its own
        results = separate_on_workers(todo, out, asked, model, device, shared)
    _report(results, len(todo), failures, at_the_end=shared is not None)


def _separate_here(
    pipe: StemModel, mixtures: Sequence[Mixture], out: Path, asked: Separation
) -> Iterator[Failure | None]:
    for file, name in mixtures:
        try:
            with Bar(Path(file).name) as progress:
                separate_into(pipe, Path(file), out / name, asked, progress)
            typer.echo(f"{file} → {out / name}")
            yield None
        except InputError as error:
            yield Failure(file, sentence(error))


def _report(
    results: Iterator[Failure | None], total: int, path: Path | None, at_the_end: bool
) -> None:
    """Tell what failed, also in the file ``path``; exit with 1 if anything did.

    Raises:
        InputError: instead, if there was one file and the errors need not wait for others.
    """
    done, failed = 0, []
    try:
        for result in results:
            done += 1
            if result is not None:
                failed.append(result)
                if total > 1 and not at_the_end:
                    typer.echo(f"error: {result.reason}", err=True)
    finally:
        if path is not None:
            write_failures(path, failed)
    if failed and total == 1 and not at_the_end:
        raise InputError(failed[0].reason)
    if at_the_end:
        typer.echo(f"{done - len(failed)} of {total} files separated")
        for failure in failed[:MAX_SHOWN]:
            typer.echo(f"error: {failure.reason}", err=True)
        if len(failed) > MAX_SHOWN:
            typer.echo(f"and {len(failed) - MAX_SHOWN} more: --failures FILE lists all", err=True)
    if done < total:
        typer.echo(
            f"stopped after failures that are not the files' own: {total - done} files are left, "
            "mend the cause and go on with --skip-existing",
            err=True,
        )
    if failed:
        typer.echo(f"{len(failed)} of {total} files failed", err=True)
        raise typer.Exit(1)
