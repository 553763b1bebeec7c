"""Copy synthesis: how much of a sound the vocoder gives back when it is told the true log-mel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.data.songs import Song
from stemweave.evaluation import signal_measures as measures
from stemweave.evaluation.results import Evaluation
from stemweave.evaluation.segments import audible_segments
from stemweave.evaluation.separation import level_gain, vae_round_trip
from stemweave.evaluation.table import Table
from stemweave.models.vocoder import griffin_lim
from stemweave.training.losses import multi_resolution_stft_distance

GRIFFIN_LIM_ROW = "Griffin-Lim, 60 iterations"
VOCODER_ROW = "vocoder"
VAE_ROW = "VAE + vocoder"
DISTANCE = "multi-resolution STFT distance"
L1 = "log-mel L1"


def resynthesised(pipe: Any, log_mel: Tensor, num_samples: int) -> dict[str, Tensor]:
    """Waveforms (S, T) by each method from log-mels (S, F, M)."""
    rows = {
        GRIFFIN_LIM_ROW: griffin_lim(pipe.log_mel, log_mel, iterations=60),
        VOCODER_ROW: pipe.vocoder(log_mel),
        VAE_ROW: pipe.vocoder(vae_round_trip(pipe.vae, log_mel)),
    }
    return {row: waveform[:, :num_samples] for row, waveform in rows.items()}


@torch.inference_mode()
def evaluate_copy_synthesis(
    pipe: Any, songs: Sequence[Song], num_segments: int = 48, *, progress: bool = False
) -> Evaluation:
    """Distances between true stems and what is made from their log-mels; silent stems left out.

    Raises ``InputError`` where no song has an audible window.
    """
    config = pipe.log_mel.config
    stem_names = list(pipe.denoiser.config.stems)
    duration_s = pipe.log_mel.segment_samples / config.sample_rate
    values: dict[str, dict[str, list[Tensor]]] = {DISTANCE: {}, L1: {}}
    folders = []
    found = audible_segments(songs, stem_names, config.sample_rate, duration_s, num_segments)
    for segment, stems in tqdm(
        found, total=num_segments, desc="copy synthesis", disable=not progress
    ):
        folders.append(str(segment.folder))
        silent = measures.is_silent(stems)
        true = level_gain(pipe, stems.sum(0)) * stems
        log_mel = pipe.log_mel(true)
        for row, waveforms in resynthesised(pipe, log_mel, true.shape[-1]).items():
            distance = torch.stack(
                [
                    multi_resolution_stft_distance(ours[None], theirs[None])
                    for ours, theirs in zip(waveforms, true, strict=True)
                ]
            )
            for measure, scores in (
                (DISTANCE, distance),
                (L1, measures.log_mel_l1(pipe.log_mel(waveforms), log_mel)),
            ):
                values[measure].setdefault(row, []).append(
                    scores.double().masked_fill(silent, math.nan)
                )
    table = Table(
        "Copy synthesis",
        notes=[
            "True log-mel in, waveform out, at the level the model hears. STFT distance: spectral "
            "convergence plus log-magnitude L1, mean of FFT sizes 256 to 2048 (arXiv 1910.11480). "
            "Segments in which a stem is silent do not count for it.",
        ],
    )
    for measure, rows in values.items():
        for row, scores_ in rows.items():
            for stem, column in zip(stem_names, torch.stack(scores_, dim=1).tolist(), strict=True):
                table.put_samples(measure, row, stem, column, folders)
        table.put_mean_column(measure)
    table.metadata.update(segments=len(folders), songs=len(set(folders)))
    return Evaluation(table, sample_rate=config.sample_rate)
