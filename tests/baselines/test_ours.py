"""Our own model as a baseline: trained by one command, scored in a row of its own."""

import json
from pathlib import Path

import pytest

from baselines.evaluation import COST, CPU_HOURS
from baselines.ours import COST_FILE, STAGES, load_ours
from stemweave.errors import InputError
from tests.training.conftest import write_settings

from .test_evaluation import export


@pytest.fixture
def ours(data: Path, tmp_path: Path) -> Path:
    """Settings of tiny stages."""
    return write_settings(data, tmp_path)


def test_a_run_of_all_stages_has_a_row_with_its_cost(run, ours, data, tiny_model, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="not finished"):
        load_ours(folder)
    result = run("train", "ours", ours, "--run", folder)
    assert result.code == 0, result.err
    hours = [json.loads((folder / stage / COST_FILE).read_text()) for stage in STAGES]
    assert min(hours) > 0
    pipe, cpu_hours = load_ours(folder)
    assert cpu_hours == pytest.approx(sum(hours))
    assert pipe.refiner is not None and pipe.sharpener is not None
    out = tmp_path / "report"
    result = run(
        "evaluate", data, "--run", export("open_unmix", tmp_path), "--ours", folder,
        "--model", tiny_model, "-n", 2, "-o", out,
    )  # fmt: skip
    assert result.code == 0, result.err
    measures = json.loads((out / "table.json").read_text())["measures"]
    assert measures[COST]["ours, 0.0 CPU-hours"][CPU_HOURS]["value"] == pytest.approx(cpu_hours)


def test_a_stage_that_fails_is_named(run, ours: Path, tmp_path: Path):
    ours.write_text(ours.read_text().replace("num_blocks: 1", "num_rooms: 1"))
    result = run("train", "ours", ours, "--run", tmp_path / "run")
    assert result.code == 2 and "train vae failed" in result.err
    assert not (tmp_path / "run" / COST_FILE).exists()
