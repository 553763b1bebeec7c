"""Open-Unmix: shapes, masks that add up, standardised input, separation by known magnitudes."""

import pytest
import torch

from baselines.open_unmix import OpenUnmix, power_masks
from stemweave.evaluation.signal_measures import si_sdr_db

from .conftest import STEMS, TINY


@pytest.fixture
def model() -> OpenUnmix:
    torch.manual_seed(0)
    return OpenUnmix(STEMS, **TINY["open_unmix"]).eval()


def test_published_size_at_16_khz():
    parameters = sum(p.numel() for p in OpenUnmix(["bass"], n_fft=1536).parameters())
    # 769 bins, hidden 512: encoder, 3 bidirectional LSTM layers of 256 each way, two linear layers,
    # batch norms, scales and offsets of input and output
    lstm = 3 * 2 * 4 * 256 * (512 + 256 + 2)
    linear = 769 * 512 + 1024 * 512 + 512 * 769
    assert parameters == linear + lstm + 2 * (512 + 512 + 769) + 4 * 769


def test_masks_add_up_and_so_do_the_stems(model: OpenUnmix):
    magnitude = torch.rand(3, 7, 129)
    estimates = model(magnitude)
    assert estimates.shape == (3, 4, 7, 129) and (estimates >= 0).all()
    masks = power_masks(estimates)
    assert torch.allclose(masks.sum(1), torch.ones(3, 7, 129), atol=1e-6)
    assert torch.equal(power_masks(torch.zeros(1, 4, 2, 3)), torch.full((1, 4, 2, 3), 0.25))
    mixture = torch.randn(5001)
    stems = model.separate(mixture, torch.Generator())
    assert stems.shape == (4, 5001)
    assert torch.allclose(stems.sum(0), mixture, atol=1e-5)


def test_each_stem_has_its_own_network(model: OpenUnmix):
    magnitude = torch.rand(1, 7, 129)
    before = model(magnitude)
    model.networks[1].output_mean.data += 1
    changed = (model(magnitude) != before).flatten(2).any(2)[0]
    assert changed.tolist() == [False, True, False, False]


def test_input_is_standardised_by_what_was_observed(model: OpenUnmix):
    stems = torch.randn(4, 4, 8000) * torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None]
    model.observe(stems)
    magnitude = model.spectrum(stems.sum(1)).abs()
    network = model.networks[2]
    standardised = (magnitude - network.input_mean) * network.input_scale
    assert standardised.mean((0, 1)).abs().max() < 1e-4
    assert torch.allclose(standardised.flatten(0, 1).std(0), torch.ones(129), atol=1e-3)


def test_true_magnitudes_separate_stems_in_bands_of_their_own(model, monkeypatch):
    time_s = torch.arange(16_000) / 16_000
    stems = torch.stack([torch.sin(2 * torch.pi * hz * time_s) for hz in (300, 900, 2700, 6000)])
    truth = model.spectrum(stems).abs()[None]
    monkeypatch.setattr(OpenUnmix, "forward", lambda self, magnitude: truth)
    separated = model.separate(stems.sum(0), torch.Generator())
    assert (si_sdr_db(separated, stems) > 25).all()
