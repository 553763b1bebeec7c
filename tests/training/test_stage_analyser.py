"""The analyser's training: targets, keys, a run, and the sheet that its export finds."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml

from stemweave.data import damage
from stemweave.data.songs import Song, append_to_manifest, write_song
from stemweave.model import load_model
from stemweave.models.analyser import SongAnalyser
from stemweave.music.lead_sheet import LeadSheet
from stemweave.training.networks import load_component
from stemweave.training.settings import load_settings
from stemweave.training.stage_analyser import UNKNOWN, AnalyserStage, targets_of
from stemweave.training.start import load_songs
from tests.conftest import make_tiny_pipeline
from tests.training.command import last_log, train

RATE = 16000
SHEET = LeadSheet.from_text("C | Am/E", 120, "3/4", duration_s=3.0)


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


def write_config(tmp_path):
    """Settings of a tiny analyser on two songs of noise."""
    for split in ("train", "validation"):
        song = Song(tmp_path / "songs" / split, split, 3.0, RATE, ("bass", "drums"))
        song.folder.mkdir(parents=True)
        for stem in song.stems:
            noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
            soundfile.write(song.folder / f"{stem}.wav", noise, RATE)
        write_song(song)
        append_to_manifest(tmp_path / "songs", song)
        (song.folder / "sheet.json").write_text(SHEET.to_json())
    analyser = {
        "crop_frames": 101, "batch_size": 2, "steps": 2, "validation_samples": 2,
        "validate_every_steps": 2, "log_every_steps": 1,
        "model": {"channels": 16, "dilations": [1, 2]},
    }  # fmt: skip
    settings = {"data": [str(tmp_path / "songs")], "stems": ["bass", "drums"], "analyser": analyser}
    path = tmp_path / "analyser.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_targets_are_the_sheets_beats_and_chords():
    found = targets_of(SHEET, 0.25, 100, 0.02, ("4/4", "3/4"))
    beats = np.flatnonzero(found["beat"] == 1)
    assert (0.25 + 0.02 * beats).tolist() == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=0.011)
    assert np.flatnonzero(found["downbeat"] == 1).tolist() == [62]  # 1.5 s
    assert found["metre"] == 1
    assert (found["root"][0], found["bass"][0]) == (0, 0)
    assert (found["root"][-1], found["bass"][-1]) == (9, 4)
    assert np.flatnonzero(found["tones"][-1]).tolist() == [0, 4, 9]
    unknown = targets_of(LeadSheet.from_text(None, 120, "7/8", duration_s=3), 0, 9, 0.02, ("3/4",))
    assert unknown["metre"] == UNKNOWN and (unknown["root"] == UNKNOWN).all()


def test_a_moved_piece_is_the_piece_in_another_key():
    torch.manual_seed(0)
    network = SongAnalyser(("4/4",), channels=16, dilations=(1,)).eval()
    time_s = torch.arange(RATE) / RATE
    low, high = (
        sum(torch.sin(2 * torch.pi * 220 * 2 ** (by / 12) * partial * time_s) for partial in (1, 2))
        for by in (0, 3)
    )
    seen = [network.pitches(one[None]) for one in (low, high)]
    moved = torch.roll(seen[0], 6, dims=1)
    inner = slice(10, 40)
    same = torch.nn.functional.cosine_similarity(moved[0, :, inner], seen[1][0, :, inner], dim=0)
    assert same.min() > 0.95
    with torch.no_grad():
        level = [network(gain * low[None])[0] for gain in (1.0, 1e-3)]
    assert torch.allclose(*level, atol=1e-4)


def test_the_command_trains_and_its_export_finds_a_sheet(run, config, tmp_path):
    train(run, "analyser", config, tmp_path / "run")
    logged = last_log(tmp_path / "run")
    names = ("beat", "downbeat", "metre", "root", "bass", "tones")
    assert logged["val_loss"] == pytest.approx(sum(logged[f"val_{name}"] for name in names))
    network = load_component("analyser", tmp_path / "run" / "export")
    assert tuple(network.config.metres) == ("3/4",)
    pipe = make_tiny_pipeline()
    pipe.analyser = network
    pipe.save_pretrained(tmp_path / "model")
    waveform = torch.randn(2, 44100, generator=torch.Generator().manual_seed(0))
    sheets = [one.analyse(waveform, 44100) for one in (pipe, load_model(str(tmp_path / "model")))]
    assert sheets[0] == sheets[1]


def test_songs_without_sheets_are_refused(run, config, tmp_path):
    for path in (tmp_path / "songs").rglob("sheet.json"):
        path.unlink()
    refused = run("train", "analyser", config, "--run", tmp_path / "run")
    assert refused.code == 2 and "no song has a sheet.json" in refused.err


def test_a_missing_file_is_passed_by(run, config, tmp_path, monkeypatch):
    monkeypatch.setattr(damage, "found", {})
    monkeypatch.setattr(damage, "seen", {})
    shutil.copytree(tmp_path / "songs" / "train", tmp_path / "songs" / "more")
    manifest = tmp_path / "songs" / "manifest.jsonl"
    line = json.loads(manifest.read_text().splitlines()[0]) | {"path": "more"}
    manifest.write_text(manifest.read_text() + json.dumps(line) + "\n")
    (tmp_path / "songs" / "more" / "bass.wav").unlink()
    result = run("train", "analyser", config, "--run", tmp_path / "run", "--set",
                 "analyser.batch_size=8")  # fmt: skip
    assert result.code == 0, result.err
    missing = tmp_path / "songs" / "more" / "bass"
    assert f"passed by: {missing} is listed and not there" in result.out


def test_validation_does_not_depend_on_the_batch(config):
    figures = []
    for size in (1, 2, 5):
        changes = [f"analyser.batch_size={size}", "analyser.validation_samples=5"]
        settings = load_settings(config, changes=changes)
        torch.manual_seed(0)
        stage = AnalyserStage(settings, *load_songs(settings))
        with torch.no_grad():
            figures.append(stage.validate(stage.network.eval()))
    assert figures[0] == pytest.approx(figures[1], rel=1e-4) and figures[0]["val_loss"] > 0
    assert figures[0] == pytest.approx(figures[2], rel=1e-4)
