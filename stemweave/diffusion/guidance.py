"""Classifier-free guidance on the mixture (paper, Section 2.3)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Denoiser = Callable[..., Tensor]
"""(latents, timestep, mixture, known) → prediction, all shapes as in ``models.compact``."""


def guided(denoiser: Denoiser, mixture: Tensor | None, guidance: float) -> Denoiser:
    """A denoiser that predicts ``guidance · conditional + (1 - guidance) · unconditional``.

    At 0 (or without a mixture) and at 1 only one of the two passes is made.
    """

    def predict(latents: Tensor, timestep: Tensor, known: Tensor | None) -> Tensor:
        if mixture is None or guidance == 0:
            return denoiser(latents, timestep, None, known)
        conditional = denoiser(latents, timestep, mixture, known)
        if guidance == 1:
            return conditional
        unconditional = denoiser(latents, timestep, None, known)
        return guidance * conditional + (1 - guidance) * unconditional

    return predict
