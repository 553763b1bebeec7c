"""Scores of edit, extend and vary: are the joints audible, and does distance follow strength?

Joints are measured in the mixture beside the same places of the real songs, where nothing was
joined, and beside another song put after the joint. Segments are stems (S, T), two model windows
long. Tasks get the sheet that the analyser finds, as their commands give it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.data.songs import Song
from stemweave.evaluation.arrangement import other_song
from stemweave.evaluation.results import Evaluation, Example
from stemweave.evaluation.seams import seam
from stemweave.evaluation.segments import model_segments
from stemweave.evaluation.separation import level_gain
from stemweave.evaluation.signal_measures import log_mel_l1
from stemweave.evaluation.table import MEANING, Cell, Samples, Table
from stemweave.stems import MIXTURE
from stemweave.tasks.compose import found_sheet

REAL_ROW = "real song, nothing joined"
OTHER_ROW = "another song after the joint"
EXTENDED_ROW = "ours, extended"
INTO_ROW = "ours, into an edit of all stems"
OUT_OF_ROW = "ours, out of it"
INTO_STEM_ROW = "ours, into an edit of {stem}"
OUT_OF_STEM_ROW = "ours, out of the edit of {stem}"
OTHER_SONG = "another song"
DISTANCE = "distance from the song (log-mel L1)"
VARIED_ROW = "ours, varied"
STRENGTHS = (0.0, 0.1, 0.3, 0.6, 1.0)


class EditingScores:
    """Runs the tasks on one segment after the other and collects the single values."""

    def __init__(self, pipe: Any, steps: int | None) -> None:
        self.pipe, self.names = pipe, list(pipe.denoiser.config.stems)
        self.sample_rate = int(pipe.log_mel.config.sample_rate)
        self.settings = {} if steps is None else {"steps": steps}
        self.values: Samples = defaultdict(list)

    def add_seam(self, row: str, before: Tensor, after: Tensor) -> None:
        for measure, value in seam(before, after, self.sample_rate).items():
            self.values[measure, row, "mean"].append(value)

    def add_joints(self, stems: Tensor, other: Tensor, seed: int) -> dict[str, Tensor]:
        """Score one segment (S, T) beside ``other`` (S, T); returns mixtures (T,) by row."""
        middle = stems.shape[-1] // 2
        middle_s = middle / self.sample_rate
        mixture = stems.sum(0)
        self.add_seam(REAL_ROW, mixture[:middle], mixture[middle:])
        self.add_seam(OTHER_ROW, mixture[:middle], other.sum(0)[middle:])
        extended = self._mixture("extend", stems[:, :middle], seed, seconds=middle_s / 2)
        self.add_seam(EXTENDED_ROW, extended[:middle], extended[middle:])
        made = {"real": mixture, "extended": extended}
        span_s = (0.75 * middle_s, 1.25 * middle_s)
        start, stop = (round(second * self.sample_rate) for second in span_s)
        drums = "drums" if "drums" in self.names else self.names[0]
        for renewed, into, out_of in (
            (self.names, INTO_ROW, OUT_OF_ROW),
            ([drums], INTO_STEM_ROW.format(stem=drums), OUT_OF_STEM_ROW.format(stem=drums)),
        ):
            edited = self._mixture("edit", stems, seed, renew=dict.fromkeys(renewed, span_s))
            self.add_seam(into, edited[:start], edited[start:stop])
            self.add_seam(out_of, edited[start:stop], edited[stop:])
            made[f"edited: {', '.join(renewed)}"] = edited
        return made

    def _mixture(self, task: str, stems: Tensor, seed: int, **options: Any) -> Tensor:
        return self._run(task, stems, seed, **options)[MIXTURE].reshape(-1)

    def _run(self, task: str, stems: Tensor, seed: int, **options: Any) -> dict[str, Tensor]:
        """Run ``task`` as its command does: with the sheet that the analyser finds."""
        piece = {name: stem[None] for name, stem in zip(self.names, stems, strict=True)}
        sheet = found_sheet(self.pipe, piece, self.sample_rate)
        if sheet is not None:
            options["sheet"] = sheet
        result: dict[str, Tensor] = getattr(self.pipe, task)(
            piece,
            self.sample_rate,
            generator=torch.Generator().manual_seed(seed),
            **options,
            **self.settings,
        )
        return result

    def add_variations(
        self, stems: Tensor, other: Tensor, strengths: Sequence[float], seed: int
    ) -> None:
        """Distances of one window (S, T) from its variations and from ``other`` (S, T)."""
        gain = level_gain(self.pipe, stems.sum(0))
        true = self.pipe.log_mel(gain * stems)
        rows = {}
        for strength in strengths:
            varied = self._run("vary", stems, seed, strength=strength)
            rows[f"{strength:g}"] = torch.cat([varied[name] for name in self.names])
        rows[OTHER_SONG] = other
        for column, waveforms in rows.items():
            distance = log_mel_l1(self.pipe.log_mel(gain * waveforms), true).mean().item()
            self.values[DISTANCE, VARIED_ROW, column].append(distance)

    def fill(self, table: Table, songs: Sequence[str]) -> None:
        table.put_all(self.values, songs)
        for (measure, row, _), values in self.values.items():
            if measure == DISTANCE:
                continue
            finite = [value for value in values if np.isfinite(value)]
            for share in (50, 90):
                value = float(np.percentile(finite, share)) if finite else float("nan")
                table.put(measure, row, f"{share} %", Cell(value, count=len(finite)))


@torch.inference_mode()
def evaluate_editing(
    pipe: Any,
    songs: Sequence[Song],
    num_segments: int = 16,
    *,
    num_variations: int | None = None,
    strengths: Sequence[float] = STRENGTHS,
    steps: int | None = None,
    seed: int = 0,
    num_examples: int = 4,
    progress: bool = False,
) -> Evaluation:
    """Extend, edit and vary ``num_segments`` pieces in which every stem sounds.

    Args:
        num_variations: pieces to vary (all if None): each takes a run per strength.
        steps: passed to every task where given.
        seed: piece i draws its noise from ``seed + i``.

    Raises ``InputError`` for a data set without two songs that have every stem.
    """
    scores = EditingScores(pipe, steps)
    found = list(model_segments(pipe, songs, num_segments, windows=2, all_stems=True))
    segments, pieces = [segment for segment, _ in found], [stems for _, stems in found]
    others = other_song(segments)
    examples = []
    for index, stems in enumerate(tqdm(pieces, desc="editing", disable=not progress)):
        other = pieces[others[index]]
        made = scores.add_joints(stems, other, seed + index)
        if index < num_examples:
            tracks = {row: {MIXTURE: mixture} for row, mixture in made.items()}
            examples.append(Example(segments[index].name, tracks))
        if num_variations is None or index < num_variations:
            window = slice(0, pipe.log_mel.segment_samples)
            scores.add_variations(stems[:, window], other[:, window], strengths, seed + index)
    table = Table("Editing", notes=[MEANING])
    scores.fill(table, [str(segment.folder) for segment in segments])
    table.metadata.update(
        segments=len(segments),
        songs=len({segment.folder for segment in segments}),
        seed=seed,
        **scores.settings,
    )
    return Evaluation(table, examples, scores.sample_rate)
