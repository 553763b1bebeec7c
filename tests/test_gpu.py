"""What only a graphics card can show, with the bundled model: ``pytest -m gpu tests/test_gpu.py``.

scripts/gpu_run.sh runs them. ``GPU_TESTS_ON=cpu`` tries the tests themselves where there is none.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from benchmarks.unet3d import inputs, random_network
from stemweave.model import StemModel, load_model
from stemweave.models.acceleration import accelerate, channels_last
from stemweave.models.parts import PARTS

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
EXCERPT = Path(__file__).parent.parent / "examples" / "freedoom_excerpt"
RATE, SECONDS = 44100, 4
FAR = 0.03
"""Mean difference of log-mels (natural logarithms): bfloat16 on a CPU makes 0.005."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA here"),
]


def load(device: str) -> StemModel:
    """The bundled model; masks in float32 on CPUs, too, which else would not be comparable."""
    pipe = load_model(device=device)
    accelerate(pipe, "float32")
    return pipe


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    return load(DEVICE)


@pytest.fixture(scope="module")
def cpu_pipe() -> StemModel:
    return load("cpu")


@pytest.fixture(scope="module")
def song(pipe) -> dict[str, torch.Tensor]:
    def read(stem: str) -> torch.Tensor:
        samples, rate = soundfile.read(EXCERPT / f"{stem}.flac", SECONDS * RATE, dtype="float32")
        assert rate == RATE
        return torch.from_numpy(samples.T.copy())

    return {stem: read(stem) for stem in pipe.stems}


Stems = dict[str, torch.Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TASKS: dict[str, Callable[..., Stems]] = {
    "separate": lambda pipe, song: pipe.separate(sum(song.values()), RATE),
    "generate": lambda pipe, song: pipe.generate(SECONDS, steps=4, generator=seeded()),
    "arrange": lambda pipe, song: pipe.arrange(
        {stem: song[stem] for stem in ("guitar", "piano")}, RATE, steps=4, generator=seeded()
    ),
    "edit": lambda pipe, song: pipe.edit(
        song, RATE, renew={"drums": (1.0, 3.0)}, steps=4, generator=seeded()
    ),
    "extend": lambda pipe, song: pipe.extend(song, RATE, seconds=2.0, steps=4, generator=seeded()),
    "vary": lambda pipe, song: pipe.vary(song, RATE, steps=4, generator=seeded()),
}


def apart(one: Stems, other: Stems, pipe: StemModel) -> float:
    """Largest mean difference of any stem's log-mel."""
    assert one.keys() == other.keys()
    assert all(one[stem].shape == other[stem].shape for stem in one)
    mels = [
        torch.stack([pipe.log_mel.to("cpu")(found[stem].cpu().mean(dim=0)) for stem in found])
        for found in (one, other)
    ]
    assert all(mel.isfinite().all() for mel in mels)
    return (mels[0] - mels[1]).abs().flatten(1).mean(dim=1).max().item()


@pytest.mark.parametrize("task", TASKS)
def test_a_task_does_what_the_cpu_does(pipe, cpu_pipe, song, task: str):
    found, expected = TASKS[task](pipe, song), TASKS[task](cpu_pipe, song)
    distance = apart(found, expected, cpu_pipe)
    print(f"{task}: {distance:.4f}")
    assert distance < FAR


def test_another_seed_is_far(pipe, cpu_pipe):
    """So that the comparison above can fail."""
    pieces = [pipe.generate(SECONDS, steps=4, generator=seeded(seed)) for seed in (0, 1)]
    assert apart(*pieces, cpu_pipe) > 6 * FAR


@pytest.mark.parametrize("method", ["mask", "diffusion"])
def test_windows_in_batches_are_those_one_by_one(pipe, song, method: str):
    mixture = sum(song.values()).repeat(1, 8)  # 32 s: several windows
    found = {
        batch: pipe.separate(mixture, RATE, method=method, generator=seeded(), batch_windows=batch)
        for batch in (1, 3, None)
    }
    for batch in (3, None):
        for stem, expected in found[1].items():
            error = (found[batch][stem] - expected).abs().max() / expected.abs().max()
            assert error < 0.02, f"{stem}, {batch} windows at once"


def test_autocast_changes_little(cpu_pipe):
    pieces = []
    for dtype in ("float32", "bfloat16"):
        pipe = load_model(device=DEVICE)
        accelerate(pipe, dtype)
        pieces.append(pipe.generate(SECONDS, steps=4, generator=seeded()))
    distance = apart(*pieces, cpu_pipe)
    print(f"bfloat16: {distance:.4f}")
    assert 0 < distance < FAR


def test_offloaded_parts_compute_the_same_and_go_back(pipe, cpu_pipe, song):
    expected = TASKS["arrange"](pipe, song)
    offloaded = load("cpu")
    offloaded.enable_model_cpu_offload(DEVICE)
    found = TASKS["arrange"](offloaded, song)
    assert apart(found, expected, cpu_pipe) < FAR
    if DEVICE == "cuda":
        parts = (vars(offloaded).get(name) for name in PARTS)
        there = [
            part
            for part in parts
            if isinstance(part, torch.nn.Module)
            and any(parameter.is_cuda for parameter in part.parameters())
        ]
        assert len(there) <= 1


@torch.inference_mode()
def test_one_pass_of_the_papers_network():
    network = random_network({})
    given = inputs(network, 256)
    network = channels_last(network.to(DEVICE))
    there = [tensor.to(DEVICE) for tensor in given]
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    exact = network(*there)
    assert exact.shape == given[0].shape and exact.isfinite().all()
    with torch.autocast(torch.device(DEVICE).type, torch.bfloat16):
        rounded = network(*there).float()
    error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < 0.1
    if DEVICE == "cuda":
        assert torch.cuda.max_memory_allocated() < 8 * 2**30
