"""A small data set and settings with which every stage trains in a second."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from stemweave.data.songs import Song, append_to_manifest, write_song
from stemweave.music.lead_sheet import SHEET_FILE, LeadSheet
from stemweave.music.midi import SCORE_FILE, write_midi
from stemweave.music.score import Score, ScoreNote
from tests.training.command import train

STEMS = ("bass", "drums", "guitar", "piano")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Of PyTorch: forks would wait for others for ever; sums are those of one-thread workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training songs and a validation song of noise, 4 s each."""
    folder = tmp_path_factory.mktemp("songs")
    for index in range(4):
        song_folder = folder / f"song_{index}"
        song_folder.mkdir()
        for stem in STEMS:
            rng = np.random.default_rng([index, STEMS.index(stem)])
            noise = 0.1 * rng.standard_normal(64_000)
            soundfile.write(song_folder / f"{stem}.flac", noise, 16000)
        split = "validation" if index == 3 else "train"
        song = Song(song_folder, split, 4.0, 16000, STEMS)
        write_song(song)
        append_to_manifest(folder, song)
    return folder


@pytest.fixture
def composed(data: Path, tmp_path: Path) -> Path:
    """The songs of ``data`` with sheets, scores and sounds; every song has drums on its beats."""
    folder = tmp_path / "composed"
    shutil.copytree(data, folder)
    for number, song in enumerate(sorted(folder.glob("song_*"))):
        sheet = LeadSheet.from_text(
            "C | F", 120.0, "4/4", style="rock", instruments={"bass": "finger"}
        )
        beats = (ScoreNote(beat, beat + 0.1, 36, 90) for beat in range(8))
        melody = (ScoreNote(number, number + 1, 60, 90),)
        score = Score({"bass": (), "drums": tuple(beats), "piano": melody})
        (song / SHEET_FILE).write_text(sheet.to_json())
        write_midi(song / SCORE_FILE, score, sheet)
        details = json.loads((song / "song.json").read_text())
        details["soundfonts"] = {"piano": f"{'aaab'[number]}.sf2"}
        (song / "song.json").write_text(json.dumps(details))
    return folder


@pytest.fixture
def config(data: Path, tmp_path: Path) -> Path:
    """Settings of tiny stages, two steps each."""
    return write_settings(data, tmp_path)


@pytest.fixture
def vae(run, config: Path, tmp_path: Path) -> Path:
    """A trained autoencoder."""
    train(run, "vae", config, tmp_path / "vae")
    return tmp_path / "vae" / "export"


def write_settings(data: Path, folder: Path) -> Path:
    """A file in ``folder``: tiny stages, two steps each, on the songs of ``data``."""
    optimiser = {"learning_rate": 1e-3, "warmup_steps": 2, "ema_decay": 0.5}
    common = {
        "optimiser": optimiser,
        "batch_size": 2,
        "crop_frames": 32,
        "steps": 2,
        "validate_every_steps": 2,
        "log_every_steps": 1,
    }
    settings = {
        "data": [str(data)],
        "cache": str(folder / "cache"),
        "log_mel": {
            "n_fft": 512, "win_length": 512, "hop_length": 320, "num_mels": 32,
            "segment_frames": 64,
        },
        "vae": {
            **common, "model": {"latent_channels": 2, "hidden_channels": 8, "num_blocks": 1},
        },
        "denoiser": {
            **common,
            "model": {
                "latent_channels": 2, "latent_bands": 8, "block_channels": [16, 32],
                "blocks_per_level": 1, "attention_levels": [1], "embedding_channels": 16,
            },
            "scheduler": {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
            "shard_size": 8,
            "first_shards": 1,
        },
        "refiner": {
            **common,
            "optimiser": {**optimiser, "kind": "muon"},
            "model": {
                "block_channels": [16, 32], "attention_levels": [1], "fine": True,
                "band_mixers": True,
            },
            "mel_weight": 0.5,
            "shard_size": 8,
            "first_shards": 1,
        },
        "sharpener": {
            **common,
            "model": {
                "channels": 8, "dilations": [1, 2], "num_components": 2, "later_components": 3,
            },
            "piece_frames": 16,
            "shard_size": 8,
            "first_shards": 1,
        },
        "vocoder": {
            **common,
            "model": {
                "num_mels": 32, "hop_length": 320, "sample_rate": 16000, "coarse_channels": 16,
                "coarse_blocks": 1, "fine_channels": 16, "fine_blocks": 1,
            },
        },
    }  # fmt: skip
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path
