"""Data sets of others as songs, used where they are: nothing is copied.

| layout | looks like |
|---|---|
| stemweave | ``manifest.jsonl``, or folders with ``song.json`` |
| slakh | ``[<split>/]TrackXXXXX/metadata.yaml`` and ``stems/S00.flac`` … (raw or redux) |
| moisesdb | ``<song>/data.json`` and ``<song>/<stem>/<track>.wav`` |
| musdb18hq | ``train|test/<song>/{mixture,vocals,drums,bass,other}.wav`` |
| folders | ``[<split>/]<song>/<stem>.wav|flac|mp3|…``, e.g. Slakh2100 with merged stems |

A stem may have several files, which are summed, or none, which is silence.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stemweave.data.songs import MANIFEST, STEM_SUFFIXES, Song, find_stem, read_manifest, read_song
from stemweave.errors import InputError
from stemweave.io.decode import read_header
from stemweave.io.own_code import imported
from stemweave.stems import OTHER, stem_of_program

SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}
"""Folder names that say which split songs belong to."""

MUSDB_VALIDATION = (
    "Actions - One Minute Smile",
    "Alexander Ross - Goodbye Bolero",
    "ANiMAL - Rockshow",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Fergessen - Nos Palpitants",
    "James May - On The Line",
    "Johnny Lokke - Promises & Lies",
    "Leaf - Summerghost",
    "Meaxic - Take A Step",
    "Patrick Talbot - A Reason To Leave",
    "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens",
    "Triviul - Angelsaint",
    "Young Griffo - Pennies",
)
"""Songs of MUSDB18's training folder that are its validation set by convention."""

MOST_UNEVEN_S = 10.0
"""Stems whose lengths differ by less are as long as the shortest (MoisesDB has 50 such songs)."""


@dataclass(frozen=True)
class Skipped:
    """A song that cannot be used (or, among ``notes``, one that is changed), and why."""

    folder: Path
    reason: str


@dataclass
class Findings:
    """What a data set holds."""

    layout: str
    songs: list[Song] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Skipped] = field(default_factory=list)


class Unusable(ValueError):
    """A song that is skipped; the message is the reason."""


SLAKH_CLASSES = (
    "Piano", "Chromatic Percussion", "Organ", "Guitar", "Bass", "Strings", "Strings (continued)",
    "Ensemble", "Brass", "Reed", "Pipe", "Synth Lead", "Synth Pad", "Synth Effects", "Ethnic",
    "Percussive", "Sound Effects", "Sound effects", "Drums",
)  # fmt: skip
"""Every ``inst_class`` of Slakh2100, as General MIDI names its groups of programs."""
Classes = Mapping[str, Sequence[str]]
"""Stem → Slakh's ``inst_class`` names that it is the sum of."""


def read_data(
    data: Path,
    stems: Sequence[str],
    *,
    require_all: bool = False,
    min_duration_s: float = 1.0,
    classes: Classes | None = None,
    layout: str | None = None,
) -> Findings:
    """Songs below ``data`` (or in a manifest file) that have any of ``stems``.

    Links to folders are followed. A folder whose description cannot be used is looked at as a plain
    one, and so are those in it.

    Args:
        require_all: skip songs that lack a stem (the paper's data).
        min_duration_s: skip shorter ones.
        classes: of Slakh's instruments, for stems that are not the programs' own four.
        layout: package.module:function of one's own, (data, stems) → songs.

    Raises ``InputError`` if ``data`` does not exist or holds no song of a known layout.
    """
    search = Search(data, stems, require_all, min_duration_s, classes or {})
    if layout is not None:
        return _of_list(layout, imported(layout)(data, stems), search)
    if data.is_file() or (data / MANIFEST).is_file():
        return _of_list("stemweave", read_manifest(data), search)
    if not data.is_dir():
        raise InputError(f"{data} is not a folder of songs: give a data set's folder")
    findings, layouts = Findings(""), Counter[str]()
    _look_into(data, search, findings, layouts, seen=frozenset())
    if not findings.songs and not findings.skipped:
        raise InputError(
            f"{data} holds no songs: give a folder of Slakh2100, MUSDB18-HQ, MoisesDB, or of song "
            f"folders with files such as {stems[0]}.wav"
        )
    findings.layout = ", ".join(layout for layout, _ in layouts.most_common()) or "unknown"
    return findings


