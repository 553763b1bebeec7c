"""Separation scores with answers known in advance."""

import json
import math
from pathlib import Path

import pytest
import torch

from stemweave.cli import evaluate
from stemweave.errors import InputError
from stemweave.evaluation import separation, systems
from stemweave.evaluation.segments import find_songs
from stemweave.evaluation.separation import SegmentScores, Truth, evaluate_separation
from stemweave.stems import OTHER, STEMS

from .toys import ToyPipeline, write_song

FIVE = (*STEMS, OTHER)


def test_equal_shares_gain_nothing_and_true_stems_mask_well(pipe: ToyPipeline, data: Path) -> None:
    songs = find_songs(data, STEMS, "validation")
    evaluation = evaluate_separation(pipe, songs, 4, num_examples=1, steps=2, guidance=1.5)
    table = evaluation.table
    for row in (separation.MIXTURE_ROW, separation.MASK_ROW, separation.VOCODED_ROW):
        for stem in STEMS:
            assert table.value(separation.SI_SDRI, row, stem) == pytest.approx(0, abs=1e-3)
    assert table.value(separation.SI_SDRI, separation.ORACLE_ROW, "mean") > 3
    assert table.value(separation.MSE, separation.VAE_ROW, "mean") == 0
    for stem in STEMS:
        mixture_error = table.value(separation.MSE, separation.MIXTURE_ROW, stem)
        assert mixture_error > 0.1
        assert table.value(separation.MSE, separation.SPECTRA_ROW, stem) == pytest.approx(
            mixture_error, rel=1e-5
        )
    assert separation.VAE_ROW not in table.measures[separation.SI_SDR]
    identical = table.value(separation.SI_SDRI, separation.ORACLE_ROW, "bass")
    through_vae = table.value(separation.SI_SDRI, separation.VAE_ORACLE_ROW, "bass")
    assert identical == pytest.approx(through_vae)
    assert [call["method"] for call in pipe.calls[:2]] == ["mask", "vocoder"]
    assert pipe.calls[0]["steps"] is None  # masks need no diffusion
    assert pipe.calls[1]["steps"] == 2 and pipe.calls[1]["guidance"] == 1.5
    assert table.metadata["segments"] == 4
    tracks = evaluation.examples[0].tracks
    assert set(tracks["true stems"]) == set(STEMS)
    total = torch.stack(list(tracks["true stems"].values())).sum(0)
    assert torch.equal(total, tracks["mixture"]["mixture"])


def test_silent_stem_has_a_level_and_no_si_sdr(pipe: ToyPipeline, tmp_path: Path) -> None:
    write_song(tmp_path / "song", 0, silent=("piano",))
    table = evaluate_separation(pipe, find_songs(tmp_path, STEMS), None).table
    row = table.measures[separation.SI_SDR][separation.MASK_ROW]
    assert row["piano"].count == 0 and row["bass"].count == 3
    assert "mean" not in row
    assert separation.LONE not in table.measures
    level = table.value(separation.BLEED, separation.MASK_ROW, "piano")
    assert level == pytest.approx(20 * math.log10(1 / len(STEMS)), abs=1e-3)
    assert table.measures[separation.BLEED][separation.MASK_ROW]["bass"].count == 0
    assert table.measures[separation.MSE][separation.MASK_ROW]["piano"].count == 3
    assert any("piano: 0" in note for note in table.notes)


def test_lone_stem_has_no_improvement_but_a_figure_of_its_own(
    pipe: ToyPipeline, tmp_path: Path
) -> None:
    write_song(tmp_path / "duo", 0, silent=("piano", "guitar"))
    write_song(tmp_path / "solo", 1, silent=("piano", "guitar", "drums"))
    table = evaluate_separation(pipe, find_songs(tmp_path, STEMS), None).table
    mixed = table.measures[separation.SI_SDRI][separation.MASK_ROW]
    sounding = table.measures[separation.SI_SDRI_SOUNDING][separation.MASK_ROW]
    lone = table.measures[separation.LONE][separation.MASK_ROW]
    assert (mixed["bass"].count, mixed["drums"].count, mixed["guitar"].count) == (3, 3, 0)
    assert (sounding["bass"].count, lone["bass"].count, lone["drums"].count) == (6, 3, 0)
    assert mixed["bass"].value == pytest.approx(0, abs=1e-3)
    assert lone["bass"].value > 90  # a quarter of the only stem is that stem
    assert any("bass: 3 of 1 songs" in note for note in table.notes)


def test_other_sounds_are_scored_where_songs_have_them(
    pipe: ToyPipeline, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "separated_stems", FIVE)
    without = evaluate_separation(pipe, find_songs(data, FIVE), 2).table
    assert set(without.measures[separation.MSE][separation.MASK_ROW]) == {*STEMS, "mean"}
    write_song(tmp_path / "with", 0, stems=FIVE)
    write_song(tmp_path / "without", 1)
    with pytest.raises(InputError, match="one lacks other"):
        systems.pipeline_separator(ToyPipeline(), FIVE)
    monkeypatch.setattr(
        pipe, "separate", lambda waveform, *_, **__: dict.fromkeys(FIVE, waveform / 5)
    )
    table = evaluate_separation(pipe, find_songs(tmp_path, FIVE), None).table
    assert separation.VOCODED_ROW not in table.measures[separation.MSE]  # it knows no other
    assert table.measures[separation.SI_SDRI][separation.MASK_ROW]["other"].count == 3
    leaked = table.measures[separation.BLEED][separation.MASK_ROW]["other"]
    assert leaked.count == 3 and leaked.value == pytest.approx(20 * math.log10(1 / 5), abs=1e-3)


