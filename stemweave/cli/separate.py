"""``stemweave separate``: files and folders in, their stems out, every failure reported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from json import dumps as to_json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemweave.cli.analyse import MIDI_FILE, sheet_of, write_sheet
from stemweave.cli.console import console
from stemweave.cli.data import MAX_PROCESSES, RayOption
from stemweave.cli.options import Common, chosen_stems, chosen_sums
from stemweave.errors import InputError
from stemweave.io.catalogue import (
    Failure,
    Separation,
    Success,
    failure_of,
    separate_here,
    separate_on_workers,
    separation_workers,
    unfinished,
)
from stemweave.io.decode import probe_audio
from stemweave.io.files import appearing, remove_left, require_absent, require_writable
from stemweave.io.mixtures import Catalogue, find_mixtures
from stemweave.models.devices import AUTO

if TYPE_CHECKING:
    from stemweave.model import StemModel

MAX_SHOWN = 20
"""Failures of a run over workers that are printed."""


def separate(
    files: Annotated[
        list[Path],  # one that may not be read is its own failure
        typer.Argument(readable=False, help="audio files or folders of them"),
    ],
    common: Common,
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
    midi: Annotated[
        bool,
        typer.Option("--midi", help="also sheet.mid: tempo map, click and chords of each FILE"),
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="go on: leave out files whose stems are there")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_PROCESSES,
            help="processes that share the cores; with --ray local one a core",
        ),
    ] = None,
    ray: RayOption = None,
    failures: Annotated[
        Path | None, typer.Option(help="list the files that failed here, a line of JSON each")
    ] = None,
) -> None:
    """Write the stems of each FILE to OUT/<name>/<stem>.wav; a folder's files keep their paths.

    With --mix or --without only those sums are written, and stems that --stems names. A stem of all
    that the model has no other stem for is left out if it is silent, unless --stems names it.
    """
    encoding, device = common.encoding, common.device
    if common.overwrite and skip_existing:
        raise InputError("--overwrite and --skip-existing contradict each other: give one")
    found = find_mixtures(files, out)
    mixtures = found.mixtures
    if not (failures or skip_existing) and not any(os.path.exists(one.file) for one in mixtures):
        probe_audio(Path(mixtures[0].file))  # refuses it, before a model is loaded
    clear_up = remove_left if skip_existing else require_writable  # after killed runs
    for out_folder in {Path(one.out) for one in mixtures}:
        clear_up(out_folder)
    if failures:
        if os.path.isdir(failures):
            raise InputError(f"--failures {failures} is a folder: name a file")
        require_writable(failures.parent)
    shared = separation_workers(workers, ray, device)
    if midi and shared is not None:
        raise InputError("--midi is for one process: leave out --workers and --ray")
    pipe = common.load() if ray is None else replace(common, device="cpu").load()
    chosen = pipe.separation_method(method, guidance, common.steps)
    if ray is not None and device == AUTO:
        console.say_device("cpu (--device cuda is for Ray's GPUs)")
    if shared is None:
        pipe.fetch_for(chosen)  # what cannot be loaded is said once
    if midi and not pipe.analyses:
        raise InputError("--midi needs a model with an analyser: leave it out")
    names = pipe.stems_by(chosen)
    sums = chosen_sums(names, mix or [], without or [])
    wanted = () if sums and stems is None else tuple(chosen_stems(names, stems, "--stems"))
    asked = Separation(
        wanted,
        sums,
        optional=() if stems else tuple(name for name in wanted if name not in pipe.stems),
        encoding=encoding,
        method=chosen,
        guidance=guidance,
        steps=common.steps,
        sampler=common.sampler,
        dtype=common.dtype,
        compile=common.compile,
        seed=common.seed,
        plot=common.plot,
        existing="replace" if common.overwrite else "skip" if skip_existing else "refuse",
    )
    todo = unfinished(mixtures, asked)
    if len(todo) < len(mixtures):
        console.say(
            f"{len(mixtures) - len(todo)} of {len(mixtures)} files have their stems already"
        )
    if shared is None:
        results = separate_here(pipe, todo, asked)
        results = _with_sheets(pipe, results, common.overwrite) if midi else results
    else:
        device = str(pipe.compute_device) if device == AUTO else device
        del pipe  # every worker has its own
        results = separate_on_workers(todo, asked, common.model, device, shared)
    _report(results, len(todo), failures, found, at_the_end=shared is not None)


def _with_sheets(
    pipe: StemModel, results: Iterator[Success | Failure], overwrite: bool
) -> Iterator[Success | Failure]:
    """``results``; beside the stems of each lies what the analyser finds in its file."""
    from stemweave.music.lead_sheet import SHEET_FILE

    for result in results:
        if isinstance(result, Failure):
            yield result
            continue
        folder = Path(result.folder)
        try:
            require_absent([folder / SHEET_FILE, folder / MIDI_FILE], overwrite)
            write_sheet(folder, sheet_of(pipe, Path(result.file)))
        except Exception as error:
            yield failure_of(result.file, error)
        else:
            yield result


def _report(
    results: Iterator[Success | Failure],
    total: int,
    path: Path | None,
    found: Catalogue,
    at_the_end: bool,
) -> None:
    """Say what was done and what failed, that also in the file ``path``; exit with 1 if it did.

    Raises:
        InputError: instead, if there was one file and the errors need not wait for others.
    """
    done, failed = 0, []
    try:
        for result in results:
            done += 1
            if isinstance(result, Failure):
                failed.append(result)
                if console.as_json:
                    console.give({"file": result.file, "error": result.reason}, "")
                if total > 1 and not at_the_end:
                    _complain(result)
            elif console.as_json or not at_the_end:
                silent = f" (silent, left out: {', '.join(result.left_out)})"
                line = f"{result.file} → {result.folder}{silent if result.left_out else ''}"
                console.give(asdict(result), line)
    finally:
        if path is not None:
            _write_failures(path, failed)
    if found.left_out:
        console.remark(f"left out: {found.describe_left_out()}")
    if failed and total == 1 and not at_the_end:
        if failed[0].traceback is None:
            raise InputError(failed[0].reason)
        _complain(failed[0])
        raise typer.Exit(1)
    if at_the_end:
        console.say(f"{done - len(failed)} of {total} files separated")
        for failure in failed[:MAX_SHOWN]:
            _complain(failure)
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


def _complain(failure: Failure) -> None:
    console.complain(failure.reason, failure.traceback)


def _write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """One JSON object a line, {"file": ..., "reason": ...}; an empty file if all went well.

    Faults of the program have their "traceback", too.
    """
    given = [{k: v for k, v in asdict(failure).items() if v is not None} for failure in failures]
    with appearing(path) as partial:
        partial.write_text("".join(to_json(failure) + "\n" for failure in given))
