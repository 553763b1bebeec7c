"""Distances of generated mixtures from real ones, with a floor and ceilings in the same table.

Half of the songs (every other one) are the reference; everything else is measured against them,
always with the same number of clips. Clips are mono (N, T).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.data.song_conditions import read_song_conditions
from stemweave.data.songs import Song
from stemweave.diffusion.schedulers import sampler_name
from stemweave.errors import InputError
from stemweave.evaluation import frechet
from stemweave.evaluation.coherence import pairwise_coherence
from stemweave.evaluation.embeddings import Embedding, embed_clips
from stemweave.evaluation.obedience import Obedience
from stemweave.evaluation.pieces import Generator, Kind, chosen_kinds, own_generators
from stemweave.evaluation.results import Evaluation, Example
from stemweave.evaluation.segments import Segment, model_segments
from stemweave.evaluation.separation import level_gain, vae_round_trip, vocoded_at_model_rate
from stemweave.evaluation.signal_measures import is_silent, rms_dbfs
from stemweave.evaluation.table import MEANING, Cell, Samples, Table
from stemweave.evaluation.variety import fill_variety

GENERATED_ROW = "ours, generated"
FLOOR_ROW = "real, other songs (floor)"
VOCODED_ROW = "real through VAE + vocoder"
AT_LEVEL = ", at the reference's level"
SHUFFLED_ROW = "stems of different songs, summed"
SOLO_ROW = "single stems (wrong domain)"
NOISE_ROW = "white noise (ceiling)"
SILENCE_ROW = "silence (ceiling)"

COHERENCE = "coherence of the stems"
LEVEL = "stem level where it sounds (dBFS)"


class StemSet:
    """Pieces of one row: their mixtures, levels and coherence; stems are not kept."""

    def __init__(self, row: str, stems: Sequence[str], sample_rate: int, num_coherent: int) -> None:
        self.row, self.stems, self.sample_rate = row, list(stems), sample_rate
        self.num_coherent = num_coherent
        self.mixtures: list[Tensor] = []
        self.values: Samples = defaultdict(list)

    def add(self, stems: Tensor) -> None:
        """Add one piece, stems (S, T)."""
        self.mixtures.append(stems.sum(0))
        for name, stem in zip(self.stems, stems, strict=True):
            level = math.nan if bool(is_silent(stem)) else float(rms_dbfs(stem))
            self.values[LEVEL, self.row, name].append(level)
        if len(self.mixtures) <= self.num_coherent:
            named = dict(zip(self.stems, stems.numpy(), strict=True))
            for measure, value in pairwise_coherence(named, self.sample_rate).items():
                self.values[COHERENCE, self.row, measure].append(value)


def shuffled_pieces(real: Iterable[tuple[Segment, Tensor]]) -> Iterator[Tensor]:
    """Pieces (S, T) whose stem s is that of the s-th last of ``real``: no two fit together."""
    recent: list[tuple[Segment, Tensor]] = []
    for found in real:
        if found[0].folder in {segment.folder for segment, _ in recent}:
            continue
        recent.append(found)
        if len(recent) == found[1].shape[0]:
            yield torch.stack([stems[index] for index, (_, stems) in enumerate(recent)])
            recent.pop(0)


def distances(
    table: Table,
    embedding: Embedding,
    reference: tuple[Tensor, Sequence[str]],
    rows: Mapping[str, Tensor],
    sample_rate: int,
    songs: Mapping[str, Sequence[str]],
    resamples: int,
) -> tuple[frechet.ClipSet, dict[str, frechet.ClipSet]]:
    """Put FAD, FAD-inf and KAD of every row's clips (N, T) against ``reference`` into ``table``.

    ``reference`` comes with the song of each clip, and ``songs`` has them for rows of real clips.
    Returns the embedded reference and rows.
    """
    measure = distance_measure(embedding.name)
    clips, groups = reference
    base = frechet.ClipSet.of(embed_clips(embedding, clips, sample_rate), groups)
    kad = frechet.kad_within(frechet.median_bandwidth(base.vectors))
    sets = {
        row: frechet.ClipSet.of(embed_clips(embedding, made, sample_rate), songs.get(row))
        for row, made in rows.items()
    }
    for row, found in sets.items():
        for column, distance in {"FAD": frechet.fad, "KAD": kad}.items():
            table.put(measure, row, column, frechet.with_interval(distance, base, found, resamples))
        if len(found.clips) >= 12:
            infinite, fit = frechet.infinity_with_interval(base, found)
            table.put(measure, row, "FAD-inf", infinite)
            table.put(measure, row, "R² of FAD-inf", Cell(fit))
    return base, sets


def distance_measure(embedding: str) -> str:
    """Name of the table of distances in the embedding of this name."""
    return f"distance from real mixtures, {embedding}"


def ceilings(solo: Sequence[Tensor], reference: Tensor, seed: int) -> dict[str, Tensor]:
    """Clips that are not music of the data set: single stems, noise at its level, silence."""
    level = reference.square().mean().sqrt()
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(seed)) * level
    rows = {NOISE_ROW: noise, SILENCE_ROW: torch.zeros_like(reference)}
    return {SOLO_ROW: torch.stack(list(solo)), **rows} if len(solo) > 1 else rows


def at_level_of(clips: Tensor, reference: Tensor) -> Tensor:
    """``clips`` (N, T) times one number, so that their mean level in dB is the reference's."""
    difference_db = rms_dbfs(reference).mean() - rms_dbfs(clips).mean()
    return clips * float(10 ** (difference_db / 20))


