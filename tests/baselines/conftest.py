"""Small songs, settings with which every baseline trains in a second, and its command line."""

import json
from pathlib import Path

import pytest
import yaml

from baselines.__main__ import main
from tests.conftest import call_main
from tests.evaluation.toys import write_song

STEMS = ["bass", "drums", "guitar", "piano"]
TINY = {
    "open_unmix": {"n_fft": 256, "hidden_size": 16, "num_layers": 2, "dropout": 0.2},
    "htdemucs": {"n_fft": 1536, "channels": 8, "transformer_layers": 1, "transformer_heads": 2},
    "msdm": {
        "channels": [16, 16], "factors": [16, 4], "blocks": [1, 1], "attentions": [0, 1],
        "attention_heads": 1, "attention_features": 8, "modulation_features": 16, "num_steps": 2,
    },
}  # fmt: skip
PACKAGES = {"htdemucs": "demucs.htdemucs", "msdm": "a_unet"}


def require_package(name: str) -> None:
    """Skip the test if the package that a baseline's network comes from is not installed."""
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"{name} needs 'make baselines'")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run ``python -m baselines ARGUMENTS`` in this process."""

    def call(*arguments: object):
        return call_main(main, ["baselines", *map(str, arguments)], capsys, monkeypatch)

    return call


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs for training and two for validation, 2 s each."""
    folder = tmp_path_factory.mktemp("songs")
    lines = []
    for seed in range(4):
        write_song(folder / f"song_{seed}", seed, num_samples=32_000)
        described = json.loads((folder / f"song_{seed}" / "song.json").read_text())
        split = "validation" if seed % 2 else "train"
        lines.append(json.dumps({"path": f"song_{seed}", "split": split, **described}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def config(data: Path, tmp_path: Path) -> Path:
    """Settings of tiny baselines: 12 steps of two crops of 0.64 s."""
    stage = {
        "optimiser": {
            "learning_rate": 3e-3, "warmup_steps": 1, "schedule": "constant", "ema_decay": 0.5,
        },
        "batch_size": 2,
        "crop_frames": 32,
        "steps": 12,
        "validate_every_steps": 12,
        "validation_crops": 2,
        "log_every_steps": 1,
    }  # fmt: skip
    settings = {
        "data": [str(data)],
        "log_mel": {"sample_rate": 16000, "hop_length": 320},
        "mixing": {"cross_song_probability": 0.5},
        **{name: {**stage, "model": model} for name, model in TINY.items()},
    }
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path
