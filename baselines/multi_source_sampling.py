"""Sampling of all stems jointly: generation, inpainting and separation with one score.

After Mariani et al., "Multi-Source Diffusion Models for Simultaneous Music Generation and
Separation" (MSDM, arXiv 2302.02257), Sections 4 and 5. x is (B, S, T); σ is the noise level and
the time. A denoiser D(x, σ) gives the score ∇ log p_σ(x) = (D(x, σ) - x) / σ², and sampling follows
dx/dσ = -σ · score (Karras et al., arXiv 2206.00364, equations 1 and 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Noisy stems (B, S, T) and their noise level, a scalar → the expected clean stems."""

Derivative = Callable[[Tensor, Tensor], Tensor]
"""dx/dσ of x (B, S, T) at noise level σ, a scalar."""


def karras_sigmas(num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Noise levels (num_steps + 1,) from ``sigma_max`` to ``sigma_min``, then 0 (Karras, eq. 5)."""
    if num_steps == 1:
        return torch.tensor([sigma_max, 0.0])
    ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)]).float()


def prior(denoise: Denoiser) -> Derivative:
    """Generation: the score of the stems' joint distribution."""
    return lambda x, sigma: (x - denoise(x, sigma)) / sigma


def gaussian_posterior(denoise: Denoiser, mixture: Tensor, width: float) -> Derivative:
    """Separation of ``mixture`` (B, 1, T) with a Gaussian likelihood.

    p(y | x(σ)) = N(y; Σ_n x_n(σ), γ²(σ) I) with γ(σ) = ``width`` · σ adds (y - Σ_n x_n) / γ² to the
    score of every stem. The authors' code halves that term, so their 0.75 is a width of
    0.75 · √2 = 1.06 here.
    """

    def derivative(x: Tensor, sigma: Tensor) -> Tensor:
        likelihood = (mixture - x.sum(1, keepdim=True)) / (width * sigma) ** 2
        return (x - denoise(x, sigma)) / sigma - sigma * likelihood

    return derivative


def dirac_posterior(denoise: Denoiser, mixture: Tensor, constrained: int = 0) -> Derivative:
    """Separation of ``mixture`` (B, 1, T) with a Dirac likelihood.

    p(y | x(σ)) = δ(y - Σ_n x_n(σ)) leaves no choice for one stem c: x_c = y - Σ_{n≠c} x_n. By the
    chain rule the score of the others is S_m - S_c, with S the score of the joint distribution at
    the constrained point. Wherever c itself drifts to, ``with_sum`` brings it back.
    """

    def derivative(x: Tensor, sigma: Tensor) -> Tensor:
        point = with_sum(x, mixture, constrained)
        step = (point - denoise(point, sigma)) / sigma
        return step - step[:, constrained : constrained + 1]

    return derivative


def with_sum(x: Tensor, mixture: Tensor, constrained: int) -> Tensor:
    """``x`` (B, S, T) with one stem set so that all add up to ``mixture`` (B, 1, T)."""
    rest = mixture - x.sum(1, keepdim=True) + x[:, constrained : constrained + 1]
    return x.index_copy(1, torch.tensor([constrained]), rest)


def sample(
    derivative: Derivative,
    start: Tensor,
    sigmas: Tensor,
    generator: torch.Generator,
    *,
    churn: float = 0.0,
    corrections: int = 0,
    known: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Stems (B, S, T): Euler steps from the noise ``start`` (B, S, T) along ``sigmas`` to 0.

    Args:
        derivative: dx/dσ; ``prior`` or one of the posteriors.
        sigmas: from ``karras_sigmas``; ``start`` has the first one's deviation.
        churn: fresh noise of all steps together (Karras, algorithm 2: S_churn).
        corrections: how often each step is taken back by noise and taken again.
        known: stems (B, S, T) and a mask (S,) of those that are given. They take part at the noise
            level of each step (the paper's partial generation) and come back as they are.
    """
    gain = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)

    def noise() -> Tensor:
        return torch.randn(start.shape, generator=generator)

    x = start
    for sigma, following in pairwise(sigmas):
        for repeat in range(corrections + 1):
            if repeat:
                x = x + (sigma**2 - following**2).sqrt() * noise()
            if known is not None:
                x = torch.where(known[1][:, None], known[0] + sigma * noise(), x)
            raised = sigma * (1 + gain)
            if gain > 0:
                x = x + (raised**2 - sigma**2).sqrt() * noise()
            x = x + (following - raised) * derivative(x, raised)
    return x if known is None else torch.where(known[1][:, None], known[0], x)
