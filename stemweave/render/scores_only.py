"""Composed songs without sound: their sheets and scores, for what learns from notes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stemweave.io.files import appearing
from stemweave.io.jobs import TWO_PROCESSES, Workers, map_jobs
from stemweave.render.collection import (
    DEFAULT_OPTIONS,
    CompositionOptions,
    compose,
    worker_synthesiser,
)
from stemweave.render.compose import Unplayable
from stemweave.render.sheets import Music, score_of, sheet_of_composed
from stemweave.render.soundfonts import soundfonts_by_stem

SAMPLE_RATE = 16000
"""Of the synthesiser that is asked which kits its SoundFonts have; nothing is rendered."""
MOST_DRAWS = 50


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """What a worker needs to compose one song's notes; paths are absolute."""

    folder: Path
    seed: int
    index: int
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]]
    options: CompositionOptions


def make_score(job: ScoreJob) -> bool:
    """Write one song's sheet and score, those that ``collection.make_song`` would; whether new."""
    if job.folder.exists():
        return False
    for attempt in range(MOST_DRAWS):
        try:
            composed, sounds = compose([job.seed, job.index, attempt], job.options, job.soundfonts)
        except Unplayable:
            continue
        sheet = sheet_of_composed(composed, sounds, worker_synthesiser(SAMPLE_RATE))
        with appearing(job.folder) as partial:
            partial.mkdir()
            Music(sheet, score_of(composed.stems, sheet)).write(partial)
        return True
    raise RuntimeError(f"song {job.index}: {MOST_DRAWS} draws in a row were unplayable")


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

    Folders that exist are kept; returns how many songs are new.

    Raises:
        InputError: if mma or a SoundFont is missing.
    """
    by_stem = soundfonts_by_stem(soundfonts)
    jobs = (
        ScoreJob(
            folder=data.absolute() / f"song_{index:05d}",
            seed=seed,
            index=index,
            soundfonts=by_stem,
            options=options,
        )
        for index in range(first, first + num_songs)
    )
    return sum(map_jobs(make_score, jobs, workers, num_songs))
