"""How networks run on devices, as far as a CPU can show it."""

import pytest
import torch

from stemweave.model import StemModel
from stemweave.models import acceleration
from stemweave.models.compact import CompactUNet
from stemweave.models.unet3d import UNet3D

RATE = 16000


def stems_of(pipe: StemModel, **options: int) -> torch.Tensor:
    noise = 0.1 * torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(0))
    stems = pipe.separate(noise, RATE, generator=torch.Generator().manual_seed(1), **options)
    return torch.stack(list(stems.values()))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_changes_little(tiny_model, dtype: str):
    pipe = StemModel.from_pretrained(tiny_model)
    for parameter in pipe.denoiser.parameters():  # none silent
        torch.nn.init.normal_(parameter, std=0.1)
    expected = stems_of(pipe, steps=2)
    acceleration.accelerate(pipe, dtype)
    ours = stems_of(pipe, steps=2)
    assert ours.dtype == torch.float32
    assert 0 < (ours - expected).abs().mean() < 0.1 * expected.abs().mean()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--dtype", "int8"], "bfloat16"),
        (["--compile"], "no-such-compiler is not installed"),
        (["--device", "meta:nowhere"], "error: device meta:nowhere"),
    ],
)
def test_what_cannot_compute_is_one_sentence(
    run, tiny_model, examples_file, monkeypatch, option, words
):
    monkeypatch.setenv("CXX", "no-such-compiler")
    outcome = run("separate", examples_file, "-o", "o", "--model", tiny_model, *option)
    assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1


def test_compiled_networks_keep_their_names(tiny_model, monkeypatch):
    pipe = StemModel.from_pretrained(tiny_model)
    names = set(pipe.denoiser.state_dict())
    expected = stems_of(pipe)
    real = torch.nn.Module.compile
    monkeypatch.setattr(  # tracing, without a minute of C++
        torch.nn.Module, "compile", lambda network: real(network, backend="eager")
    )
    acceleration.accelerate(pipe, compile=True)
    assert set(pipe.denoiser.state_dict()) == names
    assert torch.allclose(stems_of(pipe), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "memory_format"),
    [
        (CompactUNet(block_channels=(16, 32)), torch.channels_last),
        (UNet3D(model_channels=32, channel_mult=(1,)), torch.channels_last_3d),
    ],
)
def test_both_denoisers_go_channels_last(network, memory_format):
    acceleration.channels_last(network)
    weights = [p for p in network.parameters() if p.ndim in (4, 5)]
    assert weights and all(w.is_contiguous(memory_format=memory_format) for w in weights)


def test_parts_wait_on_the_cpu_until_they_are_called(tiny_model, monkeypatch):
    pipe = StemModel.from_pretrained(tiny_model)
    expected = stems_of(pipe, steps=2)
    pipe.enable_model_cpu_offload("cpu")
    moves = []
    for name in ("vae", "denoiser", "vocoder"):
        part = getattr(pipe, name)
        real = part.to
        monkeypatch.setattr(
            part,
            "to",
            lambda where, real=real, name=name: (moves.append((name, type(where))), real(where)),
        )
    assert torch.equal(stems_of(pipe, steps=2), expected)
    there = [name for name, where in moves if where is torch.device]
    back = [name for name, where in moves if where is str]
    assert there == ["vae", "denoiser", "vae", "denoiser", "vae"]  # two windows
    assert back == there[:-1]
    pipe.generate(1.0, generator=torch.Generator().manual_seed(0))
    assert moves[-1][0] == "vocoder"


def test_the_batch_is_what_fits():
    assert acceleration.windows_that_fit(10_000, 1_000) == 8
    assert acceleration.windows_that_fit(100, 1_000) == 1
    assert acceleration.windows_that_fit(2**40, 1) == acceleration.MAX_WINDOWS
    assert acceleration.WindowBatch(None, torch.device("cpu")).size() == 1
    assert acceleration.WindowBatch(5, torch.device("cpu")).size() == 5


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory is full"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate"), "memory is full"),
        (RuntimeError("CUDA error: no kernel image is available\nmore"), "no kernel image"),
    ],
)
def test_what_devices_say_is_one_sentence(run, monkeypatch, error: RuntimeError, words: str):
    def fail() -> None:
        raise error

    monkeypatch.setattr("stemweave.cli.main.app", fail)
    outcome = run("separate")
    assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1
    assert acceleration.device_problem(RuntimeError("shapes do not match")) is None


@pytest.fixture
def examples_file(tmp_path):
    import soundfile

    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * torch.randn(RATE).numpy(), RATE)
    return path
