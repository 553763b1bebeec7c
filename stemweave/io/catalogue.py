"""Separation of a file among many: what is asked of each and what becomes of it.

Results of a file are whole or absent whatever dies, so a run that was stopped goes on with
``--skip-existing``. What goes wrong with a file is its failure and stops no other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING

from stemweave.cli.console import sentence
from stemweave.cli.options import load
from stemweave.errors import ExistsError, InputError, OutputError
from stemweave.io.decode import probe_audio
from stemweave.io.files import (
    InUse,
    Staging,
    is_below,
    path_problem,
    publish,
    require_absent,
    writing_failed,
)
from stemweave.io.mixtures import Mixture, Separation, stem_files
from stemweave.io.notices import made_privately, public, show_warnings
from stemweave.io.records import (
    PICTURE,
    RECORD,
    is_foreign,
    is_record_of,
    keep_earlier,
    left_out,
)

if TYPE_CHECKING:
    from stemweave.diffusion.sampler import Progress
    from stemweave.model import StemModel


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
                    files = separate_into(pipe, job.source, partial, asked, progress)
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


def separate_into(
    pipe: StemModel,
    source: Path,
    folder: Path,
    asked: Separation,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Write the stems of ``source``, and the picture if wanted, to ``folder``."""
    from stemweave.io import batch

    written = batch.separate_file(pipe, source, folder, asked, progress)
    if asked.plot:
        from stemweave.io.plots import plot_files

        plot_files({"mixture": source, **written}, folder / PICTURE)
    return written
