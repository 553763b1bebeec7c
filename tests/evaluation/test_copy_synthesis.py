"""Copy synthesis: an exact vocoder scores 0, silence is left out; speed of a real model."""

import torch

from stemweave.evaluation import copy_synthesis
from stemweave.evaluation.segments import find_songs
from stemweave.evaluation.speed import evaluate_speed


def test_true_waveforms_score_zero_and_noise_does_not(data, pipe, monkeypatch):
    def resynthesised(pipe, log_mel, num_samples):
        return {"exact": current["true"], "noise": torch.randn(4, num_samples)}

    current = {}
    plain = copy_synthesis.level_gain

    def remember(pipe, mixture):
        current["true"] = plain(pipe, mixture) * current["stems"]
        return plain(pipe, mixture)

    found = copy_synthesis.audible_segments

    def segments(*arguments):
        for segment, stems in found(*arguments):
            current["stems"] = stems
            yield segment, stems

    monkeypatch.setattr(copy_synthesis, "resynthesised", resynthesised)
    monkeypatch.setattr(copy_synthesis, "level_gain", remember)
    monkeypatch.setattr(copy_synthesis, "audible_segments", segments)
    songs = find_songs(data, ["bass", "drums", "guitar", "piano"])
    table = copy_synthesis.evaluate_copy_synthesis(pipe, songs, 3).table
    for measure in (copy_synthesis.DISTANCE, copy_synthesis.L1):
        assert abs(table.value(measure, "exact", "mean")) < 1e-6
        assert table.value(measure, "noise", "mean") > 0.1


def test_rows_of_the_tiny_model(tiny_pipe):
    log_mel = tiny_pipe.log_mel(0.1 * torch.randn(4, 20480))
    rows = copy_synthesis.resynthesised(tiny_pipe, log_mel, 20480)
    assert len(rows) == 3
    assert all(waveforms.shape == (4, 20480) for waveforms in rows.values())


def test_speed_counts_passes_and_parameters(tiny_pipe):
    table = evaluate_speed(tiny_pipe, repeats=1).table
    assert table.value("seconds", "generate", "network passes") == 2
    assert table.value("seconds", "separate", "median") > 0
    parameters = sum(p.numel() for p in tiny_pipe.vocoder.parameters()) / 1e6
    assert table.value("parameters (millions)", "vocoder", "parameters") == parameters
