"""A tiny model with random weights, for everything that needs a pipeline but no quality."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from stemweave.cli.main import main
from stemweave.model import StemModel
from stemweave.models.compact import CompactUNet
from stemweave.models.log_mel import LogMel
from stemweave.models.vae import PatchVAE
from stemweave.models.vocoder import SpectralVocoder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Ray's cluster.

    Ray leaves threads of its own in a process that has used it and takes Python's report of crashes
    away, so these tests have a process to themselves: ``make test`` runs pytest twice.
    """
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)


def make_tiny_pipeline(stems: tuple[str, ...] = ("bass", "drums", "guitar", "piano")):
    """Real components, a window of 1.28 s, about 100 k random weights."""
    torch.manual_seed(0)
    return StemModel(
        LogMel(n_fft=512, win_length=512, hop_length=320, num_mels=32, segment_frames=64),
        PatchVAE(latent_channels=2, hidden_channels=8, num_blocks=1),
        CompactUNet(
            stems=stems,
            latent_channels=2,
            latent_bands=8,
            block_channels=(16, 32),
            blocks_per_level=1,
            attention_levels=(1,),
            embedding_channels=16,
        ),
        DDIMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            clip_sample=False,
        ),
        SpectralVocoder(
            num_mels=32, coarse_channels=16, coarse_blocks=1, fine_channels=16, fine_blocks=1
        ),
        reference_rms=0.1,
        generation_steps=2,
    )


@pytest.fixture(scope="session")
def tiny_pipe() -> StemModel:
    """The tiny model in memory."""
    return make_tiny_pipeline()


@pytest.fixture(scope="session")
def tiny_model(tiny_pipe: StemModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """Address of a Ray cluster of two workers, which believes to have two GPUs."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (its 15 starves them where others run)
    store_bytes = 80 * 2**20
    node = dict(num_cpus=2, num_gpus=2, object_store_memory=store_bytes, include_dashboard=False)
    cluster = Cluster(initialize_head=True, head_node_args=node)
    yield cluster.address
    cluster.shutdown()


@dataclass
class Outcome:
    """What a command ended with."""

    code: int
    out: str
    err: str


def call_main(main: Callable[[], None], argv: list[str], capsys: Any, monkeypatch: Any) -> Outcome:
    """Run a console script's ``main`` in this process."""
    monkeypatch.setattr("sys.argv", argv)
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run ``stemweave ARGUMENTS`` in this process, as the console script does."""

    def call(*arguments: object) -> Outcome:
        return call_main(main, ["stemweave", *map(str, arguments)], capsys, monkeypatch)

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the repository's examples in it."""
    (tmp_path / "examples").symlink_to(Path(__file__).parent.parent / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path
