"""The toy pipeline and a small data set."""

import json
from pathlib import Path

import pytest

from stemweave.evaluation import separation

from .toys import ToyPipeline, write_song


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> ToyPipeline:
    """The toy pipeline; its decoded spectra are the mixture's for every stem."""

    def mixture_spectra(pipe, mono, sampling):
        return pipe.log_mel(mono).repeat(len(pipe.denoiser.config.stems), 1, 1)

    monkeypatch.setattr(separation, "separated_spectra", mixture_spectra)
    return ToyPipeline()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three validation songs of 6.1 s with all stems, one training song; with a manifest."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for seed in range(4):
        write_song(folder / f"song_{seed}", seed)
        described = json.loads((folder / f"song_{seed}" / "song.json").read_text())
        split = "validation" if seed < 3 else "train"
        lines.append(json.dumps({"path": f"song_{seed}", "split": split, **described}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder
