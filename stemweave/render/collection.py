"""Many composed songs in parallel: song i of seed s is the same whoever makes it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from stemweave.data.readers import Skipped
from stemweave.data.songs import Song, append_line, append_to_manifest, listed_names, read_song
from stemweave.io.files import appearing
from stemweave.io.jobs import TWO_PROCESSES, Workers, map_jobs
from stemweave.music.folder import write_music
from stemweave.render.compose import ComposedSong, Unplayable, compose_song
from stemweave.render.form import Form
from stemweave.render.grooves import drawn_families
from stemweave.render.mastering import master
from stemweave.render.mixdown import Sound, draw_sounds, render_stems
from stemweave.render.score import Part
from stemweave.render.sheets import music_of_composed, write_stems
from stemweave.render.soundfonts import OTHER, font_names, soundfonts_by_stem
from stemweave.render.synth import Synthesiser

MOST_DRAWS = 50
OTHER_DRAWS, STYLE_DRAWS, MASTER_DRAWS = 1, 2, 3
"""Added to a song's seed for generators of their own."""
HEAVY, RIFFS = 0.12, 0.25
"""Shares of songs with recorded instruments whose guitars play heavy riffs, or any."""
SKIPPED = "skipped.jsonl"
"""Beside the manifest: files that gave no song, and why, so that a later run passes them by."""


@dataclass(frozen=True, kw_only=True)
class CompositionOptions:
    """What else a composed song is a function of, beside its seed and index: options of
    ``compose``.

    Metres named twice are drawn twice as often. ``crossed``: every stem's parts are those of one of
    several grooves. Not ``exact_tempo``: parts drift, as older songs' do. ``voices``: folders of
    recorded ones (see ``voices``). ``instruments``: a folder of ``STEM_*.sf2`` and
    ``cabinets/*.wav``, with amplifiers, and riffs in one song in four.
    """

    metres: tuple[str, ...] = ("4/4",)
    held_out_grooves: bool = False
    riffs: bool = False
    voiced: bool = False
    crossed: bool = False
    exact_tempo: bool = True
    voices: tuple[str, ...] = ()
    instruments: str | None = None
    mastered: bool = False


DEFAULT_OPTIONS = CompositionOptions()


@dataclass(frozen=True, kw_only=True)
class CompositionJob:
    """Everything a worker needs to make one song; paths are absolute, for workers elsewhere."""

    data: Path
    index: int
    seed: int
    split: str
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]]
    sample_rate: int
    options: CompositionOptions = DEFAULT_OPTIONS

    @property
    def folder(self) -> Path:
        """Of the song."""
        return self.data / f"song_{self.index:05d}"

    def drawn(self) -> tuple[list[int], ComposedSong, dict[str, Sound]]:
        """The song's seed, notes and sounds: the first draw that is playable."""
        for attempt in range(MOST_DRAWS):
            seed = [self.seed, self.index, attempt]
            with suppress(Unplayable):
                return seed, *compose(seed, self.options, self.soundfonts)
        raise RuntimeError(f"song {self.index}: {MOST_DRAWS} draws in a row were unplayable")


@lru_cache(maxsize=1)
def worker_synthesiser(sample_rate: int) -> Synthesiser:
    """This process's synthesiser, whose SoundFonts stay loaded from song to song."""
    return Synthesiser(sample_rate)


def make_song(job: CompositionJob) -> Song:
    """Compose, render and write one song, or read it if it exists."""
    folder = job.folder
    if folder.exists():  # finished, but its worker or the driver died before it was listed
        return read_song(folder)
    synthesiser = worker_synthesiser(job.sample_rate)
    seed, composed, sounds = job.drawn()
    duration_s, rng = composed.duration_s, np.random.default_rng([*seed, OTHER_DRAWS])
    more = other_stem(
        composed.form, composed.others, duration_s, job.options.voices, job.split, job.soundfonts,
        synthesiser, rng,
    )  # fmt: skip
    stems = render_stems(composed.stems, sounds, duration_s, synthesiser, more)
    if job.options.mastered:
        stems = master(stems, job.sample_rate, np.random.default_rng([*seed, MASTER_DRAWS]))
    details = {
        "origin": "composed by stemweave over grooves of mma 21.09",
        "licence": "CC0-1.0",
        "seed": seed,
        "groove_family": composed.family,
        "metre": composed.form.metre,
        "tempo_bpm": round(composed.tempo_bpm, 3),
        "soundfonts": font_names(sounds),
        "options": dataclasses.asdict(job.options),
    }
    duration_s = len(next(iter(stems.values()))) / job.sample_rate
    song = Song(folder, job.split, duration_s, job.sample_rate, tuple(stems), details=details)
    music = music_of_composed(composed, sounds, synthesiser)
    write_stems(folder, stems, job.sample_rate, song, music)
    return song


