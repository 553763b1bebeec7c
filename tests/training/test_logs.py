"""Sounds and pictures of every stage are logged; wandb is there for those who have it."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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