def test_scores_do_not_depend_on_the_other_segments(pipe: ToyPipeline, data: Path) -> None:
    songs = find_songs(data, STEMS)
    few, many = (evaluate_separation(pipe, songs, count).table.samples for count in (3, 7))
    for row, stems in few[separation.SI_SDR].items():
        for stem, values in stems.items():
            assert values == many[separation.SI_SDR][row][stem][:3]


def test_rows_can_be_left_out(pipe: ToyPipeline, data: Path) -> None:
    table = evaluate_separation(
        pipe, find_songs(data, STEMS), 2, methods=("mask",), references=False
    ).table
    assert list(table.measures[separation.MSE]) == [separation.MASK_ROW]


def test_scores_of_a_known_estimate() -> None:
    scores = SegmentScores(["a", "b"], 16_000)
    generator = torch.Generator().manual_seed(0)
    stems = torch.randn(2, 8000, generator=generator)
    mixture = stems.sum(0)
    log_mel = torch.zeros(2, 4, 4)
    half = stems + 0.5 * (mixture - stems)
    truth = Truth(stems, mixture, log_mel, gain=1.0)
    scores.add_estimate("row", (half, log_mel + 2), truth)
    assert scores.values[separation.MSE, "row", "a"] == [4.0]
    gain = scores.values[separation.SI_SDRI, "row", "a"][0]
    assert gain == pytest.approx(20 * math.log10(2), abs=0.2)


def test_paper_front_end_needs_its_rate_and_sees_the_level_of_an_error() -> None:
    stems = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    truth = Truth(stems, stems.sum(0), torch.zeros(2, 4, 4), gain=1.0)
    scores = SegmentScores(["a", "b"], 16_000)
    scores.add_estimate("row", (stems / 2, truth.log_mel), truth)
    half_squared = math.log(2) ** 2
    assert scores.values[separation.PAPER_MSE, "row", "a"][0] == pytest.approx(
        half_squared, rel=1e-3
    )
    assert scores.values[separation.PAPER_L1, "row", "a"][0] == pytest.approx(math.log(2), rel=1e-3)
    other_rate = SegmentScores(["a", "b"], 44_100)
    other_rate.add_estimate("row", (stems / 2, truth.log_mel), truth)
    assert (separation.PAPER_MSE, "row", "a") not in other_rate.values


def test_level_gain_brings_the_mixture_to_the_models_level(pipe: ToyPipeline) -> None:
    mixture = torch.full((1000,), 0.02)
    assert separation.level_gain(pipe, mixture) == pytest.approx(5.0)
    pipe.config.reference_rms = None
    assert separation.level_gain(pipe, mixture) == 1.0


def test_two_models_are_compared_segment_by_segment(
    pipe: ToyPipeline, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run
) -> None:
    class Better(ToyPipeline):
        def separate(self, waveform, sample_rate, **options):
            assert sample_rate == pipe.log_mel.config.sample_rate
            return {stem: waveform / (1 + STEMS.index(stem)) for stem in STEMS}

    models = {"a": pipe, "b": Better()}
    monkeypatch.setattr(evaluate, "load", lambda name, **_: models[name])
    command = [
        "evaluate",
        "separation",
        data,
        "--model",
        "a",
        "--model",
        "b",
        "-n",
        3,
        "--baseline",
    ]
    refused = run(*command, "nobody")
    assert refused.code == 2 and "--baseline must be one of the rows: mixture" in refused.err
    done = run(*command, separation.MASK_ROW, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    errors = table["measures"][separation.MSE]
    title = f"{separation.MSE}: difference to {separation.MASK_ROW}, paired"
    (difference,) = [table["measures"][title]["b"]["bass"]]
    assert difference["value"] == pytest.approx(
        errors["b"]["bass"]["value"] - errors[separation.MASK_ROW]["bass"]["value"], abs=1e-6
    )
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert difference["count"] == 3 and separation.MASK_ROW not in table["measures"][title]


def test_every_model_is_named_as_it_was_given(
    pipe: ToyPipeline, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run
) -> None:
    class Diffusing(ToyPipeline):
        methods = ("vocoder",)

    loaded, asked = {"a": pipe, "bundled": Diffusing()}, []
    monkeypatch.setattr(
        evaluate, "load", lambda name, sampler: (asked.append((name, sampler)), loaded[name])[1]
    )
    command = ["evaluate", "separation", data, "--model", "a", "--model", "bundled", "-n", 1]
    command += ["--steps", 3, "--guidance", 1.5, "--sampler", "unipc", "-o", tmp_path / "out"]
    done = run(*command, "--baseline", "a")
    assert done.code == 0, done.err
    assert asked == [("a", "unipc"), ("bundled", "unipc")]
    call = loaded["bundled"].calls[0]
    assert (call["steps"], call["guidance"]) == (3, 1.5)
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    title = f"{separation.MSE}: difference to {separation.MASK_ROW}, paired"
    assert "bundled" in table["measures"][title]
    again = run(*command, "--overwrite", "--baseline", "bundled")
    assert again.code == 0, again.err
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    title = f"{separation.MSE}: difference to bundled, paired"
    assert separation.MASK_ROW in table["measures"][title]
