"""Training with sheet, score and sounds: aligned with the crop, hidden as often as wanted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stemweave.data.mixing import PLAIN, draw_crops
from stemweave.data.readers import read_data
from stemweave.data.song_conditions import read_song_conditions
from stemweave.model import StemModel
from stemweave.models.compact import CompactUNet
from stemweave.models.conditions import Conditions, nothing_known
from stemweave.models.vae import PatchVAE
from stemweave.music.rolls import (
    CHORD_COLUMNS,
    HARMONY_KNOWN,
    RHYTHM_COLUMNS,
    RHYTHM_KNOWN,
    roll_columns,
)
from stemweave.training.finetune import resolved, take_over
from stemweave.training.networks import make_denoiser
from stemweave.training.part_settings import ConditionSettings
from stemweave.training.settings import FinetuneSettings, RunSettings, load_settings
from stemweave.training.situations import hide
from stemweave.training.stage_denoiser import DenoiserStage
from stemweave.training.start import load_songs
from tests.training.command import change, last_log, train
from tests.training.conftest import STEMS, write_settings


@pytest.fixture
def config(composed: Path, tmp_path: Path) -> Path:
    path = write_settings(composed, tmp_path)
    change(path, "denoiser", conditions={"channels": 8})
    return path


def test_a_crops_conditions_begin_where_it_does(config: Path):
    settings = load_settings(config)
    stage = stage_of(config)
    training, _ = load_songs(settings)
    crops = draw_crops(
        training, STEMS, 6, 16000, 16000, replace(PLAIN, reference_rms=0.1),
        np.random.default_rng(0),
    )  # fmt: skip
    crops.coherent[1] = False
    crops.waveforms[2, STEMS.index("drums")] = 0
    crops.places[3] = (*crops.places[3][:2], 1.5)
    told = stage.shards.conditions(crops, 10)  # positions of 0.1 s
    assert told is not None
    drums = told.roll[:, :, roll_columns("drums")].flatten(2)
    for index, (_, start_s, _) in enumerate(crops.places):
        if index in (1, 3):
            assert not told.rows[index].any() and not told.notes_known[index].any()
        elif index == 2:
            assert not drums[index].any() and told.notes_known[index].any()
        else:
            beats = np.arange(8) * 0.5 - start_s
            expected = [int(beat / 0.025 + 1e-4) for beat in beats if 0 <= beat < 1 - 1e-9]
            found = [int(p) * 4 + int(c) for p, c in np.argwhere(drums[index].numpy())]
            assert found == expected
            assert told.sounds[index, 3] > 0 and told.style[index] > 0


def stage_of(config: Path) -> DenoiserStage:
    settings = load_settings(config)
    return DenoiserStage(settings, *load_songs(settings), tiny_vae())


def tiny_vae() -> PatchVAE:
    return PatchVAE(latent_channels=2, hidden_channels=8, num_blocks=1)


def test_training_learns_conditions_and_says_whether_they_are_obeyed(
    run, config: Path, tmp_path: Path
):
    vae = tmp_path / "vae"
    tiny_vae().save_pretrained(vae)
    optimiser = {
        "kind": "muon", "learning_rate": 1e-3, "learning_rates": {"conditions": 0.05},
        "warmup_steps": 1, "ema_decay": 0.0, "schedule": "constant",
    }  # fmt: skip
    change(config, "denoiser", optimiser=optimiser)
    train(run, "denoiser", config, tmp_path / "run", "--vae", vae)
    logged = last_log(tmp_path / "run")
    figures = {f"val_{told}_{t}" for told in ("own", "other", "none") for t in (950, 750, 500)}
    assert figures <= set(logged)
    assert logged["val_own_500"] != logged["val_none_500"]
    trained = CompactUNet.from_pretrained(tmp_path / "run" / "export")
    assert trained.config.vocabulary["sounds"]["piano"] == {
        "a.sf2": 3
    }  # the validation song's is not
    change(config, "denoiser", steps=3)
    train(run, "denoiser", config, tmp_path / "run", "--vae", vae)
    assert last_log(tmp_path / "run")["step"] == 3


def test_each_condition_is_hidden_as_often_as_wanted():
    count = 2000
    whole = nothing_known(count, 4, 2)
    whole = Conditions(*(torch.ones_like(tensor) for tensor in whole))
    settings = ConditionSettings(
        everything_hidden=0.1,
        score_hidden=0.2,
        range_hidden=0.0,
        stem_hidden=0.25,
        field_hidden=0.3,
    )
    hidden = hide(whole, settings, np.random.default_rng(0))
    assert whole.roll.all() and whole.rows.all()  # not changed in place

    def share(known: torch.Tensor) -> float:
        return known.float().mean().item()

    assert share(hidden.notes_known) == pytest.approx(0.9 * 0.8 * 0.75, abs=0.02)
    assert share(~hidden.notes_known.any(2)) == pytest.approx(0.28, abs=0.03)
    assert share(hidden.style) == pytest.approx(0.9 * 0.7, abs=0.03)
    assert share(hidden.sounds) == pytest.approx(0.9 * 0.75, abs=0.02)
    guitar = hidden.roll[:, 0, roll_columns("guitar")]
    assert (guitar.bool().any(1) == hidden.notes_known[:, 0, 1]).all()
    for columns, flag in ((RHYTHM_COLUMNS, RHYTHM_KNOWN), (CHORD_COLUMNS, HARMONY_KNOWN)):
        known = hidden.rows[:, 0, flag].bool()
        assert share(known) == pytest.approx(0.9 * 0.7, abs=0.03)
        assert (hidden.rows[:, 0, columns].bool().all(1) == known).all()
    nothing = ~hidden.notes_known.flatten(1).any(1) & (hidden.rows == 0).flatten(1).all(1)
    nothing &= (hidden.sounds == 0).all(1) & (hidden.instruments == 0).all(1)
    assert share(nothing) == pytest.approx(0.1, abs=0.03)


def test_notes_are_hidden_in_time_ranges_too():
    whole = Conditions(*(torch.ones_like(tensor) for tensor in nothing_known(1000, 4, 16)))
    settings = ConditionSettings(
        everything_hidden=0.0, score_hidden=0.0, range_hidden=0.5, stem_hidden=0.0, field_hidden=0.0
    )
    hidden = hide(whole, settings, np.random.default_rng(0))
    known = hidden.notes_known[..., 0]
    assert (hidden.notes_known == known[..., None]).all() and hidden.rows.all()
    assert (hidden.roll.bool().all(2) == known).all()
    in_part = ~known.all(1) & known.any(1)
    assert 0.3 < in_part.float().mean() < 0.5
    ends = known[in_part][:, [0, -1]].float().mean(0)
    assert (ends > 0.2).all() and (ends < 0.8).all()


def test_songs_without_sheets_have_no_conditions(data: Path):
    song = read_data(data, STEMS).songs[0]
    known = read_song_conditions(song.folder)
    assert known.sheet is None and known.notes is None and known.sounds == {}


def test_levels_are_those_of_whole_songs_if_wanted(data: Path):
    settings = replace(PLAIN, reference_rms=0.1, whole_songs=True)
    song = read_data(data, STEMS).songs[0]
    rng = np.random.default_rng(0)
    crops = draw_crops([song], STEMS, 1, 64000, 16000, settings, rng)
    whole_rms = crops.waveforms[0].sum(0).square().mean().sqrt().item()
    assert whole_rms == pytest.approx(0.1, rel=1e-4)
    short = draw_crops([song], STEMS, 1, 800, 16000, settings, rng)
    rms = short.waveforms[0].sum(0).square().mean().sqrt().item()
    assert rms != pytest.approx(0.1, rel=1e-4) and rms == pytest.approx(0.1, rel=0.2)


def test_a_conditioned_model_is_trained_further_with_its_own_words(data: Path):
    base = StemModel.from_pretrained()
    own = {name: value for name, value in base.denoiser.config.items() if name[0] != "_"}
    vocabulary = {"sounds": {"piano": {"a.sf2": 3}}, "channels": 8}
    base.denoiser = CompactUNet(**{**own, "block_channels": [16, 16, 16], "vocabulary": vocabulary})
    kept = resolved(RunSettings(data=[str(data)]), base)
    assert kept.denoiser.conditions is not None
    assert kept.denoiser.model["vocabulary"]["sounds"] == {"piano": {"a.sf2": 3}}
    network = make_denoiser(kept, base.vae)
    with torch.no_grad():
        base.denoiser.conditions.sounds[3].weight.fill_(3.0)
    take_over(network, base.denoiser, base, kept)
    assert (network.conditions.sounds[3].weight == 3.0).all()
    stems = ("vocals", "drums")
    other = RunSettings(
        data=[str(data)], stems=stems, finetune=FinetuneSettings(map={"vocals": "piano"})
    )
    changed = resolved(other, base)
    assert changed.denoiser.conditions is None
    network = make_denoiser(changed, base.vae)
    take_over(network, base.denoiser, base, changed)
    assert network.conditions is None
