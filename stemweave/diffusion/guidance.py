"""Classifier-free guidance on the mixture (paper, Section 2.3)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Denoiser = Callable[..., Tensor]
"""(latents, timestep, mixture, known) → prediction, all shapes as in ``models.compact``."""


EVERYWHERE = (0, 1000)


def guided(
    denoiser: Denoiser,
    mixture: Tensor | None,
    guidance: float,
    interval: tuple[int, int] = EVERYWHERE,
) -> Denoiser:
    """A denoiser that predicts ``guidance · conditional + (1 - guidance) · unconditional``.

    At 0 (or without a mixture) and at 1 only one of the two passes is made, and only the
    conditional one at timesteps outside ``interval`` (arXiv 2404.07724).
    """

    def predict(latents: Tensor, timestep: Tensor, known: Tensor | None) -> Tensor:
        if mixture is None or guidance == 0:
            return denoiser(latents, timestep, None, known)
        conditional = denoiser(latents, timestep, mixture, known)
        if guidance == 1 or not _within(timestep, interval):
            return conditional
        unconditional = denoiser(latents, timestep, None, known)
        return guidance * conditional + (1 - guidance) * unconditional

    return predict


def _within(timestep: Tensor, interval: tuple[int, int]) -> bool:
    """Whether the step, that of stems that are not known, lies in ``interval``."""
    return interval == EVERYWHERE or interval[0] <= timestep.max().item() <= interval[1]