def other_stem(
    form: Form,
    others: Sequence[Part],
    duration_s: float,
    voices: Sequence[str],
    split: str,
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]],
    synthesiser: Synthesiser,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The stem ``other`` of a song by its name, if it has one (``render_other``); not unvoiced."""
    if not voices:
        return {}
    from stemweave.render.other import render_other
    from stemweave.render.voices import read_recordings

    recordings, fonts = read_recordings(tuple(voices), split), soundfonts[OTHER]
    other = render_other(form, others, duration_s, recordings, fonts, synthesiser, rng)
    return {} if other is None else {OTHER: other}


def compose(
    seed: Sequence[int],
    options: CompositionOptions,
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]],
) -> tuple[ComposedSong, dict[str, Sound]]:
    """The song of a seed, and how its stems sound; raises ``Unplayable``."""
    rng = np.random.default_rng(seed)
    riff, heavy, cabinets = options.riffs, False, list[Path]()
    if options.instruments is not None:
        style = np.random.default_rng([*seed, STYLE_DRAWS]).random()
        heavy = style < HEAVY
        riff = options.riffs or style < RIFFS
        cabinets = sorted(Path(options.instruments).glob("cabinets/*.wav"))
    composed = compose_song(
        drawn_families(options.metres, options.held_out_grooves),
        rng,
        riff=riff,
        crossed=options.crossed,
        exact_tempo=options.exact_tempo,
        metres=options.metres,
        with_others=bool(options.voices),
        heavy=heavy,
    )
    return composed, draw_sounds(list(composed.stems), soundfonts, rng, options.voiced, cabinets)


@dataclass
class Collected:
    """What a run added to a collection."""

    songs: int = 0
    hours: float = 0.0
    skipped: int = 0


def collect(results: Iterable[Song | Skipped], data: Path) -> Collected:
    """List every finished song in ``data``'s manifest and every skipped file beside it.

    Only the process that hands out the jobs does: a job that was done again after its worker died
    gives one line, and no two machines append to one file.
    """
    added = Collected()
    for result in results:
        if isinstance(result, Song):
            append_to_manifest(data, result)
            added.songs += 1
            added.hours += result.duration_s / 3600
        else:
            line = {"path": result.folder.as_posix(), "reason": result.reason}
            append_line(data / SKIPPED, json.dumps(line) + "\n")
            added.skipped += 1
    return added


def compose_collection(
    data: Path,
    num_songs: int,
    *,
    seed: int = 0,
    soundfonts: Mapping[str, float] | None = None,
    split: str = "train",
    first: int = 0,
    sample_rate: int = 16000,
    workers: Workers = TWO_PROCESSES,
    options: CompositionOptions = DEFAULT_OPTIONS,
) -> Collected:
    """Write songs ``first`` … ``first + num_songs - 1`` below ``data``; existing ones are kept.

    Raises ``InputError`` if a SoundFont, mma or grooves in one of the metres are missing.
    """
    by_stem = soundfonts_by_stem(soundfonts, options.instruments)
    drawn_families(options.metres, options.held_out_grooves)
    if options.voices:
        from stemweave.render.voices import read_recordings

        read_recordings(tuple(options.voices), split)
    data = data.absolute()
    data.mkdir(parents=True, exist_ok=True)
    existing = listed_names(data)
    jobs = [
        CompositionJob(
            data=data, index=index, seed=seed, split=split, soundfonts=by_stem,
            sample_rate=sample_rate, options=options,
        )
        for index in range(first, first + num_songs)
    ]  # fmt: skip
    todo = [job for job in jobs if job.folder.name not in existing]
    return collect(map_jobs(make_song, todo, workers, len(todo)), data)


def make_score(job: CompositionJob) -> bool:
    """Write the sheet and the score of the song that ``make_song`` would make; whether new."""
    if job.folder.exists():
        return False
    _, composed, sounds = job.drawn()
    music = music_of_composed(composed, sounds, worker_synthesiser(job.sample_rate))
    with appearing(job.folder) as partial:
        partial.mkdir()
        write_music(partial, *music)
    return True


def compose_scores(
    data: Path,
    num_songs: int,
    *,
    seed: int = 0,
    first: int = 0,
    soundfonts: Mapping[str, float] | None = None,
    options: CompositionOptions = DEFAULT_OPTIONS,
    workers: Workers = TWO_PROCESSES,
) -> int:
    """Write ``sheet.json`` and ``score.mid`` of songs ``first`` to ``first + num_songs``.

    Folders that exist are kept; returns how many songs are new. Raises ``InputError`` if mma or a
    SoundFont is missing.
    """
    by_stem = soundfonts_by_stem(soundfonts)
    jobs = (
        CompositionJob(
            data=data.absolute(), index=index, seed=seed, split="train", soundfonts=by_stem,
            sample_rate=16000, options=options,
        )
        for index in range(first, first + num_songs)
    )  # fmt: skip
    return sum(map_jobs(make_score, jobs, workers, num_songs))
