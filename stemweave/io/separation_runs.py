"""Separation of many files, one after the other or over workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from stemweave.cli.console import console
from stemweave.cli.options import Bar
from stemweave.errors import InputError, OutputError
from stemweave.io.catalogue import (
    Failure,
    Separation,
    SeparationJob,
    Success,
    failure_of,
    require_room,
    separate_song,
)
from stemweave.io.files import staging_in
from stemweave.io.jobs import MAX_FAILURES, Failed, WorkerDied, Workers, outcomes
from stemweave.io.mixtures import Mixture
from stemweave.io.threads import usable_cores

if TYPE_CHECKING:
    from stemweave.model import StemModel

MAX_FOLDERS = 64
"""For results, that a run over workers keeps an eye on."""


def separation_workers(number: int | None, ray: str | None, device: str) -> Workers | None:
    """What ``--workers``, ``--ray`` and ``--device`` ask for; None: this process alone.

    Raises:
        InputError: if they contradict each other.
    """
    if ray is None:
        return Workers(number) if number is not None and number > 1 else None
    if ray != "local" and number is not None:
        raise InputError(
            "a number of workers is for one machine: on a Ray cluster every core is a worker"
        )
    kind, _, index = device.partition(":")
    if index:
        raise InputError(f"device {device}: Ray chooses among GPUs, give device {kind}")
    return Workers(number or usable_cores(), ray, gpus=int(kind == "cuda"))


def separate_here(
    pipe: StemModel, mixtures: Sequence[Mixture], asked: Separation
) -> Iterator[Success | Failure]:
    """Separate ``mixtures`` one after the other, each with a bar.

    Ends early if so many results cannot be written that going on is useless.
    """
    unwritten = 0
    for file, out, name in mixtures:
        job = SeparationJob(Path(file), Path(out), name, asked)
        try:
            with Bar(job.source.name) as progress:
                outcome = _refused(job) or separate_song(job, pipe, progress)
        except OutputError as error:
            outcome = failure_of(file, error)
            unwritten += 1
        yield outcome
        if unwritten >= MAX_FAILURES:
            return


def separate_on_workers(
    mixtures: Sequence[Mixture],
    asked: Separation,
    model: str | None,
    device: str,
    workers: Workers,
) -> Iterator[Success | Failure]:
    """Separate ``mixtures`` over ``workers``; what becomes of each, as they finish.

    Ends early if so many fail through no fault of theirs that going on is useless.

    Raises:
        InputError: if Ray, its cluster or its GPUs are missing.
        OutputError: if a folder for results cannot be made.
    """
    if model is not None and Path(model).is_dir():
        model = str(Path(model).absolute())

    def job(mixture: Mixture) -> SeparationJob:
        file, out, name = mixture
        source, folder = Path(file).absolute(), Path(out).absolute()
        return SeparationJob(source, folder, name, asked, model, device, workers.threads)

    with ExitStack() as stack:
        # what workers leave goes when they have ended, and so do folders that were made for nothing
        for out in sorted({mixture.out for mixture in mixtures}, key=os.path.exists)[:MAX_FOLDERS]:
            stack.enter_context(staging_in(Path(out)))
        todo = []
        for mixture in mixtures:
            refused = _refused(job(mixture))
            if refused is None:
                todo.append(mixture)
            else:
                yield refused
        for outcome in outcomes(
            separate_song, map(job, todo), workers, len(todo), console.draws_bars
        ):
            yield _failure(outcome) if isinstance(outcome, Failed) else outcome


def _refused(job: SeparationJob) -> Failure | None:
    """The failure of a file whose results would take the place of others."""
    try:
        require_room(job)
    except InputError as error:
        return failure_of(job.source, error)
    return None


def _failure(failed: Failed[SeparationJob]) -> Failure:
    source, error = failed.job.source, failed.error
    if isinstance(error, WorkerDied):
        return Failure(str(source), str(error))
    return failure_of(source, error)
