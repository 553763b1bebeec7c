"""Data sets of others as songs, used where they are: nothing is copied.

| layout | looks like |
|---|---|
| stemweave | ``manifest.jsonl``, or folders with ``song.json`` |
| slakh | ``[<split>/]TrackXXXXX/metadata.yaml`` and ``stems/S00.flac`` … (raw or redux) |
| moisesdb | ``<song>/data.json`` and ``<song>/<stem>/<track>.wav`` |
| musdb18hq | ``train|test/<song>/{mixture,vocals,drums,bass,other}.wav`` |
| folders | ``[<split>/]<song>/<stem>.wav|flac``, e.g. Slakh2100 with merged stems |

A stem may have several files, which are summed, or none, which is silence.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from stemweave.data.songs import MANIFEST, STEM_SUFFIXES, Song, find_stem, read_manifest, read_song
from stemweave.errors import InputError
from stemweave.io.decode import read_header
from stemweave.stems import stem_of_program

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

SILENCE_PEAK = 1e-4
"""A stem whose samples all stay below this (-80 dB of full scale) is silent."""


@dataclass(frozen=True)
class Skipped:
    """A song that cannot be used, and why."""

    folder: Path
    reason: str


@dataclass
class Findings:
    """What a data set holds."""

    layout: str
    songs: list[Song] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


class Unusable(ValueError):
    """A song that is skipped; the message is the reason."""


def read_data(
    data: Path,
    stems: Sequence[str],
    *,
    require_all: bool = False,
    min_duration_s: float = 1.0,
) -> Findings:
    """Songs below ``data`` (or in a manifest file) that have any of ``stems``.

    Args:
        require_all: skip songs that lack a stem (the paper's data).
        min_duration_s: skip shorter ones.

    Raises:
        InputError: if ``data`` does not exist or holds no song of a known layout.
    """
    if data.is_file() or (data / MANIFEST).is_file():
        findings = Findings("stemweave", read_manifest(data))
        findings.songs = [song for song in findings.songs if set(song.stems) & set(stems)]
        return findings
    if not data.is_dir():
        raise InputError(f"{data} is not a folder of songs: give a data set's folder")
    layout, folders = _detected(data, stems)
    findings = Findings(layout)
    for folder in folders:
        try:
            files = LAYOUTS[layout][1](folder, stems)
            song = _read(folder, data, layout, files, min_duration_s)
            missing = [stem for stem in stems if stem not in song.stems]
            if require_all and missing:
                raise Unusable(f"no {', '.join(missing)}")
            findings.songs.append(song)
        except (Unusable, InputError) as error:
            findings.skipped.append(Skipped(folder, str(error)))
    return findings


Files = dict[str, list[Path]]


def _detected(data: Path, stems: Sequence[str]) -> tuple[str, list[Path]]:
    """Layout and song folders of ``data``; raises ``InputError`` if there are none."""
    for layout, (marker, _) in LAYOUTS.items():
        folders = sorted(set(_song_folders(data, marker, stems)))
        if folders:
            return layout, folders
    raise InputError(
        f"{data} holds no songs: give a folder of Slakh2100, MUSDB18-HQ, MoisesDB, or of song "
        f"folders with files such as {stems[0]}.wav"
    )


def _song_folders(data: Path, marker: str, stems: Sequence[str]) -> Iterator[Path]:
    """Folders at or below ``data`` that hold ``marker``, or a stem's file without one."""
    if marker:
        yield from {path.parent for path in data.rglob(marker)}
        return
    for stem in stems:
        for suffix in STEM_SUFFIXES:
            yield from {path.parent for path in data.rglob(_escaped(stem) + suffix)}


def _escaped(name: str) -> str:
    return name.replace("[", "[[]")


def slakh_files(folder: Path, stems: Sequence[str]) -> Files:
    """Files by class; the class is given by program number and drum flag."""
    try:
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
        described: dict[str, Any] = metadata["stems"]
        files: Files = {}
        for name, about in described.items():
            stem = _slakh_class(about)
            if stem is None or stem not in stems or not about.get("audio_rendered", True):
                continue
            path = find_stem(folder / "stems", name)
            if path is not None:
                files.setdefault(stem, []).append(path)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unusable(f"metadata.yaml cannot be read ({_one_line(error)})") from error
    return files


def _slakh_class(about: dict[str, Any]) -> str | None:
    if about.get("is_drum"):
        return "drums"
    return stem_of_program(int(about["program_num"]))


def moisesdb_files(folder: Path, stems: Sequence[str]) -> Files:
    """Files by MoisesDB's own stem names, as ``data.json`` lists them."""
    try:
        files: Files = {}
        for about in json.loads((folder / "data.json").read_text())["stems"]:
            stem = about["stemName"]
            if stem in stems:
                for track in about["tracks"]:
                    name = f"{track['id']}.{track.get('extension', 'wav').lstrip('.')}"
                    files.setdefault(stem, []).append(folder / stem / name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"data.json cannot be read ({_one_line(error)})") from error
    return files


def plain_files(folder: Path, stems: Sequence[str]) -> Files:
    """``<stem>.flac`` or ``<stem>.wav``."""
    found = {stem: find_stem(folder, stem) for stem in stems}
    return {stem: [path] for stem, path in found.items() if path is not None}


LAYOUTS: dict[str, tuple[str, Callable[[Path, Sequence[str]], Files]]] = {
    "slakh": ("metadata.yaml", slakh_files),
    "moisesdb": ("data.json", moisesdb_files),
    "musdb18hq": ("vocals.wav", plain_files),
    "stemweave": ("song.json", plain_files),
    "folders": ("", plain_files),
}
"""Layout → the file that marks a song's folder, and how its stems' files are found."""


def _read(folder: Path, data: Path, layout: str, files: Files, min_duration_s: float) -> Song:
    """A song from its stems' files; raises ``Unusable``."""
    if not any(files.values()):
        raise Unusable("none of the stems is here")
    if layout == "stemweave":
        return read_song(folder, _split(folder, data, layout))
    lengths: dict[float, Path] = {}
    rates = set()
    for path in (path for paths in files.values() for path in paths):
        about = read_header(path)
        lengths[round(about.num_samples / about.sample_rate, 2)] = path
        rates.add(about.sample_rate)
    if len(lengths) > 1:
        (short_s, short), (long_s, long) = min(lengths.items()), max(lengths.items())
        if long_s - short_s > 0.05:
            raise Unusable(f"unequal lengths: {short.name} has {short_s} s, {long.name} {long_s} s")
    duration_s = min(lengths)
    if duration_s < min_duration_s:
        raise Unusable(f"too short: {duration_s} s")
    return Song(
        folder,
        _split(folder, data, layout),
        duration_s,
        min(rates),
        tuple(stem for stem in files if files[stem]),
        {stem: tuple(paths) for stem, paths in files.items() if paths},
    )


def _split(folder: Path, data: Path, layout: str) -> str:
    """Split by a folder's name on the way; else two songs in twelve are held out, by name."""
    parts = folder.relative_to(data).parts
    if "omitted" in parts:  # Slakh2100-redux keeps what leaks between its splits there
        raise Unusable("omitted by the data set's authors")
    named = [SPLITS[part.lower()] for part in parts if part.lower() in SPLITS]
    if data.name.lower() in SPLITS and not named:
        named = [SPLITS[data.name.lower()]]
    if named:
        if layout == "musdb18hq" and named[0] == "train" and folder.name in MUSDB_VALIDATION:
            return "validation"
        return named[0]
    return split_of_name(folder.name)


def split_of_name(name: str) -> str:
    """Split of a song that nobody assigned: of twelve, one validates and one tests."""
    return {0: "validation", 1: "test"}.get(zlib.crc32(name.encode()) % 12, "train")


def without_silence(findings: Findings, require_all: bool = False) -> Findings:
    """``findings`` less silent stems, unreadable songs and songs with nothing left; reads all.

    With ``require_all`` a song with one silent stem is skipped.
    """
    checked = Findings(findings.layout, skipped=list(findings.skipped))
    for song in findings.songs:
        try:
            heard = tuple(stem for stem in song.stems if _is_heard(song.stem_paths(stem)))
        except InputError as error:
            checked.skipped.append(Skipped(song.folder, str(error)))
            continue
        silent = [stem for stem in song.stems if stem not in heard]
        if not heard:
            checked.skipped.append(Skipped(song.folder, "all stems are silent"))
        elif silent and require_all:
            checked.skipped.append(Skipped(song.folder, f"silent: {', '.join(silent)}"))
        else:
            checked.songs.append(replace(song, stems=heard))
    return checked


def _is_heard(paths: Sequence[Path]) -> bool:
    """Whether any sample of any file exceeds ``SILENCE_PEAK``; raises ``InputError``."""
    for path in paths:
        try:
            with soundfile.SoundFile(path) as sound:
                for block in sound.blocks(2**18, dtype="float32"):
                    if np.abs(block).max() > SILENCE_PEAK:
                        return True
        except soundfile.LibsndfileError as error:
            raise InputError(f"{path} cannot be read: {error.error_string}") from error
    return False


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
