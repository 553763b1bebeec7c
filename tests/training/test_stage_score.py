import numpy as np
import pytest
import torch
import yaml

from stemweave.data.scores import ScoreCorpus, score_folders
from stemweave.models.score_transformer import ScoreTransformer
from stemweave.music.sequences import BarWindow, segment_order
from stemweave.training.networks import load_component
from stemweave.training.part_settings import ScoreSettings
from stemweave.training.settings import load_settings
from stemweave.training.stage_score import STEMS as STAGE_STEMS
from stemweave.training.stage_score import ScoreStage, as_batch, draw_given, drop_sheet
from tests.data.test_scores import write_song
from tests.models.test_score_transformer import STEMS, window
from tests.training.command import last_log, train


def taught() -> tuple[ScoreTransformer, dict[str, np.ndarray]]:
    """A small network that has learnt two bars by heart, and these bars."""
    torch.manual_seed(2)
    network = ScoreTransformer(
        STEMS, ("rock",), ("bass/pick",), channels=32, num_layers=1, head_channels=16, max_bars=4
    )
    pattern = {
        "drums": np.array([[0, 36, 2, 12], [0, 42, 2, 8], [12, 38, 2, 12]], dtype=np.uint8),
        "bass": np.array([[0, 40, 9, 10], [24, 43, 9, 10]], dtype=np.uint8),
    }
    one = window(num_bars=4)
    one.segments = {stem: [segment] * 4 for stem, segment in pattern.items()}
    order = segment_order({stem: np.zeros(4, dtype=bool) for stem in STEMS}, STEMS, 4)
    tokens, segments, is_event = as_batch([(one, order)], STEMS)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        losses = sum(network(tokens, segments).values())
        loss = (losses * is_event[:, 1:]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval(), pattern


def shares(count: int = 2000) -> dict[str, float]:
    settings = ScoreSettings(new_share=0.4, continuation_share=0.3, arrangement_share=0.2)
    rng = np.random.default_rng(0)
    kinds = {"new": 0, "continuation": 0, "arrangement": 0}
    for _ in range(count):
        given = draw_given(settings, STEMS, 8, rng)
        rows = np.stack(list(given.values()))
        kinds["new"] += not rows.any()
        whole = rows.all(axis=1)
        kinds["arrangement"] += bool(whole.any() and not rows[~whole].any() and not whole.all())
        alike = (rows == rows[0]).all() and rows.any()
        kinds["continuation"] += bool(alike and (np.diff(rows[0].astype(int)) <= 0).all())
    return {kind: number / count for kind, number in kinds.items()}


def test_windows_are_divided_among_the_tasks():
    found = shares()
    assert found["new"] == pytest.approx(0.4, abs=0.04)
    assert found["continuation"] == pytest.approx(0.3, abs=0.04)
    # a region of one stem that is the whole window is an arrangement, too
    assert found["arrangement"] == pytest.approx(0.2, abs=0.04)


def test_fields_of_the_sheet_are_dropped_each_by_itself():
    rng = np.random.default_rng(0)
    one = window()
    one.chords[:] = 1
    dropped = [drop_sheet(one, 0.25, rng) for _ in range(800)]
    for is_known in (
        lambda w: bool(w.chords.any()),
        lambda w: w.style == 1,
        lambda w: not np.isnan(w.log_tempo),
        lambda w: "bass" in w.instruments,
    ):
        assert np.mean([is_known(w) for w in dropped]) == pytest.approx(0.75, abs=0.06)


def test_batches_are_padded_and_say_so():
    long, short = window(0, 3), window(1, 2)
    given = {stem: np.zeros(3, dtype=bool) for stem in STEMS}
    pairs: list[tuple[BarWindow, list[tuple[int, int, bool]]]] = [
        (long, segment_order(given, STEMS, 3)),
        (short, segment_order(given, STEMS, 2)),
    ]
    tokens, segments, is_event = as_batch(pairs, STEMS)
    assert tokens.step.shape == (2, 24) == is_event.shape
    assert is_event.sum(dim=1).tolist() == [24, 16]
    assert segments.bar.shape == (2, 6)


def test_another_key_moves_notes_and_chords_but_not_drums():
    one = window()
    one.chords[0, 0, 11] = 1
    moved = one.in_other_key(2)
    assert np.array_equal(moved.segments["drums"][0], one.segments["drums"][0])
    assert (moved.segments["bass"][0][:, 1] == one.segments["bass"][0][:, 1] + 2).all()
    assert moved.chords[0, 0, 1] == 1 and moved.chords[0, 0, 11] == 0


def write_config(tmp_path):
    """Settings of a tiny score model on one song."""
    write_song(tmp_path / "songs" / "song_0", "rock", stems=STAGE_STEMS)
    config = tmp_path / "score.yaml"
    score = {
        "validation": [str(tmp_path / "songs")], "window_bars": 4, "batch_size": 2, "steps": 2,
        "validation_samples": 2, "validate_every_steps": 2, "log_every_steps": 1,
        "model": {"channels": 32, "num_layers": 1, "head_channels": 16},
    }  # fmt: skip
    config.write_text(yaml.safe_dump({"data": [str(tmp_path / "songs")], "score": score}))
    return config


def test_the_command_trains_and_its_export_is_a_score_model(run, tmp_path):
    config = write_config(tmp_path)
    train(run, "score", config, tmp_path / "run")
    logged = last_log(tmp_path / "run")
    names = ("val_step", "val_pitch", "val_duration", "val_velocity")
    assert logged["val_loss"] == pytest.approx(sum(logged[name] for name in names))
    network = load_component("score_model", tmp_path / "run" / "export")
    assert tuple(network.config.styles) == ("rock",)


def test_validation_does_not_depend_on_the_batch(tmp_path):
    config = write_config(tmp_path)
    corpus = ScoreCorpus(score_folders([tmp_path / "songs"]), STAGE_STEMS, workers=1)
    figures = []
    for size in (1, 2, 5):
        changes = [f"score.batch_size={size}", "score.validation_samples=5"]
        torch.manual_seed(0)
        stage = ScoreStage(load_settings(config, changes=changes), corpus, corpus)
        with torch.no_grad():
            figures.append(stage.validate(stage.network.eval()))
    assert figures[0] == pytest.approx(figures[1], rel=1e-4) and figures[0]["val_loss"] > 0
    assert figures[0] == pytest.approx(figures[2], rel=1e-4)
