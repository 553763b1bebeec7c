"""MSDM's network: parametrisation, loss, and the shapes of its three tasks."""

import pytest
import torch

from baselines.msdm import MSDM

from .conftest import STEMS, TINY, require_package


@pytest.fixture
def model() -> MSDM:
    require_package("msdm")
    torch.manual_seed(0)
    return MSDM(STEMS, **TINY["msdm"]).eval()


def test_denoiser_keeps_what_has_no_noise_and_the_loss_sees_the_network_alone(model: MSDM):
    stems = 0.05 * torch.randn(2, 4, 640)
    nearly_clean = model(stems, torch.tensor([1e-6, 1e-6]))
    assert torch.allclose(nearly_clean, stems, atol=1e-5)

    def perfect(noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return stems

    assert model.loss(perfect, stems, torch.Generator().manual_seed(0)) == 0
    # a network that always answers zero has a loss of about 1 if sigma_data fits the data
    model.network.forward = lambda x, level: torch.zeros_like(x)
    generator = torch.Generator().manual_seed(0)
    many = 0.05 * torch.randn(64, 4, 640)
    assert model.loss(model, many, generator).item() == pytest.approx(1, rel=0.05)


@torch.inference_mode()
def test_tasks_of_any_length(model: MSDM):
    mixture = 0.1 * torch.randn(1000)
    for method in ("dirac", "gaussian"):
        stems = model.separate(mixture, torch.Generator().manual_seed(0), method)
        assert stems.shape == (4, 1000) and torch.isfinite(stems).all()
    dirac = model.separate(mixture, torch.Generator().manual_seed(0), "dirac")
    assert torch.allclose(dirac.sum(0), mixture, atol=1e-5)
    pieces = [model.generate(1000, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert pieces[0].shape == (4, 1000)
    assert torch.equal(pieces[0], pieces[1]) and not torch.equal(pieces[0], pieces[2])
    given = torch.tensor([True, False, True, False])
    stems = 0.05 * torch.randn(4, 1000)
    arranged = model.arrange(stems, given, torch.Generator().manual_seed(0))
    assert torch.equal(arranged[given], stems[given])
    assert not torch.allclose(arranged[~given], stems[~given])
