"""Whether a data set is what one thinks: every file decoded, and what there is of every stem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stemweave.data.damage import MOST_PEAK
from stemweave.data.readers import Findings, Skipped
from stemweave.data.songs import Song, total_hours
from stemweave.errors import InputError
from stemweave.io.decode import AudioReader, probe_audio
from stemweave.io.jobs import TWO_PROCESSES, Workers, map_jobs

BLOCK = 2**18
"""Samples that are decoded at a time."""
SILENCE_PEAK = 1e-4
"""A stem whose samples all stay below this (-80 dB of full scale) is silent."""


def decoded(
    findings: Findings, require_all: bool = False, workers: Workers = TWO_PROCESSES
) -> Findings:
    """``findings`` less silent stems, songs with files that are missing, damaged or not finite, and
    songs with nothing left; all of every file is read.

    With ``require_all`` a song with one silent stem is skipped.
    """
    checked = replace(findings, songs=[], skipped=list(findings.skipped))
    order = {song.folder: number for number, song in enumerate(findings.songs)}
    results = map_jobs(_heard_stems, findings.songs, workers, len(order))
    for song, sounding, damage in sorted(results, key=lambda result: order[result[0].folder]):
        silent = [stem for stem in song.stems if stem not in sounding]
        if damage:
            checked.skipped.append(Skipped(song.folder, damage))
        elif not sounding:
            checked.skipped.append(Skipped(song.folder, "all stems are silent"))
        elif silent and require_all:
            checked.skipped.append(Skipped(song.folder, f"silent: {', '.join(silent)}"))
        else:
            checked.songs.append(replace(song, stems=tuple(sounding)))
    return checked


def _heard_stems(song: Song) -> tuple[Song, list[str], str]:
    """A song, those of its stems that are not silent, and what is wrong with its files."""
    try:
        peaks = {stem: max(map(peak_of, song.stem_paths(stem))) for stem in song.stems}
    except InputError as error:
        return song, [], str(error)
    return song, [stem for stem, peak in peaks.items() if peak > SILENCE_PEAK], ""


def is_audible(song: Song, stem: str) -> bool:
    """Whether ``song`` has files of ``stem`` that can be decoded and are not silent."""
    if stem not in song.stems:
        return False
    try:
        return any(peak_of(path) > SILENCE_PEAK for path in song.stem_paths(stem))
    except InputError:
        return False


def peak_of(path: Path) -> float:
    """The largest sample of all; raises ``InputError`` for what cannot be decoded or meant."""
    about = probe_audio(path)
    if about.shortfall:
        raise InputError(about.shortfall)
    reader, peak = AudioReader(path), 0.0
    for start in range(0, about.num_samples, BLOCK):
        block = reader(start, min(BLOCK, about.num_samples - start))
        if not bool(block.isfinite().all()):
            raise InputError(f"{path} has samples that are NaN or infinite: make it anew")
        peak = max(peak, float(block.abs().max()))
    if peak > MOST_PEAK:
        raise InputError(f"{path} has a peak of {peak:.3g} full scales: its level must be wrong")
    return peak


def report(findings: Findings, stems: Sequence[str]) -> str:
    """Songs, and hours by stem and split; what was noted and skipped, and why."""
    songs = findings.songs
    lines = [f"layout: {findings.layout}", f"songs: {len(songs)}"]
    rates = Counter(song.sample_rate for song in songs)
    lines.append("sample rates: " + ", ".join(f"{rate} Hz ({n})" for rate, n in rates.items()))
    lines += hours_table(songs, stems)
    for title, some in (("noted", findings.notes), ("skipped", findings.skipped)):
        if some or title == "skipped":
            lines.append(f"{title}: {len(some)}")
            lines += [f"  {one.folder}: {one.reason}" for one in some]
    return "\n".join(lines)


def hours_table(songs: Sequence[Song], stems: Sequence[str]) -> list[str]:
    """Lines of a table: hours of every stem, by split."""
    splits = [s for s in ("train", "validation", "test") if any(g.split == s for g in songs)]
    rows = [["hours", *splits, "all"]]
    for stem in [*stems, "any stem"]:
        having = [song for song in songs if stem in song.stems or stem == "any stem"]
        groups = [[song for song in having if song.split == split] for split in splits]
        rows.append([stem, *(f"{total_hours(group):.2f}" for group in [*groups, having])])
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]) for row in rows]
