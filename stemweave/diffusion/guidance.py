"""Classifier-free guidance on the mixture (paper, Section 2.3), given stems, sheet and score."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[..., Tensor]
"""(latents, timestep, mixture, known) → prediction, all shapes as in ``models.compact``."""

ConditionedDenoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(latents, timestep, known) → prediction, of a mixture or none that it holds already."""


def guided(denoiser: Denoiser, mixture: Tensor | None, guidance: float) -> ConditionedDenoiser:
    """``guidance · conditional + (1 - guidance) · unconditional``; at 0 and at 1 one pass alone."""

    def predict(latents: Tensor, timestep: Tensor, known: Tensor | None) -> Tensor:
        if mixture is None or guidance == 0:
            return denoiser(latents, timestep, None, known)
        conditional = denoiser(latents, timestep, mixture, known)
        if guidance == 1:
            return conditional
        unconditional = denoiser(latents, timestep, None, known)
        return guidance * conditional + (1 - guidance) * unconditional

    return predict


def guided_by_stems(
    denoiser: ConditionedDenoiser, guidance: float, noise: Tensor, last_timestep: int
) -> ConditionedDenoiser:
    """A denoiser of (latents, timestep, known) that listens to given stems ``guidance`` times.

    The unconditional pass takes pure ``noise`` (B, S, C, H, W) at ``last_timestep`` in place of
    every stem that is ``known`` throughout; what is known of the others stays. The mixed prediction
    of each stem is brought to the conditional one's standard deviation, or stems would be too loud
    (arXiv 2305.08891, Section 3.4, φ = 1). At 1, or where no stem is given, there is one pass.
    """

    def predict(latents: Tensor, timestep: Tensor, known: Tensor | None) -> Tensor:
        conditional = denoiser(latents, timestep, known)
        if guidance == 1 or known is None:
            return conditional
        given = known.all(dim=2)
        if not given.any():
            return conditional
        unconditional = denoiser(
            torch.where(given[:, :, None, None, None], noise, latents),
            torch.where(given, last_timestep, timestep),
            known & ~given[:, :, None],
        )
        return _mixed(conditional, unconditional, guidance)

    return predict


def guided_by_conditions(
    conditioned: ConditionedDenoiser,
    unconditioned: ConditionedDenoiser,
    guidance: float,
    first_timestep: int = 0,
) -> ConditionedDenoiser:
    """A denoiser that gives sheet and score the weight ``guidance``, mixed as by stems.

    At 1, and at timesteps below ``first_timestep``, the ``conditioned`` one is called alone, at 0
    the other.
    """
    if guidance in (0, 1):
        return conditioned if guidance == 1 else unconditioned

    def predict(latents: Tensor, timestep: Tensor, known: Tensor | None) -> Tensor:
        conditional = conditioned(latents, timestep, known)
        if timestep.max() < first_timestep:
            return conditional
        return _mixed(conditional, unconditioned(latents, timestep, known), guidance)

    return predict


def _mixed(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    mixed = guidance * conditional + (1 - guidance) * unconditional
    return mixed * (_std_of_stems(conditional) / _std_of_stems(mixed).clamp(min=1e-8))


def _std_of_stems(prediction: Tensor) -> Tensor:
    """(B, S, 1, 1, 1) of (B, S, C, H, W)."""
    return prediction.std(dim=(2, 3, 4), keepdim=True)
