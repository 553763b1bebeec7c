"""The weights that are exported: a moving average, and a share of the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusers.training_utils import EMAModel
from torch import Tensor


class WeightAverage(EMAModel):
    """Moving average of weights, between them and the first ones.

    After k steps the decay is min(``decay``, (1 + k) / (10 + k)), from k = 1 on, as in the paper's
    code. Further training on new data unteaches what the data lack; a share of the first weights
    keeps it (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).

    Args:
        parameters: the weights.
        decay: of the moving average.
        first_share: of the first weights in what ``copy_to`` gives, 0 to 1.
        foreach: whether all weights are updated in one call.
    """

    def __init__(
        self, parameters: Sequence[Tensor], decay: float, first_share: float, foreach: bool
    ) -> None:
        super().__init__(parameters, decay=decay, update_after_step=-1, foreach=foreach)
        self.first_share = first_share
        self.first = [weights.detach().clone() for weights in parameters] if first_share else []

    def copy_to(self, parameters: Sequence[Tensor]) -> None:
        """Set ``parameters`` to what is exported."""
        super().copy_to(parameters)
        for weights, first in zip(parameters, self.first, strict=False):
            weights.data.lerp_(first.to(weights.device), self.first_share)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "first": self.first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises ``ValueError`` if a share of first weights is wanted that the state lacks."""
        super().load_state_dict(state_dict)
        if self.first_share and not state_dict.get("first"):
            raise ValueError("the checkpoint has no first weights")
        self.first = state_dict["first"] if self.first_share else []
