"""Sheets and scores of songs composed before, by composing them again from their seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stemweave.data.readers import Skipped
from stemweave.data.songs import Song, read_manifest, read_song
from stemweave.errors import InputError
from stemweave.io.jobs import TWO_PROCESSES, Workers, map_jobs
from stemweave.music.folder import write_music
from stemweave.music.lead_sheet import SHEET_FILE
from stemweave.music.midi import SCORE_FILE
from stemweave.render.collection import (
    DEFAULT_OPTIONS,
    CompositionOptions,
    compose,
    worker_synthesiser,
)
from stemweave.render.compose import Unplayable
from stemweave.render.sheets import music_of_composed
from stemweave.render.soundfonts import font_names, soundfonts_by_stem


@dataclass(frozen=True, kw_only=True)
class SheetJob:
    """Everything a worker needs to compose one song again; the path is absolute."""

    folder: Path
    options: CompositionOptions
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]]


@dataclass
class Recomposed:
    """What a run did: songs that have their sheet now, and those that were composed otherwise."""

    songs: int = 0
    skipped: list[Skipped] = dataclasses.field(default_factory=list)


def write_sheet(job: SheetJob) -> Song | Skipped:
    """Write one song's sheet and score, or say why it is not the song of its seed."""
    song = read_song(job.folder)
    seed = song.details.get("seed")
    if not isinstance(seed, list) or "groove_family" not in song.details:
        return Skipped(job.folder, "is not a composed song")
    options = job.options
    if "options" in song.details:
        known = song.details["options"]
        options = CompositionOptions(**{**known, "metres": tuple(known["metres"])})
    try:
        composed, sounds = compose(seed, options, job.soundfonts)
    except Unplayable as error:
        return Skipped(job.folder, f"was composed with other options ({error})")
    found = {
        "groove_family": composed.family,
        "tempo_bpm": round(composed.tempo_bpm, 3),
        "soundfonts": font_names(sounds),
    }
    for name, value in found.items():
        if song.details.get(name) != value:
            reason = f"was composed with other options: {name} would be {value}"
            return Skipped(job.folder, f"{reason}, not {song.details.get(name)}")
    synthesiser = worker_synthesiser(song.sample_rate)
    write_music(job.folder, *music_of_composed(composed, sounds, synthesiser))
    return song


def write_sheets(
    data: Path,
    *,
    soundfonts: Mapping[str, float] | None = None,
    options: CompositionOptions = DEFAULT_OPTIONS,
    workers: Workers = TWO_PROCESSES,
) -> Recomposed:
    """Write ``sheet.json`` and ``score.mid`` of every song in ``data``'s manifest that lacks one.

    ``soundfonts`` and ``options`` are those that the songs were composed with; songs that know
    their options have them from their ``song.json``, others are older and have mma's tempo. Raises
    ``InputError`` if there is no manifest, or a SoundFont or mma is missing.
    """
    songs = [
        song
        for song in read_manifest(data.absolute())
        if not ((song.folder / SHEET_FILE).exists() and (song.folder / SCORE_FILE).exists())
    ]
    by_stem = soundfonts_by_stem(soundfonts)
    older = dataclasses.replace(options, exact_tempo=False)
    jobs = (SheetJob(folder=s.folder, options=older, soundfonts=by_stem) for s in songs)
    done = Recomposed()
    for result in map_jobs(write_sheet, jobs, workers, len(songs)):
        if isinstance(result, Skipped):
            done.skipped.append(result)
        else:
            done.songs += 1
    if done.skipped and not done.songs:
        first = done.skipped[0]
        raise InputError(f"no sheet for any song of {data}: {first.folder.name} {first.reason}")
    return done
