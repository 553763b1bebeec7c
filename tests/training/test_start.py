"""Which songs a run trains and validates on, and how it knows them again."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stemweave.data.readers import read_data
from stemweave.data.tar_songs import describe_songs
from stemweave.errors import InputError
from stemweave.training.checkpoint import read_checkpoint
from stemweave.training.settings import load_settings
from stemweave.training.start import load_songs, with_validation
from tests.training.command import change, train

STEMS = ("bass", "drums", "guitar", "piano")


def test_the_songs_are_said_and_silent_stems_refused(run, config: Path, data: Path, tmp_path: Path):
    change(config, "vae", steps=1)
    (tmp_path / "more" / "text").mkdir(parents=True)
    (tmp_path / "more" / "text" / "bass.wav").write_text("no audio")
    change(config, None, data=[str(data), str(tmp_path / "more")])
    done = run("train", "vae", config, "--run", tmp_path / "run")
    assert done.code == 0, done.err
    assert [line.split() for line in done.out.splitlines()[:2]] == [
        ["hours", "train", "validation", "all"], ["bass", "0.00", "0.00", "0.00"]
    ]  # fmt: skip
    assert f"skipped {tmp_path / 'more' / 'text'}: " in done.out
    change(config, None, stems=[*STEMS, "vocals"])
    refused = run("train", "vae", config, "--run", tmp_path / "other")
    assert refused.code == 2 and "no training song has vocals" in refused.err
    shutil.copytree(data, tmp_path / "data")
    for index in range(3):
        soundfile.write(tmp_path / "data" / f"song_{index}" / "drums.flac", np.zeros(64_000), 16000)
    change(config, None, stems=[*STEMS], data=[str(tmp_path / "data")])
    refused = run("train", "vae", config, "--run", tmp_path / "other")
    assert refused.code == 2 and "no training song has drums, or only silence" in refused.err


def test_runs_are_named_by_stage_and_settings(run, config: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--set", "vae.steps=3"], ["--set", "vae.kl_weight=0.1"]):
        assert run("train", "vae", config, *options).code == 0
        names = sorted(path.name for path in Path("runs").iterdir())
        assert names[0] == "vae" and Path("runs/vae").resolve().name in names
        assert len(names) == (3 if "vae.kl_weight=0.1" in options else 2)
    first, second = sorted(Path("runs").glob("vae-*"), key=lambda path: path.stat().st_ctime_ns)
    assert read_checkpoint(first / "checkpoint.pt")["step"] == 3
    assert Path("runs/vae").resolve() == second.resolve()
    assert run("train", "denoiser", config, "--set", "denoiser.examples=0").code == 0
    shutil.rmtree("runs")
    Path("runs/vae").mkdir(parents=True)  # an earlier version's goes on
    assert run("train", "vae", config).code == 0 and Path("runs/vae/export").is_dir()


@pytest.mark.parametrize(
    ("wanted", "held_out"), [(("song_1",), {"song_1"}), (0.5, 2), (0.01, 1), (None, {"song_3"})]
)
def test_validation_songs_by_list_or_share(config: Path, wanted: Any, held_out: Any):
    change(config, None, validation=list(wanted) if isinstance(wanted, tuple) else wanted)
    training, validation = load_songs(load_settings(config))
    names = {song.name for song in validation}
    assert names == held_out if isinstance(held_out, set) else len(names) == held_out
    assert len(training) + len(validation) == 4
    assert not names & {song.name for song in training}


def test_one_song_at_least_is_held_out(data: Path):
    songs = [song for song in read_data(data, STEMS).songs if song.split == "train"]
    assert [song.split for song in with_validation(songs, None)].count("validation") == 1
    with pytest.raises(InputError, match="there is no song nobody"):
        with_validation(songs, ("nobody",))


def test_one_stem_is_enough(run, config: Path, tmp_path: Path):
    change(config, None, stems=["drums"])
    for stage in ("vae", "refiner"):
        train(run, stage, config, tmp_path / stage)
    train(run, "denoiser", config, tmp_path / "denoiser", "--vae", tmp_path / "vae" / "export")


def test_a_repaired_file_is_another_one(data: Path, tmp_path: Path):
    shutil.copytree(data, tmp_path / "data")
    before = describe_songs(read_data(tmp_path / "data", STEMS).songs)
    assert before == describe_songs(read_data(tmp_path / "data", STEMS).songs)
    path = tmp_path / "data" / "song_0" / "bass.flac"
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[::-1], rate)
    os.utime(path, ns=(0, 0))
    assert before != describe_songs(read_data(tmp_path / "data", STEMS).songs)
