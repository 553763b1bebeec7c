"""Which files are to be separated, how, and where their results go.

Of a folder everything with sound is, whatever its name, but for what Stemweave made itself. A
million files are kept as strings: about 300 MB.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from stemweave.errors import InputError
from stemweave.io.decode import AUDIO_SUFFIXES, is_audio
from stemweave.io.encoding import Encoding
from stemweave.io.output_names import (
    portable_name,
    portable_path,
    same_to_some,
    with_end,
    without_suffix,
)
from stemweave.io.records import RECORDS, own_files

OURS = "file that Stemweave made"
SILENT = "file without sound that can be read"
HIDDEN = "hidden file or folder"
LINKED = "linked folder"
LOCKED = "folder that may not be read"
SPECIAL = "special file"
RESULTS = "folder for results"


@dataclass(frozen=True)
class Separation:
    """What is asked of every file.

    Attributes:
        stems: to write; those of ``sums`` need not be among them.
        sums: stems to add up, by the name of the sum's file.
        optional: stems that are not written if they are silent throughout.
        method, guidance, steps: of ``StemModel.separate``.
        sampler, dtype, compile: of the model, where a worker loads it.
    """

    stems: Sequence[str]
    sums: Mapping[str, Sequence[str]] = field(default_factory=dict)
    optional: Sequence[str] = ()
    encoding: Encoding = field(default_factory=Encoding)
    method: str | None = None
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


def stem_files(folder: Path, asked: Separation) -> dict[str, Path]:
    """Where each stem of a file goes, and each sum of stems."""
    return {name: folder / f"{name}.{asked.encoding}" for name in (*asked.stems, *asked.sums)}


class Mixture(NamedTuple):
    """A file, and the folder ``out/name`` for its results."""

    file: str
    out: str
    name: str

    @property
    def folder(self) -> Path:
        return Path(self.out, self.name)


@dataclass
class Catalogue:
    """Files to separate, and how many were left out for which reason."""

    mixtures: list[Mixture] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def describe_left_out(self) -> str:
        """One phrase for users; empty if nothing was left out."""
        return ", ".join(
            f"{count} {reason}" if count == 1 else f"{count} {plural(reason)}"
            for reason, count in self.left_out.most_common()
        )


def plural(reason: str) -> str:
    """Of a reason to leave out a file or folder."""
    return reason.replace("file", "files").replace("folder", "folders")


def find_mixtures(paths: Sequence[Path], out: Path | None) -> Catalogue:
    """Files as given; folders become what has sound below them, sorted, but for ``out``'s.

    A file of a folder is named by its path below it without suffix, so results lie as the files
    do; several folders keep their own names before that. Files of one name but for the suffix
    keep their suffixes. What Windows cannot hold in a name is replaced. Without ``out``, results
    lie beside each path, in ``<path>.stems``.

    Raises:
        InputError: if a folder holds nothing to separate.
    """
    paths = _once(paths)
    if out is None:
        return _found_beside(paths)
    found: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    several = sum(map(os.path.isdir, paths)) > 1
    for path in paths:
        if not os.path.isdir(path):
            found.setdefault(str(path), path.name)
            continue
        in_folder: Counter[str] = Counter()
        below = sorted(_sounds_below(path, out, in_folder))
        left_out += in_folder
        if not below:
            reasons = Catalogue(left_out=in_folder).describe_left_out() or "it is empty"
            raise InputError(f"{path} holds no audio files to separate: {reasons}")
        prefix = f"{path.resolve().name}/" if several else ""
        for name in below:
            found.setdefault(str(path / name), prefix + name)
    return Catalogue([Mixture(file, str(out), name) for file, name in _named(found, out)], left_out)


def _once(paths: Sequence[Path]) -> list[Path]:
    """``paths`` without those that are others, spelt in another way."""
    places = {os.path.join(os.path.realpath(path.parent), path.name): path for path in paths[::-1]}
    return list(places.values())[::-1]


def _found_beside(paths: Sequence[Path]) -> Catalogue:
    """``find_mixtures`` for each path alone, results beside it, where there must be a place."""
    found = Catalogue()
    for path in paths:
        named = path if path.name not in ("", "..") else path.resolve()
        if not named.name:
            raise InputError(f"beside {path} is no place for results: give a folder for them (-o)")
        results = named.with_name(with_end(portable_name(named.name), ".stems"))
        if os.path.isdir(path):
            below = find_mixtures([path], results)
            found.mixtures += below.mixtures
            found.left_out += below.left_out
        else:
            found.mixtures.append(Mixture(str(path), str(results.parent), results.name))
    return Catalogue(list(dict.fromkeys(found.mixtures)), found.left_out)


def _named(found: dict[str, str], out: Path) -> Iterator[tuple[str, str]]:
    """Give each file of ``found``, by its path below its folder, results of its own name.

    A folder cannot have the name of a file in ``out``, which may be the sound itself.
    """
    short = {file: portable_path(without_suffix(name)) for file, name in found.items()}
    shared = Counter(map(same_to_some, short.values()))
    taken: set[str] = set()
    for file, full_name in found.items():
        name = short[file]
        if shared[same_to_some(name)] > 1:
            name = portable_path(full_name)
        if os.path.isfile(os.path.join(out, name)):
            folder, last = os.path.split(name)
            name = os.path.join(folder, with_end(last, ".stems"))
        first, number = name, 2
        while same_to_some(name) in taken:  # files that were given one by one, from several folders
            folder, last = os.path.split(first)
            name, number = os.path.join(folder, with_end(last, f"-{number}")), number + 1
        taken.add(same_to_some(name))
        yield file, name


def _sounds_below(folder: Path, out: Path, left_out: Counter[str]) -> Iterator[str]:
    """Paths below ``folder``, with /, of what has sound."""
    results = os.path.realpath(out)

    def refused(_: OSError) -> None:
        left_out[LOCKED] += 1

    for parent, folders, files in os.walk(folder, onerror=refused):
        kept = []
        for name in folders:
            path = os.path.join(parent, name)
            if name.startswith("."):
                left_out[HIDDEN] += name != ".partial"
            elif os.path.islink(path):
                left_out[LINKED] += 1
            elif os.path.realpath(path) == results:
                left_out[RESULTS] = 1
            else:
                kept.append(name)
        folders[:] = kept
        ours = own_files(Path(parent)) if RECORDS.intersection(files) else frozenset()
        below = Path(parent).relative_to(folder)
        for name in files:
            reason = _reason_against(Path(parent, name), ours)
            if reason is None:
                yield (below / name).as_posix()
            elif reason:
                left_out[reason] += 1


def _reason_against(path: Path, ours: frozenset[str]) -> str | None:
    """Why a file of a folder is not separated; "" for what need not be said; None if it is.

    ``ours`` are those beside it that Stemweave made.
    """
    if path.name.startswith("."):
        return HIDDEN
    if path.name in ours:
        return OURS
    if os.path.exists(path) and not path.is_file():
        return SPECIAL
    if path.name.lower().endswith(AUDIO_SUFFIXES) or is_audio(path):
        return None
    return "" if ours else SILENT  # its record and pictures
