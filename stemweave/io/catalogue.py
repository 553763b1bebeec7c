"""Separation of many files, one after the other or over workers, and what becomes of each.

Results of a file are whole or absent whatever dies, so a run that was stopped goes on with
``--skip-existing``. What goes wrong with a file is its failure and stops no other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING

from stemweave.cli.console import console, sentence
from stemweave.cli.options import Bar, load, plot_if
from stemweave.errors import ExistsError, InputError, OutputError
from stemweave.io.decode import probe_audio
from stemweave.io.files import (
    InUse,
    Staging,
    is_below,
    path_problem,
    publish,
    require_absent,
    staging_in,
    writing_failed,
)
from stemweave.io.jobs import MAX_FAILURES, Failed, WorkerDied, Workers, outcomes
from stemweave.io.mixtures import Mixture, Separation, stem_files
from stemweave.io.notices import made_privately, public, show_warnings
from stemweave.io.records import PICTURE, RECORD, is_foreign, is_record_of, keep_earlier, left_out
from stemweave.io.threads import usable_cores

if TYPE_CHECKING:
    from stemweave.diffusion.sampler import Progress
    from stemweave.model import StemModel

MAX_FOLDERS = 64
"""For results, that a run over workers keeps an eye on."""


@dataclass(frozen=True)
class SeparationJob:
    """One file for a worker; paths are absolute, for workers elsewhere."""

    source: Path
    out: Path
    name: str
    asked: Separation
    model: str | None = None
    device: str = "cpu"
    threads: int = 1

    @property
    def folder(self) -> Path:
        """For the stems."""
        return self.out / self.name

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class Success:
    """A file whose stems are there, the files by their names, and how long that took."""

    file: str
    folder: str
    files: dict[str, str]
    seconds: float
    left_out: tuple[str, ...] = ()
    """Stems without a file, since they are silent."""


@dataclass(frozen=True)
class Failure:
    """A file without stems, and why; ``traceback`` if that is a fault of the program."""

    file: str
    reason: str
    traceback: str | None = None


def is_complete(folder: Path, asked: Separation) -> bool:
    """Whether all stems are there, or said to be silent. Files appear when they are whole: none is
    opened.
    """
    files = stem_files(folder, asked).items()
    missing = {name for name, path in files if not _holds_something(path)}
    if not missing:
        return True
    return missing <= set(asked.optional) & left_out(folder)


def _holds_something(path: Path) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) > 0


def unfinished(mixtures: Sequence[Mixture], asked: Separation) -> Sequence[Mixture]:
    """All, or with "skip" those whose stems are not all there."""
    if asked.existing != "skip":
        return mixtures
    return [mixture for mixture in mixtures if not is_complete(mixture.folder, asked)]


@lru_cache(maxsize=1)
def worker_pipeline(
    model: str | None,
    device: str,
    sampler: str | None,
    threads: int,
    dtype: str = "auto",
    compile: bool = False,
) -> StemModel:
    """The model, once in a worker's life."""
    import torch

    torch.set_num_threads(threads)
    return load(model, device, sampler, dtype, compile)


def separate_song(
    job: SeparationJob, pipe: StemModel | None = None, progress: Progress | None = None
) -> Success | Failure:
    """Write the stems of one file, all or none; whatever is wrong with it is its failure.

    Args:
        pipe: the worker's own if None.

    Raises:
        OutputError: if results cannot be written.
    """
    show_warnings()
    began_s = time.monotonic()
    try:
        files = _separate(job, pipe, progress)
    except OutputError:
        raise
    except InUse:
        problem = InputError(f"another run is writing {job.folder}: wait for its end")
        return failure_of(job.source, problem)
    except Exception as error:
        return failure_of(job.source, error)
    paths = {name: str(path) for name, path in files.items()}
    silent = tuple(name for name in job.asked.optional if name not in files)
    elapsed_s = round(time.monotonic() - began_s, 3)
    return Success(str(job.source), str(job.folder), paths, elapsed_s, silent)


def _separate(
    job: SeparationJob, pipe: StemModel | None, progress: Progress | None
) -> dict[str, Path]:
    """``separate_song`` that raises what goes wrong."""
    from stemweave.io import batch

    asked = job.asked
    try:
        with Staging(job.out, job.name) as private:
            if _is_done(job):
                there = stem_files(job.folder, asked)
                return {name: path for name, path in there.items() if path.exists()}
            require_room(job)
            probe_audio(job.source)
            if pipe is None:
                pipe = worker_pipeline(
                    job.model, job.device, asked.sampler, job.threads, asked.dtype, asked.compile
                )
            partial = private / "stems"
            with made_privately(partial, job.folder):
                try:
                    files = batch.separate_file(pipe, job.source, partial, asked, progress)
                    plot_if(asked.plot, {"mixture": job.source, **files}, partial)
                except OutputError as error:
                    raise OutputError(public(str(error))) from error
            require_room(job)
            for name, path in stem_files(job.folder, asked).items():
                if name not in files:  # an earlier result's would not belong to these
                    path.unlink(missing_ok=True)
            keep_earlier(job.folder, partial)
            publish(partial, job.folder)
    except OSError as error:
        if error.filename is None or is_below(error.filename, job.out):
            raise writing_failed(job.folder, error) from error
        raise InputError(path_problem(error)) from error
    return {name: job.folder / path.name for name, path in files.items()}


def _is_done(job: SeparationJob) -> bool:
    """Whether the job's stems are there: another run's if it skips such, or a worker's that died.

    They were not there when the job was handed out.
    """
    if job.asked.existing == "replace" or not is_complete(job.folder, job.asked):
        return False
    return job.asked.existing == "skip" or is_record_of(job.folder, job.source)


def require_room(job: SeparationJob) -> None:
    """Raise ``InputError`` if the results would take the place of others.

    Those are stems, a picture if one is wanted, and a ``separation.json`` that is not ours. With
    "skip", incomplete results of the same file give way.
    """
    paths = list(stem_files(job.folder, job.asked).values())
    if job.asked.plot:
        paths.append(job.folder / PICTURE)
    if is_foreign(job.folder, RECORD):
        paths.append(job.folder / RECORD)
    if job.asked.existing == "skip":
        paths = list(filter(_holds_something, paths))
        if not paths or is_record_of(job.folder, job.source):
            return
    require_absent(paths, job.asked.existing == "replace")


def failure_of(source: str | Path, error: Exception) -> Failure:
    """What an error makes of a file; the reason names it, or what its results would replace."""
    if isinstance(error, InputError):
        reason = sentence(error)
        if str(source) not in reason and not isinstance(error, ExistsError):
            reason = f"{source}: {reason}"
        return Failure(str(source), reason)
    from stemweave.models.acceleration import device_problem

    problem = device_problem(error) or f"unexpected {type(error).__name__}: {error}"
    return Failure(str(source), f"{source}: {problem}", "".join(format_exception(error)))


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
    mixtures: Sequence[Mixture], asked: Separation, model: str | None, device: str, workers: Workers
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
            if not isinstance(outcome, Failed):
                yield outcome
            elif isinstance(outcome.error, WorkerDied):
                yield Failure(str(outcome.job.source), str(outcome.error))
            else:
                yield failure_of(outcome.job.source, outcome.error)


def _refused(job: SeparationJob) -> Failure | None:
    """The failure of a file whose results would take the place of others."""
    try:
        require_room(job)
    except InputError as error:
        return failure_of(job.source, error)
    return None
