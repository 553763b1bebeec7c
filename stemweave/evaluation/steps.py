"""Quality by number of network passes, for each sampler: separation and generation.

Every row sees the same segments, the same seeds and the same real mixtures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.data.songs import Song
from stemweave.diffusion.schedulers import SAMPLERS, with_sampler
from stemweave.errors import InputError
from stemweave.evaluation import frechet, generation, separation
from stemweave.evaluation.embeddings import Embedding
from stemweave.evaluation.pieces import pipeline_generator
from stemweave.evaluation.results import Evaluation, Example
from stemweave.evaluation.table import MEANING, Cell, Table

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
    table, examples = Table("Number of passes", notes=[MEANING]), list[Example]()
    if num_segments:
        for sampler in samplers:
            for steps in sorted(separation_steps):
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
                    ).table.measures
                for measure, (source, row) in SEPARATION_MEASURES.items():
                    for column, cell in scored.get(source, {}).get(row, {}).items():
                        table.put(measure, row_name(sampler, steps), column, cell)
    if num_clips:
        if len(songs) < 2 or num_clips < 2:
            raise InputError("generation needs at least 2 songs and 2 clips")
        rows = [(sampler, steps) for sampler in samplers for steps in sorted(generation_steps)]
        base, floor = (
            generation.mixtures_of(pipe, half, num_clips) for half in (songs[0::2], songs[1::2])
        )
        seeds = range(seed, seed + num_clips)
        made, examples = generated(table, pipe, rows, seeds, num_examples, progress)
        put_distances(table, base, floor, made, pipe, rows, embedding, resamples)
    table.metadata.update(segments=num_segments, clips=num_clips, songs=len(songs), seed=seed)
    return Evaluation(table, examples, pipe.log_mel.config.sample_rate)


@torch.inference_mode()
def generated(
    table: Table,
    pipe: Any,
    rows: Sequence[tuple[str, int]],
    seeds: Sequence[int],
    num_examples: int,
    progress: bool,
) -> tuple[dict[str, Tensor], list[Example]]:
    """Mixtures (N, T) of each row, a (sampler, passes), and examples; levels and times."""
    config, names = pipe.log_mel.config, list(pipe.denoiser.config.stems)
    duration_s = pipe.log_mel.segment_samples / config.sample_rate
    made, examples = {}, []
    for sampler, steps in rows:
        row, seconds = row_name(sampler, steps), []
        stem_set = generation.StemSet(row, names, config.sample_rate, num_coherent=0)
        generate = pipeline_generator(pipe, duration_s, {"steps": steps})
        with sampling_by(pipe, sampler):
            for index, seed in enumerate(tqdm(seeds, desc=row, disable=not progress)):
                began = time.perf_counter()
                stems = generate(seed)
                seconds.append(time.perf_counter() - began)
                stem_set.add(stems)
                if index < num_examples:
                    title = f"{row}, seed {seed}"
                    examples.append(generation.piece_example(title, names, stems))
        made[row] = torch.stack(stem_set.mixtures)
        table.put_all(stem_set.values)
        table.put(SECONDS, row, "median", Cell(statistics.median(seconds), count=len(seeds)))
    return made, examples


def put_distances(
    table: Table,
    base: tuple[Tensor, list[str]],
    floor: tuple[Tensor, list[str]],
    made: Mapping[str, Tensor],
    pipe: Any,
    rows: Sequence[tuple[str, int]],
    embedding: Embedding,
    resamples: int,
) -> None:
    """Distances of all rows, and each one's ratio to that of most passes."""
    clips = {generation.FLOOR_ROW: floor[0], **made}
    floor_songs = {generation.FLOOR_ROW: floor[1]}
    sample_rate = pipe.log_mel.config.sample_rate
    real, sets = generation.distances(
        table, embedding, base, clips, sample_rate, floor_songs, resamples
    )
    measure = generation.distance_measure(embedding.name)
    for sampler, steps in rows:
        own, most = (
            row_name(sampler, passes)
            for passes in (steps, max(count for other, count in rows if other == sampler))
        )
        ratio = frechet.ratio_with_interval(real, sets[own], sets[most], resamples)
        table.put(measure, own, RATIO, ratio)
