"""The training objective: noise the unknown, predict, compare (paper, Section 2.2).

``scheduler`` is any diffusers scheduler with ``alphas_cumprod``, ``config.num_train_timesteps`` and
``config.prediction_type`` ("epsilon" or "v_prediction"). Knows nothing of audio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Denoiser = Callable[..., Tensor]


def add_noise(scheduler: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """q(z_n | z_0) for ``latents`` (B, S, C, H, W) at one timestep per stem (B, S)."""
    alpha, sigma = signal_and_noise(scheduler, timestep)
    return alpha * latents + sigma * noise


def signal_and_noise(scheduler: Any, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(alpha_cumprod) and sqrt(1 - alpha_cumprod) of timesteps (B, S), as (B, S, 1, 1, 1)."""
    alphas_cumprod = scheduler.alphas_cumprod.to(timestep.device)[timestep].float()
    alphas_cumprod = alphas_cumprod[..., None, None, None]
    return alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()


def target(scheduler: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """What the denoiser has to predict; raises ``ValueError`` for an unknown prediction type."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        alpha, sigma = signal_and_noise(scheduler, timestep)
        return alpha * noise - sigma * latents
    raise ValueError(f"prediction_type must be epsilon or v_prediction, not {kind}")


def denoising_loss(
    denoiser: Denoiser,
    scheduler: Any,
    latents: Tensor,
    noise: Tensor,
    timestep: Tensor,
    mixture: Tensor | None = None,
    known: Tensor | None = None,
    conditions: Any = None,
    extra: Mapping[str, Tensor] = {},
) -> Tensor:
    """Mean squared error (B,) of each sample.

    Args:
        latents, noise: (B, S, C, H, W).
        timestep: (B, S) integers.
        mixture: (B, C, H, W), all zeros where a sample has no mixture; None for the whole batch.
        known: (B, S, H) bool: positions given clean, excluded from the error.
        conditions: further conditions of the B samples; None for a denoiser without.
        extra: more arguments of the denoiser by name, of B samples each.
    """
    noisy = add_noise(scheduler, latents, noise, timestep)
    if known is not None:
        noisy = torch.where(known[:, :, None, :, None], latents, noisy)
    # one timestep for the batch's stems is passed as (B,): the paper's network knows no other
    shared = bool((timestep == timestep[:, :1]).all())
    further = () if conditions is None else (conditions,)
    own_timestep = timestep[:, 0] if shared else timestep
    prediction = denoiser(noisy, own_timestep, mixture, known, *further, **extra)
    error = (prediction - target(scheduler, latents, noise, timestep)).square()
    if known is None:
        return error.flatten(1).mean(1)
    unknown = (~known)[:, :, None, :, None].expand_as(error).float()
    return (error * unknown).flatten(1).sum(1) / unknown.flatten(1).sum(1).clamp(min=1)
