"""Baselines through the command line: they learn, stop at their CPU time, and resume exactly."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from baselines.evaluation import load_baseline
from baselines.settings import BaselineSettings
from baselines.training import BASELINES, BaselineStage
from stemweave.training.settings import load_settings
from stemweave.training.start import load_songs

from .conftest import require_package


def change(config: Path, name: str, **settings: object) -> None:
    content = yaml.safe_load(config.read_text())
    content[name].update(settings)
    config.write_text(yaml.safe_dump(content))


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_few_steps_reduce_the_loss(run, config: Path, tmp_path: Path, name: str):
    require_package(name)
    result = run("train", name, config, "--run", tmp_path / "run", "--device", "cpu")
    assert result.code == 0, result.err
    steps = logged(tmp_path / "run")
    assert [line["step"] for line in steps] == list(range(1, 13))
    hours = [line["cpu_hours"] for line in steps]
    assert hours == sorted(hours) and hours[0] > 0 and hours[-1] < 0.1
    assert any(key.startswith("val_") for key in steps[-1])
    trained = load_baseline(tmp_path / "run")
    assert trained.cpu_hours == pytest.approx(hours[-1], abs=1e-4)
    assert all(torch.isfinite(p).all() for p in trained.parameters())
    assert fixed_loss(trained, config) < fixed_loss(untrained(name, config), config)


def untrained(name: str, config: Path):
    """The baseline as it is before its first step."""
    from stemweave.training.start import prepare

    settings = prepare(config, kind=BaselineSettings)
    return BaselineStage(name, settings, *load_songs(settings)).network.eval()


def fixed_loss(model, config: Path) -> float:
    """Training loss on the same crops and noise for every model."""
    import numpy as np

    settings = load_settings(config, BaselineSettings)
    train, validation = load_songs(settings)
    stage = BaselineStage("open_unmix", settings, train, validation)
    crops = stage.crops(train, 8, stage.mixing, np.random.default_rng(3))
    with torch.inference_mode():
        return model.loss(model, crops, torch.Generator().manual_seed(3)).item()


def test_stop_and_resume_equals_an_uninterrupted_run(run, config: Path, tmp_path: Path):
    """Dropout too: its draws follow from the step."""
    change(config, "open_unmix", steps=4)
    run("train", "open_unmix", config, "--run", tmp_path / "whole")
    # a budget of no time at all: one step, again and again
    for done in (1, 2):
        result = run(
            "train", "open_unmix", config, "--run", tmp_path / "parts", "--cpu-hours", 1e-9
        )
        assert result.code == 0 and logged(tmp_path / "parts")[-1]["step"] == done
    run("train", "open_unmix", config, "--run", tmp_path / "parts")
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("whole", "parts")
    )
    assert whole["step"] == parts["step"] == 4
    for name, tensor in whole["network"].items():
        assert name == "training_cpu_s" or torch.equal(tensor, parts["network"][name]), name
    hours = [line["cpu_hours"] for line in logged(tmp_path / "parts")]
    assert hours == sorted(hours)


@pytest.mark.parametrize(("name", "module"), [("htdemucs", "demucs"), ("msdm", "a_unet")])
def test_missing_package_is_named(run, config, tmp_path, monkeypatch, name, module):
    for loaded in [key for key in sys.modules if key.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    result = run("train", name, config, "--run", tmp_path / "run")
    assert result.code == 2 and "make baselines" in result.err
    assert not (tmp_path / "run").exists()


def test_wrong_names_are_refused(run, config: Path, tmp_path: Path):
    result = run("train", "spleeter", config)
    assert result.code == 2 and "open_unmix, htdemucs, msdm" in result.err
    change(config, "open_unmix", model={"hidden": 3})
    result = run("train", "open_unmix", config, "--run", tmp_path / "run")
    assert result.code == 2 and "hidden" in result.err
    config.write_text(f"data: [{tmp_path}]")
    result = run("train", "open_unmix", config, "--run", tmp_path / "run")
    assert result.code == 2 and "no section open_unmix" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", list(BASELINES))
def test_shipped_settings_are_valid(name: str):
    require_package(name)
    from baselines.training import build

    folder = Path(__file__).parents[2] / "baselines" / "configs"
    settings = load_settings(folder / f"{name}.yaml", BaselineSettings)
    assert isinstance(settings, BaselineSettings)
    model = build(name, settings, 5120)
    assert model.stems == settings.stems and settings.section(name).cpu_hours == 0.8
