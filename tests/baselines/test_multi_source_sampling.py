"""Sampling with exact scores of Gaussian priors: variance, known posteriors, given stems."""

import math

import pytest
import torch

from baselines.multi_source_sampling import (
    dirac_posterior,
    gaussian_posterior,
    karras_sigmas,
    prior,
    sample,
    with_sum,
)

NUM_SAMPLES = 64


def band(number: int) -> torch.Tensor:
    """Projection (T, T) on one of four frequency bands that have nothing in common."""
    keep = torch.zeros(NUM_SAMPLES // 2 + 1)
    keep[1 + 8 * number : 9 + 8 * number] = 1
    return torch.fft.irfft(torch.fft.rfft(torch.eye(NUM_SAMPLES)) * keep, n=NUM_SAMPLES)


class GaussianPrior:
    """Stems that are jointly Gaussian with ``covariance`` (S·T, S·T), and their exact denoiser."""

    def __init__(self, covariance: torch.Tensor) -> None:
        values, vectors = torch.linalg.eigh(covariance.double())
        self.values, self.vectors = values.clamp(min=0), vectors

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        gain = self.values / (self.values + sigma.double() ** 2)
        flat = x.flatten(1).double() @ self.vectors
        return ((flat * gain) @ self.vectors.T).reshape(x.shape).float()

    def draw(self, count: int, shape: tuple[int, int], generator) -> torch.Tensor:
        noise = torch.randn(count, len(self.values), generator=generator, dtype=torch.float64)
        return ((noise * self.values.sqrt()) @ self.vectors.T).reshape(count, *shape).float()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def in_bands() -> GaussianPrior:
    """Four stems with a band each: their sum has one explanation only."""
    return GaussianPrior(torch.block_diag(*[(n + 1) * band(n) for n in range(4)]))


def start(shape: tuple[int, ...], sigmas: torch.Tensor, generator) -> torch.Tensor:
    return sigmas[0] * torch.randn(shape, generator=generator)


def test_noise_levels():
    sigmas = karras_sigmas(20, 1e-3, 2.0)
    assert len(sigmas) == 21 and sigmas[-1] == 0
    assert sigmas[0] == pytest.approx(2.0) and sigmas[-2] == pytest.approx(1e-3)
    assert (sigmas.diff() < 0).all()
    assert karras_sigmas(1, 1e-3, 2.0).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("churn", [0.0, 20.0])
def test_generation_has_the_variance_of_the_prior(generator, churn: float):
    variances = torch.tensor([0.25, 4.0])
    toy = GaussianPrior(torch.diag(variances))
    sigmas = karras_sigmas(400, 1e-3, 40.0)
    noise = start((5000, 2, 1), sigmas, generator)
    x = sample(prior(toy.denoise), noise, sigmas, generator, churn=churn)[..., 0]
    assert torch.allclose(x.var(0), variances, rtol=0.1)
    assert x.mean(0).abs().max() < 0.1


@pytest.mark.parametrize("likelihood", ["dirac", "gaussian"])
def test_separation_finds_the_only_stems_that_explain_the_mixture(generator, likelihood: str):
    """With fresh noise: without it, errors fall with σ to the power of a quarter only."""
    toy = in_bands()
    stems = toy.draw(3, (4, NUM_SAMPLES), generator)
    mixture = stems.sum(1, keepdim=True)
    derivative = (
        dirac_posterior(toy.denoise, mixture, constrained=2)
        if likelihood == "dirac"
        else gaussian_posterior(toy.denoise, mixture, 0.75 * math.sqrt(2))
    )
    sigmas = karras_sigmas(150, 1e-4, 20.0)
    noise = start(tuple(stems.shape), sigmas, generator)
    x = sample(derivative, noise, sigmas, generator, churn=20, corrections=1)
    if likelihood == "dirac":
        x = with_sum(x, mixture, 2)
        assert torch.allclose(x.sum(1, keepdim=True), mixture, atol=1e-5)
    assert (x - stems).abs().max() < 0.01 * stems.abs().max()


def test_dirac_shares_the_mixture_between_equal_stems(generator):
    """Two stems of equal variance: the posterior's mean is half of the mixture each."""
    toy = GaussianPrior(torch.eye(2))
    mixture = torch.full((1, 1, 1), 3.0)
    sigmas = karras_sigmas(200, 1e-4, 200.0)
    x = sample(
        dirac_posterior(toy.denoise, mixture),
        start((1, 2, 1), sigmas, generator),
        sigmas,
        generator,
    )
    assert torch.allclose(with_sum(x, mixture, 0), torch.full((1, 2, 1), 1.5), atol=0.03)


def test_posterior_scores_are_gradients():
    """Both derivatives are -σ times the gradient of log prior + log likelihood."""
    toy = in_bands()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 4, NUM_SAMPLES, generator=generator)
    mixture = torch.randn(1, 1, NUM_SAMPLES, generator=generator)
    sigma, width = torch.tensor(0.7), 0.8

    def log_prior(stems: torch.Tensor) -> torch.Tensor:
        projected = stems.flatten().double() @ toy.vectors
        return -0.5 * (projected**2 / (toy.values + sigma**2)).sum()

    def log_gaussian(stems: torch.Tensor) -> torch.Tensor:
        error = mixture - stems.sum(1, keepdim=True)
        return log_prior(stems) - 0.5 * error.square().sum() / (width * sigma) ** 2

    free = torch.tensor([0, 1, 3])

    def log_dirac(stems: torch.Tensor) -> torch.Tensor:
        return log_prior(with_sum(stems, mixture, 2))

    gradient = torch.autograd.functional.jacobian(log_gaussian, x)
    derivative = gaussian_posterior(toy.denoise, mixture, width)(x, sigma)
    assert torch.allclose(derivative, (-sigma * gradient).float(), atol=1e-4)
    gradient = torch.autograd.functional.jacobian(log_dirac, x)
    derivative = dirac_posterior(toy.denoise, mixture, 2)(x, sigma)
    assert torch.allclose(derivative[:, free], (-sigma * gradient).float()[:, free], atol=1e-4)


def test_given_stems_stay_and_the_missing_one_follows(generator):
    """The second stem is twice the first: given one, the other has no choice."""
    shape = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    toy = GaussianPrior(torch.kron(shape, torch.eye(8)))
    stems = toy.draw(1, (2, 8), generator)
    sigmas = karras_sigmas(150, 1e-4, 20.0)
    given = torch.tensor([True, False])
    hidden = torch.where(given[:, None], stems, torch.nan)
    known = (torch.nan_to_num(hidden), given)
    noise = start((1, 2, 8), sigmas, generator)
    x = sample(prior(toy.denoise), noise, sigmas, generator, corrections=2, known=known)
    assert torch.equal(x[:, 0], stems[:, 0])
    assert (x[:, 1] - stems[:, 1]).abs().max() < 0.05 * stems[:, 1].abs().max()
