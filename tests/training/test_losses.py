"""The mask error is a distortion ratio; the STFT distance is zero for equal waveforms only."""

import pytest
import torch

from stemweave.training.losses import mask_error_db, multi_resolution_stft_distance


def test_mask_error_of_known_masks():
    target = torch.tensor([1.0, 1.0]).log().reshape(1, 2, 1, 1).expand(1, 2, 5, 8)
    mixture, width = torch.zeros(1, 5, 8), torch.ones(8)
    exact = mask_error_db(target, target, mixture, width)
    # masks of 0.5: a quarter of the mixture's energy each
    assert exact[0, 0].item() == pytest.approx(10 * torch.tensor(1e-4 / 0.26).log10().item())
    one_sided = torch.stack([torch.zeros(1, 5, 8), torch.full((1, 5, 8), -50.0)], dim=1)
    wrong = mask_error_db(one_sided, target, mixture, width)
    assert wrong[0, 0].item() == pytest.approx(10 * torch.tensor(0.2501 / 0.26).log10().item())


def test_mask_error_has_a_gradient_that_improves():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 4, 6, 8, generator=generator)
    mixture = torch.logsumexp(target, dim=1)
    estimate = torch.randn(2, 4, 6, 8, generator=generator).requires_grad_()
    before = mask_error_db(estimate, target, mixture, torch.ones(8)).mean()
    before.backward()
    with torch.no_grad():
        after = mask_error_db(estimate - 2 * estimate.grad, target, mixture, torch.ones(8)).mean()
    assert after < before - 0.5


def test_stft_distance():
    waveform = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    assert multi_resolution_stft_distance(waveform, waveform) == 0
    half = multi_resolution_stft_distance(0.5 * waveform, waveform).item()
    # spectral convergence 0.5 and a log-magnitude difference of ln 2
    assert half == pytest.approx(0.5 + 0.693, abs=0.01)
