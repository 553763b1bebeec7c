"""Quality by number of network passes, for each sampler: separation and generation.

Every row sees the same segments, the same seeds and the same real mixtures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm

from stemweave.data.songs import Song
from stemweave.diffusion.schedulers import SAMPLERS, with_sampler
from stemweave.errors import InputError
from stemweave.evaluation import frechet, generation, separation
from stemweave.evaluation.embeddings import Embedding
from stemweave.evaluation.pieces import pipeline_generator
from stemweave.evaluation.results import Evaluation, Example
from stemweave.evaluation.segments import audible_segments
from stemweave.evaluation.table import Cell, Table

SEPARATION_STEPS = (1, 2, 4, 8)
GENERATION_STEPS = (8, 16, 25, 50)

SI_SDRI = f"separation: {separation.SI_SDRI}, mask"
SPECTRA_MSE = f"separation: {separation.MSE}, decoded spectra"
MASK_MSE = f"separation: {separation.MSE}, mask"
SEPARATION_MEASURES = {
    SI_SDRI: (separation.SI_SDRI, separation.DIFFUSION_ROW),
    SPECTRA_MSE: (separation.MSE, separation.SPECTRA_ROW),
    MASK_MSE: (separation.MSE, separation.DIFFUSION_ROW),
}
RATIO = "FAD over that of most passes"
SECONDS = "seconds per piece"


def row_name(sampler: str, steps: int) -> str:
    """``ddim, 8 passes``."""
    return f"{sampler}, {steps} {'pass' if steps == 1 else 'passes'}"


@contextmanager
def sampling_by(pipe: Any, sampler: str) -> Iterator[None]:
    """``pipe`` draws by ``sampler`` inside the block."""
    own = pipe.scheduler
    pipe.scheduler = with_sampler(own, sampler)
    try:
        yield
    finally:
        pipe.scheduler = own


def evaluate_steps(
    pipe: Any,
    songs: Sequence[Song],
    *,
    embedding: Embedding,
    samplers: Sequence[str] = tuple(SAMPLERS),
    separation_steps: Sequence[int] = SEPARATION_STEPS,
    generation_steps: Sequence[int] = GENERATION_STEPS,
    num_segments: int = 48,
    num_clips: int = 64,
    resamples: int = 100,
    seed: int = 0,
    num_examples: int = 1,
    progress: bool = False,
) -> Evaluation:
    """Score ``pipe`` with each sampler and number of passes.

    Args:
        samplers: keys of ``schedulers.SAMPLERS``.
        num_segments, num_clips: as for the tables of separation and generation; 0 leaves that half
            out.
        num_examples: pieces of each row that are kept for the report.

    Raises ``InputError`` for an unknown sampler, no passes, or songs that do not suffice.
    """
    for sampler in samplers:
        if sampler not in SAMPLERS:
            raise InputError(f"{sampler} is no sampler: choose of {', '.join(SAMPLERS)}")
    table, examples = Table("Number of passes"), []
    if num_segments:
        for sampler in samplers:
            for steps in sorted(separation_steps):
                put_separation(table, pipe, songs, num_segments, sampler, steps, seed, progress)
    if num_clips:
        if len(songs) < 2 or num_clips < 2:
            raise InputError("generation needs at least 2 songs and 2 clips")
        rows = [(sampler, steps) for sampler in samplers for steps in sorted(generation_steps)]
        examples = put_generation(
            table, pipe, songs, num_clips, rows, embedding, resamples, seed, num_examples, progress
        )
    table.notes = _notes(pipe)
    table.metadata.update(segments=num_segments, clips=num_clips, songs=len(songs), seed=seed)
    return Evaluation(table, examples, pipe.log_mel.config.sample_rate)


def put_separation(
    table: Table,
    pipe: Any,
    songs: Sequence[Song],
    num_segments: int,
    sampler: str,
    steps: int,
    seed: int,
    progress: bool,
) -> None:
    """Add the row of one sampler and number of passes to the measures of separation."""
    with sampling_by(pipe, sampler):
        scored = separation.evaluate_separation(
            pipe,
            songs,
            num_segments,
            steps=steps,
            methods=("spectra", "diffusion"),
            stems=pipe.stems,
            references=False,
            seed=seed,
            progress=progress,
        ).table
    for measure, (source, row) in SEPARATION_MEASURES.items():
        for column, cell in scored.measures.get(source, {}).get(row, {}).items():
            table.put(measure, row_name(sampler, steps), column, cell)


@torch.inference_mode()
def put_generation(
    table: Table,
    pipe: Any,
    songs: Sequence[Song],
    num_clips: int,
    rows: Sequence[tuple[str, int]],
    embedding: Embedding,
    resamples: int,
    seed: int,
    num_examples: int,
    progress: bool,
) -> list[Example]:
    """Add the measures of generation, a row for each (sampler, passes); returns examples."""
    config, names = pipe.log_mel.config, list(pipe.denoiser.config.stems)
    duration_s = pipe.log_mel.segment_samples / config.sample_rate
    halves = []
    for half in (songs[0::2], songs[1::2]):
        real = audible_segments(half, names, config.sample_rate, duration_s, num_clips)
        found = [(stems.sum(0), str(segment.folder)) for segment, stems in real]
        halves.append((torch.stack([clip for clip, _ in found]), [song for _, song in found]))
    made, examples = {generation.FLOOR_ROW: halves[1][0]}, []
    for sampler, steps in rows:
        row, seconds = row_name(sampler, steps), []
        stem_set = generation.StemSet(names, config.sample_rate, num_coherent=0)
        generate = pipeline_generator(pipe, duration_s, {"steps": steps})
        with sampling_by(pipe, sampler):
            for index in tqdm(range(num_clips), desc=row, disable=not progress):
                began = time.perf_counter()
                stems = generate(seed + index)
                seconds.append(time.perf_counter() - began)
                stem_set.add(stems)
                if index < num_examples:
                    tracks = {"mixture": stems.sum(0), **dict(zip(names, stems, strict=True))}
                    examples.append(Example(f"{row}, seed {seed + index}", {"audio": tracks}))
        made[row] = torch.stack(stem_set.mixtures)
        stem_set.fill_levels(table, row)
        table.put(SECONDS, row, "median", Cell(statistics.median(seconds), count=num_clips))
    floor_songs = {generation.FLOOR_ROW: halves[1][1]}
    base, sets = generation.distances(
        table, embedding, halves[0], made, config.sample_rate, floor_songs, resamples
    )
    for sampler, steps in rows:
        most = max(count for other, count in rows if other == sampler)
        ratio = frechet.ratio_with_interval(
            base, sets[row_name(sampler, steps)], sets[row_name(sampler, most)], resamples
        )
        measure = generation.distance_measure(embedding.name)
        table.put(measure, row_name(sampler, steps), RATIO, ratio)
    return examples


def _notes(pipe: Any) -> list[str]:
    return [
        "Rows: sampler and network passes (a pass with guidance other than 0 and 1 counts once). "
        "All rows have the same segments, seeds, schedule and real mixtures.",
        f"The model's defaults: {pipe.config.separation_steps} for separation, "
        f"{pipe.config.generation_steps} for generation. DDIM's eta is the model's.",
        f"'{RATIO}': of the same sampler; its interval draws the same clips and songs for both "
        "distances. Other intervals as in the tables of separation and generation.",
        "Seconds are wall-clock time with whatever else ran then.",
    ]
