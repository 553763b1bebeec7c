"""What is held fixed while sampling: given stems and given time ranges.

``KnownPositions`` for denoisers that were trained with given positions, clean at every step;
``Replacement`` for others (the paper's way: given positions carry the noise of the step).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Constraint(Protocol):
    """Applied to the latents before every denoiser call and after the last step."""

    @property
    def known(self) -> Tensor | None:
        """What the denoiser takes as given: (B, S, H) bool, or None."""
        ...

    def before(self, latents: Tensor, timestep: Tensor, scheduler: Any) -> Tensor: ...

    def after(self, latents: Tensor) -> Tensor: ...


class Free:
    """Nothing is held fixed."""

    known = None

    def before(self, latents: Tensor, timestep: Tensor, scheduler: Any) -> Tensor:
        return latents

    def after(self, latents: Tensor) -> Tensor:
        return latents


@dataclass
class KnownPositions:
    """Clean latents (B, S, C, H, W) at ``known`` (B, S, H), a condition of the denoiser."""

    clean: Tensor
    known: Tensor

    def before(self, latents: Tensor, timestep: Tensor, scheduler: Any) -> Tensor:
        return self.after(latents)

    def after(self, latents: Tensor) -> Tensor:
        return torch.where(self.known[:, :, None, :, None], self.clean, latents)


@dataclass
class Replacement:
    """The paper's arrangement: given positions are q(z_n | z_0) with fresh noise at each step."""

    clean: Tensor
    given: Tensor
    generator: torch.Generator | None = None
    known: None = None

    def before(self, latents: Tensor, timestep: Tensor, scheduler: Any) -> Tensor:
        noise = torch.randn(self.clean.shape, generator=self.generator, dtype=self.clean.dtype)
        noisy = scheduler.add_noise(self.clean, noise.to(self.clean.device), timestep.reshape(1))
        return torch.where(self.given[:, :, None, :, None], noisy, latents)

    def after(self, latents: Tensor) -> Tensor:
        return torch.where(self.given[:, :, None, :, None], self.clean, latents)
