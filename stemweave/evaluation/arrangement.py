"""Arrangement scores: every subset of stems generated given the rest (14 for four stems).

Sub-FAD by the SingSong protocol (generated and given stems mixed, against real mixtures) and
coherence between the given and the generated part. Segments are stems (S, T).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.data.songs import Song
from stemweave.diffusion.schedulers import sampler_name
from stemweave.errors import InputError
from stemweave.evaluation import frechet
from stemweave.evaluation.coherence import MEASURES, agreement, describe_part
from stemweave.evaluation.embeddings import Embedding, embed_clips
from stemweave.evaluation.generation import mixtures_of
from stemweave.evaluation.results import Evaluation, Example
from stemweave.evaluation.segments import Segment, model_segments
from stemweave.evaluation.signal_measures import is_silent
from stemweave.evaluation.table import MEANING, Samples, Table

REAL_ROW = "real stems"
OTHER_ROW = "another song's stems"
MODE_ROWS = {"known": "ours, known stems", "replace": "ours, replacement"}
"""How given stems are held: clean at timestep 0 as trained, or replaced at every step (paper)."""

Arranger = Callable[[int, Sequence[str]], Tensor]
"""(segment index, stems to generate) → these stems (len, T), in the given order."""


def proper_subsets(stems: Sequence[str]) -> list[tuple[str, ...]]:
    """Non-empty proper subsets of ``stems``, small ones first: B, D, G, P, BD, …, DGP."""
    sizes = range(1, len(stems))
    return [subset for size in sizes for subset in itertools.combinations(stems, size)]


def subset_code(subset: Sequence[str], stems: Sequence[str]) -> str:
    """``BD`` for bass and drums; whole names where two of ``stems`` share an initial."""
    initials = [stem[0] for stem in stems]
    if len(set(initials)) == len(initials):
        return "".join(stem[0] for stem in subset).upper()
    return "+".join(subset)


def other_song(segments: Sequence[Segment]) -> list[int]:
    """For each segment the index of the next one that is from another song."""
    count = len(segments)
    result = []
    for index, segment in enumerate(segments):
        following = ((index + step) % count for step in range(1, count))
        other = next((i for i in following if segments[i].folder != segment.folder), None)
        if other is None:
            raise InputError("arrangement needs segments of at least 2 songs with every stem")
        result.append(other)
    return result


def arrangers(
    pipe: Any,
    names: Sequence[str],
    segments: Sequence[Segment],
    stems: Tensor,
    modes: Sequence[str],
    settings: dict[str, Any],
    seed: int,
) -> dict[str, Arranger]:
    """Rows of the table: how each makes the missing stems of segment i; ``stems`` (N, S, T)."""
    others = other_song(segments)

    def real(index: int, subset: Sequence[str]) -> Tensor:
        return stems[index, [names.index(stem) for stem in subset]]

    def with_mode(mode: str) -> Arranger:
        def generated(index: int, subset: Sequence[str]) -> Tensor:
            given = {
                stem: stems[index, i][None] for i, stem in enumerate(names) if stem not in subset
            }
            made = pipe.arrange(
                given,
                pipe.log_mel.config.sample_rate,
                generator=torch.Generator().manual_seed(seed + index),
                inpainting=mode,
                **settings,
            )
            return torch.stack([made[stem].reshape(-1)[: stems.shape[-1]] for stem in subset])

        return generated

    rows: dict[str, Arranger] = {
        REAL_ROW: real,
        OTHER_ROW: lambda index, subset: real(others[index], subset),
    }
    return rows | {MODE_ROWS[mode]: with_mode(mode) for mode in modes}


class SubsetScores:
    """Scores of one subset: coherence per segment and the mixtures the sub-FAD is taken of."""

    def __init__(self, names: Sequence[str], subset: Sequence[str], sample_rate: int) -> None:
        self.subset, self.sample_rate = list(subset), sample_rate
        self.code = subset_code(subset, names)
        self.given = [stem for stem in names if stem not in subset]
        self.given_indices = [names.index(stem) for stem in self.given]
        self.mixtures: dict[str, list[Tensor]] = {}
        self.values: Samples = defaultdict(list)

    def add(self, stems: Tensor, index: int, rows: dict[str, Arranger]) -> dict[str, Tensor]:
        """Score segment ``index`` with true ``stems`` (S, T); returns each row's made stems.

        A part that was left silent agrees with nothing: 0 wherever the real part, which comes
        first in ``rows``, has a value.
        """
        given = stems[self.given_indices]
        part = describe_part(dict(zip(self.given, given.numpy(), strict=True)), self.sample_rate)
        made = {row: arrange(index, self.subset) for row, arrange in rows.items()}
        for row, generated in made.items():
            named = dict(zip(self.subset, generated.numpy(), strict=True))
            other = describe_part(named, self.sample_rate)
            found = agreement(part, other, self.sample_rate)
            if bool(is_silent(generated.sum(0))):  # undefined, but what sounds in truth is missing
                found = {m: self.values[m, REAL_ROW, self.code][-1] * 0 for m in found}
            for measure, value in found.items():
                self.values[measure, row, self.code].append(value)
            self.mixtures.setdefault(row, []).append(given.sum(0) + generated.sum(0))
        return made


@torch.inference_mode()
def evaluate_arrangement(
    pipe: Any,
    songs: Sequence[Song],
    num_segments: int = 32,
    *,
    embedding: Embedding,
    modes: Sequence[str] = ("known", "replace"),
    subsets: Sequence[Sequence[str]] | None = None,
    num_reference: int = 300,
    steps: int | None = None,
    seed: int = 0,
    num_examples: int = 2,
    progress: bool = False,
) -> Evaluation:
    """Arrange ``num_segments`` windows, in which every stem sounds, for every subset.

    Args:
        embedding: network of the sub-FAD.
        modes: keys of ``MODE_ROWS``; "known" needs a denoiser trained for it.
        subsets: stems to generate; all proper subsets if None.
        num_reference: real mixtures, all stems sounding, that the sub-FAD is taken against.
        seed: segment i draws its noise from ``seed + i``.

    Raises ``InputError`` for a data set without two songs that have every stem.
    """
    config, names = pipe.log_mel.config, list(pipe.denoiser.config.stems)
    found = list(model_segments(pipe, songs, num_segments, all_stems=True))
    segments, stems = [segment for segment, _ in found], torch.stack([s for _, s in found])
    if not getattr(pipe.denoiser.config, "known_stems", False):
        modes = [mode for mode in modes if mode != "known"]
    settings = {"steps": steps or pipe.config.generation_steps}
    rows = arrangers(pipe, names, segments, stems, modes, settings, seed)
    mixtures, mixture_songs = mixtures_of(pipe, songs, num_reference, all_stems=True)
    embedded = embed_clips(embedding, mixtures, config.sample_rate)
    reference = frechet.ClipSet.of(embedded, mixture_songs)
    folders = [str(segment.folder) for segment in segments]
    table, examples = Table("Arrangement", notes=[MEANING]), []
    chosen = [tuple(s) for s in subsets] if subsets is not None else proper_subsets(names)
    bar = tqdm(total=len(chosen) * len(segments), desc="arrangement", disable=not progress)
    for subset in chosen:
        scores = SubsetScores(names, subset, config.sample_rate)
        for index, true in enumerate(stems):
            made = scores.add(true, index, rows)
            if index < num_examples and subset in ((names[0], names[1]), (names[-1],)):
                title = f"{scores.code} for {segments[index].name}"
                examples.append(_example(title, scores, made, true))
            bar.update()
        table.put_all(scores.values, folders)
        _put_distances(table, embedding, reference, scores, folders)
    bar.close()
    for measure in table.measures:
        table.put_mean_column(measure, partial=True)  # drums alone have no harmony
    table.measures = dict(sorted(table.measures.items(), key=lambda item: item[0] in MEASURES))
    table.metadata.update(
        segments=len(segments),
        reference_clips=len(mixture_songs),
        songs=len(set(folders)),
        seed=seed,
        sampler=sampler_name(pipe.scheduler),
        **settings,
    )
    return Evaluation(table, examples, config.sample_rate)


def _put_distances(
    table: Table,
    embedding: Embedding,
    reference: frechet.ClipSet,
    scores: SubsetScores,
    songs: Sequence[str],
) -> None:
    distances = {
        "sub-FAD": frechet.fad,
        "sub-KAD": frechet.kad_within(frechet.median_bandwidth(reference.vectors)),
    }
    for row, mixtures in scores.mixtures.items():
        clips = embed_clips(embedding, torch.stack(mixtures), scores.sample_rate)
        made = frechet.ClipSet.of(clips, songs)
        for name, distance in distances.items():
            cell = frechet.with_interval(distance, reference, made, resamples=50)
            table.put(f"{name}, {embedding.name}", row, scores.code, cell)


def _example(title: str, scores: SubsetScores, made: dict[str, Tensor], true: Tensor) -> Example:
    given = true[scores.given_indices].sum(0)
    tracks = {
        row: {"together": given + generated.sum(0), "generated alone": generated.sum(0)}
        for row, generated in made.items()
    }
    return Example(title, {"given": {"given": given}, **tracks})
