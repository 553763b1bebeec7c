"""The paper's network in inference on a CPU: the numbers of its plain layers, faster."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stemweave.models.unet3d import UNet3D
from stemweave.models.winograd import Convolution, filtering, transform_weights
from stemweave.training.lora import add_lora


def plain(conv: Convolution, inputs: Tensor) -> Tensor:
    return functional.conv3d(inputs.double(), conv.weight.double(), conv.bias.double(), padding=1)


@pytest.mark.parametrize("shape", [(2, 8, 9, 16), (1, 8, 5, 2), (1, 4, 200, 4), (1, 2, 3, 8)])
def test_minimal_filtering_is_convolution(shape: tuple[int, ...], monkeypatch):
    monkeypatch.setattr("stemweave.models.winograd.SCRATCH_BYTES", 200_000)  # several chunks
    conv = Convolution(16, 24, 3, padding=1)
    inputs = torch.randn(shape[0], 16, *shape[1:])
    with torch.inference_mode():
        assert conv.is_fast(inputs)
        ours = conv(inputs)
        with_constants = conv(inputs, torch.ones(shape[0], 24))
    expected = plain(conv, inputs)
    tolerance = 2e-5 * expected.abs().max()
    assert (ours - expected).abs().max() <= tolerance
    assert (with_constants - expected - 1).abs().max() <= tolerance


@pytest.mark.parametrize("length", [2, 4, 16])
def test_filtering_is_exact_in_exact_arithmetic(length: int):
    axis = filtering(length)
    signal, taps = torch.randn(length).double(), torch.randn(3).double()
    products = (axis.weight @ taps).repeat_interleave(axis.tiles) * (axis.input @ signal)
    expected = functional.conv1d(signal[None, None], taps[None, None], padding=1)[0, 0]
    assert torch.allclose(axis.output @ products, expected, atol=1e-12)


def test_axes_that_do_not_divide_into_tiles_are_convolved_plainly():
    conv = Convolution(16, 16, 3, padding=1)
    inputs = torch.randn(1, 16, 3, 6, 5)
    with torch.inference_mode():
        assert not conv.is_fast(inputs)
        assert torch.allclose(conv(inputs).double(), plain(conv, inputs), atol=1e-5)


def test_nothing_is_kept_beside_the_weights():
    """Transformed weights are four times as large: 3 GB of the paper's network."""
    conv = Convolution(16, 16, 3, padding=1)
    before = set(vars(conv))
    with torch.no_grad():
        assert conv.is_fast(torch.randn(1, 16, 4, 5, 4))
        conv(torch.randn(1, 16, 4, 5, 4))
    assert set(vars(conv)) == before and set(conv.state_dict()) == {"weight", "bias"}
    transformed = transform_weights(conv.weight.detach(), 8, 2)
    along_c, along_w = filtering(8).weight, filtering(2).weight
    expected = torch.einsum("pc,qw,oichw->qpoih", along_c, along_w, conv.weight.double())
    assert (transformed - expected).abs().max() < 1e-6


@pytest.fixture(scope="module")
def network() -> UNet3D:
    torch.manual_seed(0)
    network = UNet3D(
        latent_channels=4, model_channels=32, channel_mult=(1, 2), attention_resolutions=(2,)
    ).eval()
    for parameter in network.parameters():  # none silent
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def asked(batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(batch, 4, 4, 8, 4), torch.tensor([3, 700])[:batch], torch.randn(2, 4, 8, 4)


def test_inference_and_training_give_the_same(network: UNet3D):
    latents, timestep, mixture = asked()
    trained = network(latents, timestep, mixture).detach()
    with torch.inference_mode():
        inferred = network(latents, timestep, mixture)
    assert (inferred - trained).abs().max() <= 1e-4 * trained.abs().max()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_autocast_and_channels_last(network: UNet3D, memory_format: torch.memory_format):
    latents, timestep, mixture = asked()
    with torch.inference_mode():
        expected = network(latents, timestep, mixture)
        moved = copy.deepcopy(network).to(memory_format=memory_format)
        with torch.autocast("cpu", torch.bfloat16):
            half = moved(latents, timestep, mixture)
    error = (half.float() - expected).abs().mean() / expected.abs().mean()
    assert 0 < error < 0.1


def test_an_adaptation_counts(network: UNet3D):
    latents, timestep, mixture = asked()
    adapted = copy.deepcopy(network)
    add_lora(adapted, rank=2, alpha=2)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    trained = adapted(latents, timestep, mixture).detach()
    with torch.inference_mode():
        inferred = adapted(latents, timestep, mixture)
        without = network(latents, timestep, mixture)
    assert (inferred - trained).abs().max() <= 1e-4 * trained.abs().max()
    assert (inferred - without).abs().max() > 1e-2 * trained.abs().max()
