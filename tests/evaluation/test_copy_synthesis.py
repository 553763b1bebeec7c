"""Copy synthesis: an exact vocoder scores 0, silence is left out; speed of a real model."""

import math

import torch

from stemweave.evaluation import copy_synthesis
from stemweave.evaluation.segments import find_songs
from stemweave.evaluation.speed import evaluate_speed
from stemweave.evaluation.transients import MEASURES, THIRDS_HZ, third_name
from stemweave.models.vocoder import resampled
from stemweave.stems import STEMS


def test_true_waveforms_score_zero_and_noise_does_not(data, pipe, monkeypatch):
    true = []
    monkeypatch.setattr(copy_synthesis, "level_gain", lambda pipe, mixture: 1.0)
    found = copy_synthesis.audible_segments

    def segments(*arguments):
        for segment, stems in found(*arguments):
            true.append(stems)
            yield segment, stems

    monkeypatch.setattr(copy_synthesis, "audible_segments", segments)
    monkeypatch.setattr(
        copy_synthesis,
        "resynthesised",
        lambda *_: {"exact": true[-1], "noise": torch.randn(true[-1].shape)},
    )
    table = copy_synthesis.evaluate_copy_synthesis(pipe, find_songs(data, STEMS), 3).table
    for measure in (copy_synthesis.DISTANCE, copy_synthesis.L1):
        assert abs(table.value(measure, "exact", "mean")) < 1e-6
        assert table.value(measure, "noise", "mean") > 0.1
    assert set(table.measures) == {
        copy_synthesis.DISTANCE, copy_synthesis.L1, *MEASURES, copy_synthesis.SPEED
    }  # fmt: skip
    assert table.value(MEASURES[0], "exact", "drums") == 0


def test_songs_of_a_higher_rate_are_compared_in_their_whole_band(pipe):
    pipe.output_rate = 44100
    num_samples = 128 * 256 * 441 // 160  # of the toy's window
    true = 0.1 * torch.randn(4, num_samples, generator=torch.Generator().manual_seed(0))
    dull = resampled(resampled(true, 128 * 256), num_samples)
    in_band = resampled(true, 128 * 256)
    rows = copy_synthesis.row_scores(pipe, true, {"dull": dull, "16 kHz": in_band})
    full = copy_synthesis.DISTANCE + copy_synthesis.FULL_BAND
    assert full not in rows["16 kHz"] and min(rows["dull"][full]) > 0.5
    assert max(rows["dull"][copy_synthesis.DISTANCE]) < 1e-3
    assert min(rows["dull"][third_name(*THIRDS_HZ[:2])]) > 20
    assert all(math.isnan(value) for value in rows["dull"][MEASURES[0]])  # noise has no onset


def test_rows_of_the_tiny_model(tiny_pipe):
    log_mel = tiny_pipe.log_mel(0.1 * torch.randn(4, 20480))
    rows = copy_synthesis.resynthesised(tiny_pipe, log_mel)
    assert len(rows) == 3
    assert all(waveforms.shape == (4, 20480) for waveforms in rows.values())


def test_speed_counts_passes_and_parameters(tiny_pipe):
    table = evaluate_speed(tiny_pipe, repeats=1).table
    assert table.value("seconds", "generate", "network passes") == 2
    assert table.value("seconds", "separate", "median") > 0
    parameters = sum(p.numel() for p in tiny_pipe.vocoder.parameters()) / 1e6
    assert table.value("parameters (millions)", "vocoder", "parameters") == parameters
