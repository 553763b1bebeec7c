"""Our own model as a baseline: trained by one command, scored in a row of its own."""

import json
from pathlib import Path

import pytest
import yaml

from baselines.evaluation import COST, CPU_HOURS
from baselines.ours import COST_FILE, STAGES, load_ours
from stemweave.files import InputError

from .test_evaluation import export


@pytest.fixture
def ours(data: Path, tmp_path: Path) -> Path:
    """Settings of tiny stages, one step each."""
    stage = {"batch_size": 1, "crop_frames": 32, "steps": 1, "validate_every_steps": 1}
    shards = {"shard_size": 4, "first_shards": 1}
    settings = {
        "data": [str(data)],
        "cache": str(tmp_path / "cache"),
        "log_mel": {
            "n_fft": 512, "win_length": 512, "hop_length": 320, "num_mels": 32,
            "segment_frames": 64,
        },
        "vae": {
            **stage, "model": {"latent_channels": 2, "hidden_channels": 8, "num_blocks": 1},
        },
        "denoiser": {
            **stage, **shards,
            "model": {
                "latent_bands": 8, "block_channels": [16, 32], "blocks_per_level": 1,
                "attention_levels": [1], "embedding_channels": 16,
            },
            "validation_samples": 2,
        },
        "refiner": {
            **stage, **shards, "model": {"block_channels": [16, 32], "attention_levels": []},
        },
        "vocoder": {
            "model": {
                "num_mels": 32, "hop_length": 320, "coarse_channels": 16, "coarse_blocks": 1,
                "fine_channels": 16, "fine_blocks": 1,
            },
        },
    }  # fmt: skip
    path = tmp_path / "ours.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


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
    assert pipe.refiner is not None
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
