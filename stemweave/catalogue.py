"""Separation of many files: which ones, where their stems go, and how workers share them.

Results of a file are whole or absent whatever dies, so a run that was stopped goes on with
``--skip-existing``. A million files are kept as strings: about 300 MB.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from stemweave.files import InputError, OutputError, Staging, appearing, writing_failed
from stemweave.io.decode import AUDIO_SUFFIXES, probe_audio
from stemweave.io.encoding import Encoding
from stemweave.jobs import Failed, WorkerDied, Workers, outcomes
from stemweave.notices import show_warnings
from stemweave.threads import usable_cores

if TYPE_CHECKING:
    from stemweave.diffusion.sampler import Progress
    from stemweave.model import StemModel
    from stemweave.tasks.requests import Method


class Mixture(NamedTuple):
    """A file and the name of its results, a path below the output folder."""

    file: str
    name: str


@dataclass(frozen=True)
class Separation:
    """What is asked of every file; see ``batch.separate_file`` and ``options.load``."""

    stems: tuple[str, ...]
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: Encoding = field(default_factory=Encoding)
    method: Method | None = None
    guidance: float | None = None
    steps: int | None = None
    sampler: str | None = None
    dtype: str = "auto"
    compile: bool = False
    seed: int = 0
    plot: bool = False
    existing: Literal["refuse", "skip", "replace"] = "refuse"

    @property
    def may_replace(self) -> bool:
        """Whether stem files that exist give way; with "skip" those of incomplete results."""
        return self.existing != "refuse"


@dataclass(frozen=True)
class SeparationJob:
    """One file for a worker; paths are absolute, for workers elsewhere."""

    source: Path
    folder: Path
    asked: Separation
    model: str | None
    device: str
    threads: int

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class Failure:
    """A file without stems, and why."""

    file: str
    reason: str


def find_mixtures(paths: Sequence[Path], out: Path) -> list[Mixture]:
    """Files as given; folders become the audio files below them, sorted, but for ``out``'s.

    A file of a folder is named by its path below it without suffix, so results lie as the files
    do; several folders keep their own names before that. Files of one name but for the suffix
    keep their suffixes. Hidden files and folders are passed by.

    Raises:
        InputError: if a folder holds no audio file.
    """
    several = sum(path.is_dir() for path in paths) > 1
    found: dict[str, str] = {}
    for path in paths:
        if not path.is_dir():
            found.setdefault(str(path), path.name)
            continue
        below = _audio_below(path, out)
        if not below:
            raise InputError(f"{path} holds no audio files ({', '.join(AUDIO_SUFFIXES)})")
        prefix = f"{path.resolve().name}/" if several else ""
        for name in below:
            found.setdefault(str(path / name), prefix + name)
    shared = Counter(os.path.splitext(name)[0] for name in found.values())
    mixtures, taken = [], set()
    for file, full_name in found.items():
        short = os.path.splitext(full_name)[0]
        name = first = short if shared[short] == 1 else full_name
        number = 2
        while name in taken:  # files that were given one by one, from several folders
            name, number = f"{first}-{number}", number + 1
        taken.add(name)
        mixtures.append(Mixture(file, name))
    return mixtures


def find_mixtures_beside(paths: Sequence[Path]) -> list[Mixture]:
    """As ``find_mixtures``, but results of each path go to a folder beside it, ``<path>.stems``."""
    found: dict[str, Mixture] = {}
    for path in paths:
        named = path if path.name not in ("", "..") else path.resolve()
        results = Path(f"{named}.stems")
        for file, name in find_mixtures([path], results):
            place = results / name if path.is_dir() else results
            found.setdefault(file, Mixture(file, str(place)))
    return list(found.values())


def _audio_below(folder: Path, out: Path) -> list[str]:
    """Paths below ``folder`` with /, sorted."""
    results = out.resolve()
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name).resolve() != results
        ]
        below = Path(parent).relative_to(folder)
        names += [
            (below / name).as_posix()
            for name in files
            if not name.startswith(".") and name.lower().endswith(AUDIO_SUFFIXES)
        ]
    return sorted(names)


def stem_files(folder: Path, asked: Separation) -> dict[str, Path]:
    """Where each stem of a file goes, and each sum of stems."""
    return {name: folder / f"{name}.{asked.encoding}" for name in (*asked.stems, *asked.sums)}


def is_complete(folder: Path, asked: Separation) -> bool:
    """Whether all stems are there. Files appear when they are whole: none is opened."""
    return folder.is_dir() and all(
        path.is_file() and path.stat().st_size > 0 for path in stem_files(folder, asked).values()
    )


def unfinished(mixtures: Sequence[Mixture], out: Path, asked: Separation) -> Sequence[Mixture]:
    """All, or with "skip" those whose stems are not all there."""
    if asked.existing != "skip":
        return mixtures
    return [mixture for mixture in mixtures if not is_complete(out / mixture.name, asked)]


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

    from stemweave.options import load

    torch.set_num_threads(threads)
    return load(model, device, sampler, dtype, compile)


def separate_song(job: SeparationJob) -> Failure | None:
    """Write the stems of one file, all or none; why not, if that is the file's fault.

    Raises:
        OutputError: if results cannot be written.
    """
    show_warnings()
    if job.asked.existing != "replace" and is_complete(job.folder, job.asked):
        return None  # finished, but its worker died before it could tell
    try:
        probe_audio(job.source)
        with appearing(job.folder) as partial:
            asked = job.asked
            pipe = worker_pipeline(
                job.model, job.device, asked.sampler, job.threads, asked.dtype, asked.compile
            )
            separate_into(pipe, job.source, partial, job.asked)
            if job.folder.is_dir():  # it holds other files: these join them
                for path in partial.iterdir():
                    path.replace(job.folder / path.name)
    except OutputError:
        raise
    except InputError as error:
        return Failure(str(job.source), str(error))
    except OSError as error:
        raise OutputError(f"cannot write {job.folder}: {error.strerror or error}") from error
    return None


def separate_into(
    pipe: StemModel,
    source: Path,
    folder: Path,
    asked: Separation,
    progress: Progress | None = None,
) -> None:
    """Write the stems of ``source``, and the picture if wanted, to ``folder``."""
    from stemweave.batch import separate_file

    written = separate_file(
        pipe,
        source,
        folder,
        stems=asked.stems,
        sums=asked.sums,
        encoding=asked.encoding,
        method=asked.method,
        guidance=asked.guidance,
        steps=asked.steps,
        seed=asked.seed,
        overwrite=asked.may_replace,
        progress=progress,
    )
    if asked.plot:
        from stemweave.plots import plot_files

        plot_files({"mixture": source, **written}, folder / "spectrograms.png")


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


def separate_on_workers(
    mixtures: Sequence[Mixture],
    out: Path,
    asked: Separation,
    model: str | None,
    device: str,
    workers: Workers,
) -> Iterator[Failure | None]:
    """Separate ``mixtures`` over ``workers``: why not, or None, for each as they finish.

    Ends early if so many fail through no fault of theirs that going on is useless.

    Raises:
        InputError: if Ray, its cluster or its GPUs are missing.
    """
    if model is not None and Path(model).is_dir():
        model = str(Path(model).absolute())
    folder = out.absolute()
    todo = []
    for mixture in mixtures:
        files = stem_files(folder / mixture.name, asked).values()
        existing = None if asked.may_replace else next((p for p in files if p.exists()), None)
        if existing is None:
            todo.append(mixture)
        else:
            reason = f"{existing} exists: skip what is there, or have it replaced"
            yield Failure(mixture.file, reason)
    jobs = (
        SeparationJob(Path(file).absolute(), folder / name, asked, model, device, workers.threads)
        for file, name in todo
    )
    try:
        staging = Staging(folder)
    except OSError as error:
        raise writing_failed(folder, error) from error
    with staging:  # folders that were made for nothing go when the workers have ended
        for outcome in outcomes(separate_song, jobs, workers, len(todo)):
            if isinstance(outcome, Failed):
                yield Failure(str(outcome.job.source), _sentence(outcome.error))
            else:
                yield outcome


def _sentence(error: Exception) -> str:
    if isinstance(error, (InputError, WorkerDied)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """One JSON object a line, {"file": ..., "reason": ...}; an empty file if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as partial:
        partial.write_text("".join(json.dumps(asdict(failure)) + "\n" for failure in failures))