class Search(NamedTuple):
    """What is looked for: see ``read_data``."""

    data: Path
    stems: Sequence[str]
    require_all: bool
    min_duration_s: float
    classes: Classes


def _of_list(layout: str, songs: Iterable[Song], search: Search) -> Findings:
    """Songs that somebody has listed, as far as they are wanted."""
    findings = Findings(layout)
    for song in songs:
        try:
            _require_wanted(song.stems, song.duration_s, search)
            findings.songs.append(song)
        except Unusable as error:
            findings.skipped.append(Skipped(song.folder, str(error)))
    return findings


def _require_wanted(stems: Collection[str], duration_s: float, search: Search) -> None:
    """Raise ``Unusable`` for a song that lacks stems or is too short."""
    missing = [stem for stem in search.stems if stem not in stems]
    if len(missing) == len(search.stems):
        raise Unusable("none of the stems is here")
    if search.require_all and missing:
        raise Unusable(f"no {', '.join(missing)}")
    if duration_s < search.min_duration_s:
        raise Unusable(f"too short: {duration_s} s")


Files = dict[str, list[Path]]


def _look_into(
    folder: Path, search: Search, findings: Findings, layouts: Counter[str], seen: frozenset[Path]
) -> None:
    """Add the song in ``folder``, or those below it, to ``findings``."""
    real = folder.resolve()
    if real in seen:  # a link to where it came from
        return
    try:
        names = {path.name.casefold(): path for path in sorted(folder.iterdir())}
    except OSError as error:
        findings.skipped.append(Skipped(folder, f"cannot be read ({error.strerror})"))
        return
    reasons = []
    for layout in _layouts_of(names, search.stems):
        try:
            files = LAYOUTS[layout][1](folder, search)
            song, note = _read(folder, layout, files, search)
        except (Unusable, InputError) as error:
            reasons.append(str(error))
            continue
        findings.songs.append(song)
        layouts[layout] += 1
        if note:
            findings.notes.append(Skipped(folder, note))
        return
    if reasons:
        findings.skipped.append(Skipped(folder, reasons[0]))
    for path in names.values():
        if path.is_dir():
            _look_into(path, search, findings, layouts, seen | {real})


def _layouts_of(names: Collection[str], stems: Sequence[str]) -> list[str]:
    """Layouts that a folder with files of these ``names`` may have, the likeliest first."""
    found = [layout for layout, (marker, _) in LAYOUTS.items() if marker in names]
    wanted = {f"{stem}{suffix}".casefold() for stem in stems for suffix in STEM_SUFFIXES}
    if not wanted.isdisjoint(names) and "musdb18hq" not in found:
        found.append("folders")
    return found


def slakh_files(folder: Path, search: Search) -> Files:
    """Files by class; the class is given by program number and drum flag, or by its name."""
    try:
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
        described: dict[str, Any] = metadata["stems"]
        files: Files = {}
        for name, about in described.items():
            stem = _slakh_class(about, search.classes)
            if stem and stem in search.stems and about.get("audio_rendered", True):
                path = find_stem(folder / "stems", name)
                if path is None:
                    raise Unusable(f"stems/{name} is missing, which metadata.yaml lists")
                files.setdefault(stem, []).append(path)
    except Unusable:
        raise
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unusable(f"metadata.yaml cannot be read ({_one_line(error)})") from error
    return files


