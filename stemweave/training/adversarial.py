"""Discriminators in training: their loss, their optimiser, and what they add to the network's loss.

One backward pass serves both. The network's part goes through discriminators whose weights are
constants, the discriminators' part sees the network's output as a constant; so the sum of the two
losses has both gradients, and accumulation and many processes need nothing special.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from stemweave.training.discriminators import (
    Discriminators,
    discriminator_loss,
    feature_distance,
    generator_loss,
)
from stemweave.training.stage_settings import AdversarialSettings


class Adversary:
    """The discriminators of a stage.

    They judge what the network made before it is updated by the same step. There is no running
    average of them: only the network's is ever used.
    """

    def __init__(self, discriminators: Discriminators, settings: AdversarialSettings) -> None:
        self.settings = settings
        self.discriminators = discriminators

    def prepare(
        self, accelerator: Accelerator, weight_decay: float, factor: Callable[[int], float]
    ) -> None:
        """Spread over the processes; ``factor`` of the learning rate is the network's."""
        optimiser = torch.optim.AdamW(
            self.discriminators.parameters(),
            lr=self.settings.learning_rate,
            betas=self.settings.betas,
            weight_decay=weight_decay,
        )
        self.accelerator, self.factor = accelerator, factor
        self.wrapped, self.optimiser = accelerator.prepare(self.discriminators, optimiser)

    def is_active(self, step: int) -> bool:
        return step >= self.settings.start_step

    def loss(self, fake: Tensor, real: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        """What to add to the loss of ``step``, zero before the discriminators' first, and figures.

        ``fake``, of the shape of ``real``, is the network's output.
        """
        if not self.is_active(step):
            return fake.new_zeros(()), {}
        settings, count = self.settings, len(real)
        both: list[Any] = self.wrapped(torch.cat([real, fake.detach()]))
        judged_real = [(score[:count], [f[:count] for f in features]) for score, features in both]
        judged_fake = [(score[count:], [f[count:] for f in features]) for score, features in both]
        own = discriminator_loss(judged_real, judged_fake, settings.loss)
        self.discriminators.requires_grad_(False)
        judged = self.discriminators(fake)
        self.discriminators.requires_grad_(True)
        fooling = generator_loss(judged, settings.loss)
        features_ = feature_distance(judged_real, judged)
        total = settings.weight * (fooling + settings.feature_weight * features_) + own
        return total, {
            "discriminator": own.item(),
            "generator": fooling.item(),
            "features": features_.item(),
        }

    def clip(self, max_norm: float) -> Tensor:
        """Norm of the gradient, which is then at most ``max_norm``."""
        return nn.utils.clip_grad_norm_(self.discriminators.parameters(), max_norm)

    def update(self, step: int) -> None:
        """One optimiser step of those that ``step`` has a loss of."""
        if not self.is_active(step):
            return
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * self.factor(step)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {
            "discriminators": self.discriminators.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimiser.load_state_dict(state["optimiser"])
