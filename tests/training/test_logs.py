"""Sounds and pictures of every stage are logged; wandb is there for those who have it."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from stemweave.training.examples import Example
from tests.training.command import change, train


def logged(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"audio": 0, "images": 0})
    return events.Reload()


def test_examples_to_hear_and_see(run, config: Path, tmp_path: Path):
    for stage in ("vae", "vocoder", "denoiser"):
        change(config, stage, steps=2, examples=1)
    change(config, "vae", validate_every_steps=1)
    change(config, None, sampling={"generation_steps": 2})
    train(run, "vae", config, tmp_path / "vae")
    vae = tmp_path / "vae" / "export"
    train(run, "vocoder", config, tmp_path / "vocoder")
    vocoder = tmp_path / "vocoder" / "export"
    train(run, "denoiser", config, tmp_path / "denoiser", "--vae", vae, "--vocoder", vocoder)
    expected = {
        "vae": {"true_0", "round_trip_0"},
        "vocoder": {"true_0", "copy_0"},
        "denoiser": {"mixture_0", "generated_0"}
        | {f"separated_0/{stem}" for stem in ("bass", "drums", "guitar", "piano")},
    }
    for stage, sounds in expected.items():
        events = logged(tmp_path / stage)
        tags = events.Tags()
        assert set(tags["audio"]) == sounds
        assert set(tags["images"]) >= sounds and "loss" in tags["scalars"]
        for name in sounds:
            steps = [event.step for event in events.Audio(name)]
            assert steps == (
                [2] if stage != "vae" else {"true_0": [1], "round_trip_0": [1, 2]}[name]
            )
            assert events.Audio(name)[0].sample_rate == 16000
            sound = soundfile.info(io.BytesIO(events.Audio(name)[0].encoded_audio_string))
            assert sound.frames == 32 * 320  # half a window of 64 frames
            assert events.Images(name)[0].width == 32
    assert logged(tmp_path / "denoiser").Images("separated_0")[0].height == 4 * 32


def test_picture_has_high_bands_on_top():
    log_mel = torch.full((2, 5, 8), -20.0)
    log_mel[0, :, 7] = 0.0  # the highest band of the first spectrogram
    picture = Example(None, log_mel).picture()
    assert picture.shape == (3, 16, 5) and picture.min() >= 0 and picture.max() <= 1
    brightness = picture.sum(axis=0)
    assert np.unique(np.argmax(brightness, axis=0)) == [0]
    assert (brightness[1:] == brightness[1, 0]).all()


def test_wandb_that_is_not_installed_is_named(
    run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    change(config, None, log=["tensorboard", "wandb"])
    result = run("train", "vae", config, "--run", tmp_path / "vae")
    assert result.code == 2 and "pip install wandb" in result.err
    assert not (tmp_path / "vae" / "log.jsonl").exists()


def test_wandb_offline(run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    change(config, None, log=["wandb"])
    train(run, "vae", config, tmp_path / "vae")
    folder = tmp_path / "vae"
    (offline,) = (folder / "wandb").glob("offline-run-*")
    assert offline.name.endswith((folder / "wandb_id").read_text())
    (record,) = offline.glob("run-*.wandb")
    assert b"val_mse" in record.read_bytes()
    media = offline / "files" / "media"
    assert list((media / "audio").glob("round_trip_0_*.wav"))
    assert list((media / "images").glob("round_trip_0_picture_*.png"))
    assert not (folder / "tensorboard").exists()


def test_a_run_that_goes_on_has_one_log(run, config: Path, tmp_path: Path):
    folder = tmp_path / "vae"
    change(config, "vae", validate_every_steps=2, keep_every_steps=3, keep_last=1,
           keep_best="-val_mse", examples=0, steps=4)  # fmt: skip
    train(run, "vae", config, folder)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert {path.name for path in (folder / "kept").iterdir()} == {
        "step_00000003", "step_00000004", "best"
    }  # fmt: skip
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    best = max(line["val_mse"] for line in lines if "val_mse" in line)
    assert state["best"] == pytest.approx(-best, abs=1e-4) and state["seconds"] > 0
    of_best = json.loads((folder / "kept" / "best" / "config.json").read_text())
    assert of_best["_trained"]["step"] in (2, 4)
    # killed after two more lines, the second of them cut off
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 9.0}\n{"step": 6, "lo')
    with SummaryWriter(folder / "tensorboard") as board:
        board.add_scalar("loss", 9.0, 5)
    train(run, "vae", config, folder, "--set", "vae.steps=6")
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    minutes = [line["minutes"] for line in lines]
    assert minutes == sorted(minutes) and minutes[4] > state["seconds"] / 60
    assert lines[4]["loss"] < 9 and lines[0]["learning_rate"] == pytest.approx(5e-4)
    assert lines[5]["steps_per_second"] > 0 and lines[5]["minutes_to_go"] == 0
    assert lines[5]["memory_gb"] > 0.1
    losses = {event.step: event.value for event in logged(folder).Scalars("loss")}
    assert list(losses) == [1, 2, 3, 4, 5, 6] and losses[5] < 9
    kept = {path.name for path in (folder / "kept").iterdir()}
    assert kept == {"step_00000003", "step_00000006", "best"}
    mask = os.umask(0o027)
    os.umask(mask)
    weights = folder / "export" / "diffusion_pytorch_model.safetensors"
    assert weights.stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_is_kept_says_its_own_figures(run, config: Path, tmp_path: Path):
    folder = tmp_path / "vae"
    change(config, "vae", validate_every_steps=1, keep_every_steps=1, examples=0)
    train(run, "vae", config, folder)
    for line in map(json.loads, (folder / "log.jsonl").open()):
        kept = folder / "kept" / f"step_{line['step']:08d}" / "config.json"
        said = json.loads(kept.read_text())["_trained"]
        assert said["step"] == said["validated"] == line["step"]
        assert said["figures"]["val_mse"] == pytest.approx(line["val_mse"], abs=1e-5)


def test_the_best_is_by_a_figure_of_validation(run, config: Path, tmp_path: Path):
    change(config, "vae", keep_best="loss", examples=0)
    result = run("train", "vae", config, "--run", tmp_path / "vae")
    assert result.code == 2 and "keep_best is loss, but validation has val_" in result.err
    assert result.err.count("\n") == 1


def test_a_line_is_the_mean_since_the_last_one(run, config: Path, tmp_path: Path):
    losses = {}
    for every in (1, 3):
        change(config, "vae", steps=3, log_every_steps=every, validate_every_steps=9)
        train(run, "vae", config, tmp_path / str(every))
        lines = (tmp_path / str(every) / "log.jsonl").open()
        losses[every] = [json.loads(line)["loss"] for line in lines]
    assert losses[3] == [pytest.approx(sum(losses[1]) / 3, abs=1e-5)]
