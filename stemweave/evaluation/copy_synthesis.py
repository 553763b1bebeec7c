"""Copy synthesis: how much of a sound the vocoder gives back from the true log-mel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.data.songs import Song
from stemweave.evaluation import signal_measures as measures
from stemweave.evaluation import transients
from stemweave.evaluation.results import Evaluation
from stemweave.evaluation.segments import audible_segments
from stemweave.evaluation.separation import level_gain, vae_round_trip
from stemweave.evaluation.speed import median_s
from stemweave.evaluation.table import MEANING, Cell, Samples, Table
from stemweave.models.vocoder import griffin_lim, resampled
from stemweave.tasks.spectra import vocode
from stemweave.training.losses import multi_resolution_stft_distance

GRIFFIN_LIM_ROW = "Griffin-Lim, 60 iterations"
VOCODER_ROW = "vocoder"
VAE_ROW = "VAE + vocoder"
DISTANCE = "multi-resolution STFT distance"
L1 = "log-mel L1"
FULL_BAND = ", full band"
SPEED = "seconds of one stem made in a second"

Scores = dict[str, list[float]]
"""One number for each stem, by measure."""


def resynthesised(pipe: Any, log_mel: Tensor) -> dict[str, Tensor]:
    """Waveforms (S, T) by each method from log-mels (S, F, M), each at its own rate."""
    stems = pipe.denoiser.config.stems
    return {
        GRIFFIN_LIM_ROW: griffin_lim(pipe.log_mel, log_mel, iterations=60),
        VOCODER_ROW: vocode(pipe, log_mel, stems),
        VAE_ROW: vocode(pipe, vae_round_trip(pipe.vae, log_mel), stems),
    }


def waveform_scores(true: Tensor, made: Tensor, sample_rate: int) -> Scores:
    """Distances of ``made`` stems (S, T) from ``true`` ones."""
    found: Scores = {}
    for theirs, ours in zip(true, made, strict=True):
        distance = multi_resolution_stft_distance(ours[None], theirs[None]).item()
        onsets = transients.onset_differences(theirs, ours, sample_rate)
        for measure, value in {DISTANCE: distance, **onsets}.items():
            found.setdefault(measure, []).append(value)
    return found


def row_scores(pipe: Any, true: Tensor, made: Mapping[str, Tensor]) -> dict[str, Scores]:
    """Scores of each row of waveforms ``made`` (S, ...) for ``true`` stems (S, T).

    In the log-mel's band, and in the full one where both have it.
    """
    config = pipe.log_mel.config
    num_samples = config.segment_frames * config.hop_length
    in_band = resampled(true, num_samples)
    log_mel, found = pipe.log_mel(in_band), {}
    for row, waveforms in made.items():
        as_heard = resampled(waveforms, num_samples)
        found[row] = waveform_scores(in_band, as_heard, config.sample_rate)
        found[row][L1] = measures.log_mel_l1(pipe.log_mel(as_heard), log_mel).tolist()
        if true.shape[-1] > num_samples and waveforms.shape == true.shape:
            of_all = waveform_scores(true, waveforms, pipe.output_rate)
            found[row] |= {measure + FULL_BAND: values for measure, values in of_all.items()}
            for theirs, ours in zip(true, waveforms, strict=True):
                thirds = transients.third_differences(theirs, ours, pipe.output_rate)
                for measure, value in thirds.items():
                    found[row].setdefault(measure, []).append(value)
    return found


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
    has_band = all(song.sample_rate >= pipe.output_rate for song in songs)
    rate = pipe.output_rate if has_band else config.sample_rate
    values: Samples = defaultdict(list)
    folders = []
    found = audible_segments(songs, stem_names, rate, duration_s, num_segments)
    for segment, stems in tqdm(
        found, total=num_segments, desc="copy synthesis", disable=not progress
    ):
        folders.append(str(segment.folder))
        silent = measures.is_silent(stems)
        at_rate = resampled(stems, pipe.log_mel.segment_samples)
        gain = level_gain(pipe, at_rate.sum(0))
        made = resynthesised(pipe, pipe.log_mel(gain * at_rate))
        for row, scores in row_scores(pipe, gain * stems, made).items():
            for measure, scored in scores.items():
                kept = torch.tensor(scored).masked_fill(silent, math.nan).tolist()
                for stem, value in zip(stem_names, kept, strict=True):
                    values[measure, row, stem].append(value)
    table = Table("Copy synthesis", notes=[MEANING])
    table.put_all(values, folders)
    for measure in list(table.measures):
        table.put_mean_column(measure)
    one = torch.zeros(1, config.segment_frames, config.num_mels)
    seconds = median_s(lambda: vocode(pipe, one, stem_names[:1]), repeats=3)
    table.put(SPEED, VOCODER_ROW, "seconds", Cell(duration_s / seconds))
    table.metadata.update(segments=len(folders), songs=len(set(folders)))
    return Evaluation(table, sample_rate=config.sample_rate)