def _slakh_class(about: dict[str, Any], classes: Classes) -> str | None:
    for stem, names in classes.items():
        if about.get("inst_class") in names:
            return stem
    if about.get("is_drum"):
        return "drums"
    return stem_of_program(int(about["program_num"]))


def moisesdb_files(folder: Path, search: Search) -> Files:
    """Files by MoisesDB's own stem names, as ``data.json`` lists them."""
    try:
        files: Files = {}
        for about in json.loads((folder / "data.json").read_text())["stems"]:
            stem = about["stemName"]
            if stem in search.stems:
                for track in about["tracks"]:
                    name = f"{track['id']}.{track.get('extension', 'wav').lstrip('.')}"
                    files.setdefault(stem, []).append(folder / stem / name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"data.json cannot be read ({_one_line(error)})") from error
    return files


def plain_files(folder: Path, search: Search) -> Files:
    """``<stem>.flac``, ``<stem>.wav`` and so on."""
    found = {stem: find_stem(folder, stem) for stem in search.stems}
    return {stem: [path] for stem, path in found.items() if path is not None}


def musdb_files(folder: Path, search: Search) -> Files:
    """``plain_files``, but for MUSDB18's ``other`` where guitars and pianos, which it holds, are
    stems of their own.
    """
    files = plain_files(folder, search)
    if {"guitar", "piano"} & set(search.stems):
        files.pop(OTHER, None)
    return files


LAYOUTS: dict[str, tuple[str, Callable[[Path, Search], Files]]] = {
    "slakh": ("metadata.yaml", slakh_files),
    "moisesdb": ("data.json", moisesdb_files),
    "musdb18hq": ("vocals.wav", musdb_files),
    "stemweave": ("song.json", plain_files),
    "folders": ("", plain_files),
}
"""Layout → the file that marks a song's folder, and how its stems' files are found."""


def _read(folder: Path, layout: str, files: Files, search: Search) -> tuple[Song, str]:
    """A song from its stems' files, and what is to be noted of it; raises ``Unusable``."""
    _require_wanted([stem for stem, paths in files.items() if paths], math.inf, search)
    split = _split(folder, search.data, layout)
    if layout == "stemweave":
        song = read_song(folder, split)
        _require_wanted(song.stems, song.duration_s, search)
        return song, ""
    lengths: dict[float, Path] = {}
    rates = set()
    for path in (path for paths in files.values() for path in paths):
        about = read_header(path)
        lengths[round(about.num_samples / about.sample_rate, 2)] = path
        rates.add(about.sample_rate)
    (short_s, short), (long_s, long) = min(lengths.items()), max(lengths.items())
    note = ""
    if long_s - short_s > 0.05:
        note = f"unequal lengths: {short.name} has {short_s} s, {long.name} {long_s} s"
        if long_s - short_s > MOST_UNEVEN_S:
            raise Unusable(note)
        note += f": {short_s} s are used"
    _require_wanted(files, short_s, search)
    stems = {stem: tuple(paths) for stem, paths in files.items() if paths}
    return Song(folder, split, short_s, min(rates), tuple(stems), stems), note


def _split(folder: Path, data: Path, layout: str) -> str:
    """Split by a folder's name on the way; else two songs in twelve are held out, by name."""
    parts = folder.relative_to(data).parts
    if "omitted" in parts:  # Slakh2100-redux keeps what leaks between its splits there
        raise Unusable("omitted by the data set's authors")
    named = [SPLITS[part.lower()] for part in (*parts, data.name) if part.lower() in SPLITS]
    if not named:
        return split_of_name(folder.name)
    if layout == "musdb18hq" and named[0] == "train" and folder.name in MUSDB_VALIDATION:
        return "validation"
    return named[0]


def split_of_name(name: str) -> str:
    """Split of a song that nobody assigned: of twelve, one validates and one tests."""
    return {0: "validation", 1: "test"}.get(zlib.crc32(name.encode()) % 12, "train")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