@torch.inference_mode()
def evaluate_generation(
    pipe: Any,
    songs: Sequence[Song],
    num_clips: int = 300,
    *,
    embeddings: Sequence[Embedding],
    kinds: Sequence[Kind] | None = None,
    steps: int | None = None,
    others: Mapping[str, Generator] | None = None,
    seed: int = 0,
    num_coherent: int = 48,
    num_examples: int = 4,
    resamples: int = 100,
    progress: bool = False,
) -> Evaluation:
    """Generate ``num_clips`` windows and measure them against real ones.

    Args:
        embeddings: networks to take distances in.
        kinds: of pieces that are generated: of the scores (and sheets) of real songs, of their
            sheets, or of nothing; a row each. Scores by default, if the songs have them and the
            model understands them.
        steps: passed to ``pipe.generate`` where given.
        others: further systems by the name of their row, for the same stems in the same order.
        seed: clip i draws its noise from ``seed + i``.
        num_coherent: stems' coherence is measured on this many pieces of each row.
        resamples: bootstrap resamples behind each interval.

    Raises ``InputError`` for fewer than two songs or without an audible window.
    """
    if len(songs) < 2:
        raise InputError("generation needs at least 2 songs: half of them are the reference")
    if num_clips < 2:
        raise InputError("give at least 2 clips (-n)")
    config, names = pipe.log_mel.config, list(pipe.denoiser.config.stems)
    settings = {"steps": steps or pipe.config.generation_steps}
    base = mixtures_of(pipe, songs[0::2], num_clips)
    mixtures, reference_songs = base

    def real() -> Iterator[tuple[Segment, Tensor]]:
        return model_segments(pipe, songs[1::2], num_clips)

    segments = [segment for segment, _ in real()]
    kinds = chosen_kinds(pipe, kinds, segments)
    duration_s = pipe.log_mel.segment_samples / config.sample_rate
    generators = own_generators(pipe, duration_s, settings, kinds, segments, seed, GENERATED_ROW)
    of_songs = [row for row, kind in zip(generators, kinds, strict=True) if kind != "new"]
    generators |= others or {}
    obedience = Obedience(names, config.sample_rate)
    sets = {
        row: StemSet(row, names, config.sample_rate, num_coherent)
        for row in (FLOOR_ROW, *generators, SHUFFLED_ROW)
    }
    vocoded, solo, examples = [], [], []
    floor_songs, solo_songs = [], []
    for index, (segment, stems) in enumerate(real()):
        sets[FLOOR_ROW].add(stems)
        song = read_song_conditions(segment.folder)
        obedience.add(FLOOR_ROW, stems, song, segment.start_s)
        gain = level_gain(pipe, stems.sum(0))
        decoded = vae_round_trip(pipe.vae, pipe.log_mel(gain * stems))
        played = vocoded_at_model_rate(pipe, decoded, names)
        vocoded.append(played.sum(0)[: stems.shape[-1]] / gain)
        chosen = stems[index % len(names)]
        floor_songs.append(str(segment.folder))
        if not is_silent(chosen):
            solo.append(chosen)
            solo_songs.append(str(segment.folder))
        if index < min(2, num_examples):
            examples.append(piece_example(f"real: {segment.name}", names, stems))
    for stems in shuffled_pieces(real()):
        sets[SHUFFLED_ROW].add(stems)
    for row, generate in generators.items():
        for index in tqdm(range(num_clips), desc=row, disable=not progress):
            stems = generate(seed + index)
            sets[row].add(stems)
            if row in of_songs:
                segment = segments[index % len(segments)]
                song = read_song_conditions(segment.folder)
                obedience.add(row, stems, song, segment.start_s)
            if index < num_examples:
                examples.append(piece_example(f"{row}, seed {seed + index}", names, stems))
    table = Table("Generation", notes=[MEANING])
    rows = {row: torch.stack(s.mixtures) for row, s in sets.items() if len(s.mixtures) > 1}
    rows |= {VOCODED_ROW: torch.stack(vocoded), **ceilings(solo, mixtures, seed)}
    rows |= {row + AT_LEVEL: at_level_of(rows[row], mixtures) for row in generators}
    ordered = {row: rows[row] for row in row_order(generators) if len(rows.get(row, ())) > 1}
    real_songs = {row: floor_songs for row in (FLOOR_ROW, VOCODED_ROW)} | {SOLO_ROW: solo_songs}
    for embedding in embeddings:
        distances(table, embedding, base, ordered, config.sample_rate, real_songs, resamples)
        compared = {
            row: (ordered[row], real_songs.get(row))
            for row in (FLOOR_ROW, VOCODED_ROW, *generators)
            if row in ordered
        }
        fill_variety(table, embedding, base, compared, FLOOR_ROW, config.sample_rate, seed=seed)
    for values in (*(stem_set.values for stem_set in sets.values()), obedience.values):
        table.put_all(values)
    table.metadata.update(
        clips=num_clips,
        reference_clips=len(reference_songs),
        coherent=num_coherent,
        songs=len(songs),
        seed=seed,
        sampler=sampler_name(pipe.scheduler),
        **settings,
    )
    return Evaluation(table, examples, config.sample_rate)


def row_order(generated: Iterable[str]) -> list[str]:
    """Rows in the order of the table, best first as one would expect."""
    made = [name for row in generated for name in (row, row + AT_LEVEL)]
    return [FLOOR_ROW, VOCODED_ROW, *made, SHUFFLED_ROW, SOLO_ROW, NOISE_ROW, SILENCE_ROW]


def piece_example(title: str, names: Sequence[str], stems: Tensor) -> Example:
    """Stems (S, T) of one piece and their sum, to be listened to."""
    tracks = {"mixture": stems.sum(0), **dict(zip(names, stems, strict=True))}
    return Example(title, {"audio": tracks})


def mixtures_of(
    pipe: Any, songs: Sequence[Song], count: int, all_stems: bool = False
) -> tuple[Tensor, list[str]]:
    """Real mixtures (N, T) as long as the model's window, and the song of each."""
    found = list(model_segments(pipe, songs, count, all_stems=all_stems))
    folders = [str(segment.folder) for segment, _ in found]
    return torch.stack([stems.sum(0) for _, stems in found]), folders
