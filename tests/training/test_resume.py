"""Stop and resume equals an uninterrupted run, whatever it began from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stemweave.training.loop import TrainingRun
from stemweave.training.networks import make_refiner, make_sharpener
from stemweave.training.settings import load_settings
from tests.training import test_stage_analyser, test_stage_score
from tests.training.command import change, last_log, train

MEASURED = ("time", "minutes", "steps_per_second", "minutes_to_go", "memory_gb")
"""Figures of the machine, not of the training."""


@pytest.fixture
def stopped_equals_whole(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Train at once and in two parts, and fail if one bit differs.

    ``at_first`` are options that only the command that begins a run has.
    """
    plain_step = TrainingRun.train_step

    def stop_after_two(self: Any) -> dict[str, float]:
        figures = plain_step(self)
        self.stop_requested = self.step == 2
        return figures

    def check(config: Path, stage: str, *options: object, at_first: tuple[object, ...] = ()):
        train(run, stage, config, tmp_path / "whole", *options, *at_first)
        with monkeypatch.context() as patch:
            patch.setattr(TrainingRun, "train_step", stop_after_two)
            train(run, stage, config, tmp_path / "parts", *options, *at_first)
        assert last_log(tmp_path / "parts")["step"] == 2
        train(run, stage, config, tmp_path / "parts", *options)
        whole, parts = (
            torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
            for name in ("whole", "parts")
        )
        assert whole["step"] == 4 and whole.pop("seconds") > 0 and parts.pop("seconds") > 0
        assert_equal(whole, parts)
        assert logged(tmp_path / "whole") == logged(tmp_path / "parts")

    return check


def logged(folder: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in MEASURED} for line in lines]


def assert_equal(one: object, two: object, where: str = "") -> None:
    """Bit for bit, to the last leaf."""
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for index, (left, right) in enumerate(zip(one, two, strict=True)):
            assert_equal(left, right, f"{where}/{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    else:
        assert one == two, where


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        ("denoiser", {"latents": "sample", "accumulation_steps": 2}),
        ("vae", {"spectral_weight": 0.5}),
        ("vocoder", {"batch_size": 1}),
        ("refiner", {}),
    ],
)
def test_of_stages_of_sound(
    run, config: Path, tmp_path: Path, stage: str, settings: dict, stopped_equals_whole
):
    vae: tuple[object, ...] = ()
    if stage in ("denoiser", "vocoder"):
        train(run, "vae", config, tmp_path / "vae")
        vae = ("--vae", tmp_path / "vae" / "export")
    change(config, stage, steps=4, validate_every_steps=4, examples=0, **settings)
    stopped_equals_whole(config, stage, *vae)


def test_a_sharpener_keeps_the_first_pass_that_it_began_with(
    config: Path, tmp_path: Path, stopped_equals_whole
):
    settings = load_settings(config)
    make_refiner(settings).save_pretrained(tmp_path / "refiner")
    torch.manual_seed(5)
    make_sharpener(settings).save_pretrained(tmp_path / "before")
    change(config, "sharpener", steps=4, validate_every_steps=4)
    refiner = ("--refiner", tmp_path / "refiner")
    stopped_equals_whole(config, "sharpener", *refiner, at_first=("--init", tmp_path / "before"))
    assert len(list(settings.cache.glob("*/shard_000000.safetensors"))) == 2  # one of validation


@pytest.mark.parametrize(
    ("stage", "module"), [("score", test_stage_score), ("analyser", test_stage_analyser)]
)
def test_of_stages_of_music(stage: str, module: Any, tmp_path: Path, stopped_equals_whole):
    config = module.write_config(tmp_path)
    change(config, stage, steps=4, validate_every_steps=4)
    stopped_equals_whole(config, stage)
