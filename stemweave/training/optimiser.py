"""How weights change: learning rate, optimisers, and the average that is exported.

Muon: steps that turn a layer's weights in all directions alike (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon; scaled to AdamW's steps as in arXiv 2502.16982).
``torch.optim.Muon`` takes matrices alone; here a convolution's kernel, (O, I, h, w) say, is the
matrix (O, I · h · w), and everything else is left to AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from stemweave.errors import InputError
from stemweave.training.stage_settings import OptimiserSettings

MOMENTUM = 0.95
ITERATIONS = 5
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x³ and x⁵: singular values between 0.01 and 1 end between 0.7 and 1.2."""
STEP_RMS = 0.2
"""Of a weight's change at learning rate 1, as AdamW's usually is."""
OUTER_LAYERS = ("conv_in", "conv_out", "embedding", "fine_in", "head", "conditions")
"""First and last layers stay with AdamW, as the method's authors advise; so do conditions."""


class Muon(torch.optim.AdamW):
    """AdamW, but for the weights of inner layers; learning rate and weight decay are for both."""

    def __init__(self, groups: list[dict[str, Any]], inner: set[int], **kwargs: Any) -> None:
        """``inner``: identities of the inner layers' weights."""
        super().__init__(groups, **kwargs)
        self._inner = inner

    @torch.no_grad()
    def step(self, closure: None = None) -> Any:  # type: ignore[override]
        """One step from the gradients there are."""
        turned: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            for weight in group["params"]:
                gradient = weight.grad
                if id(weight) in self._inner and gradient is not None:
                    self._turn(weight, gradient, group)
                    turned.append((weight, gradient))
                    weight.grad = None  # AdamW passes over it
        super().step()
        for weight, gradient in turned:
            weight.grad = gradient

    def _turn(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it in what it loads
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        update = torch.lerp(gradient, momentum, MOMENTUM).flatten(1)
        scale = STEP_RMS * max(update.shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        update = orthogonalised(update).reshape(weight.shape)
        weight.add_(update, alpha=-group["lr"] * scale)


def is_inner(name: str, parameter: Tensor) -> bool:
    """Whether ``parameter`` of a network is the weight of an inner layer."""
    is_matrix = parameter.ndim > 1 and name.endswith("weight")
    return is_matrix and name.split(".")[0] not in OUTER_LAYERS


def orthogonalised(matrix: Tensor) -> Tensor:
    """``matrix`` (m, n) with singular values near one, by Newton and Schulz' iteration.

    The iterations are polynomials of the smaller Gram matrix, which is cheaper than to carry the
    matrix itself through them.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    matrix = matrix / matrix.norm().clamp(min=1e-12)
    linear, cubic, quintic = POLYNOMIAL
    gram = matrix @ matrix.T
    identity = torch.eye(len(gram), dtype=matrix.dtype, device=matrix.device)
    factor = identity
    for _ in range(ITERATIONS):
        step = linear * identity + cubic * gram + quintic * (gram @ gram)
        factor = step @ factor
        gram = step @ gram @ step
    return factor @ matrix


def in_groups(
    named: Sequence[tuple[str, Tensor]], learning_rates: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Parameter groups: first all that have the common learning rate, then one of each ``part``,
    a sub-module of the network that is named in ``learning_rates``.

    Raises ``InputError`` if one is named that has no parameters to train.
    """
    parts = {name.split(".")[0] for name, _ in named}
    if unknown := sorted(learning_rates.keys() - parts):
        raise InputError(
            f"optimiser.learning_rates names {unknown[0]}, which the network has not; it has "
            f"{', '.join(sorted(parts))}"
        )
    groups: dict[str, dict[str, Any]] = {"": {"params": []}}
    for name, parameter in named:
        part = name.split(".")[0]
        if part in learning_rates:
            own = {"params": [], "part": part, "lr": learning_rates[part]}
            groups.setdefault(part, own)["params"].append(parameter)
        else:
            groups[""]["params"].append(parameter)
    return list(groups.values())


def make_optimiser(network: nn.Module, settings: OptimiserSettings) -> torch.optim.Adam:
    """Adam, AdamW or ``Muon`` for the parameters of ``network`` that are trained."""
    named = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "weight_decay": settings.weight_decay,
    }
    groups = in_groups(named, settings.learning_rates)
    if settings.kind == "muon":
        return Muon(groups, {id(one) for name, one in named if is_inner(name, one)}, **options)
    return (torch.optim.Adam if settings.kind == "adam" else torch.optim.AdamW)(groups, **options)


def learning_rate_factor(settings: OptimiserSettings, num_steps: int) -> Callable[[int], float]:
    """Step → factor of the learning rate: linear warm-up, then constant or cosine."""

    def factor(step: int) -> float:
        done = step if settings.warmup_from_zero else step + 1
        warm = min(1.0, done / max(settings.warmup_steps, 1))
        if settings.schedule == "constant":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(step / num_steps, 1.0)))

    return factor


class WeightAverage(EMAModel):
    """Moving average of weights, between them and the first ones.

    After k steps the decay is min(``decay``, (1 + k) / (10 + k)), from k = 1 on, as in the paper's
    code. Further training on new data unteaches what the data lack; a share of the first weights
    keeps it (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).

    ``first_share`` is that of the first weights in what ``copy_to`` gives, 0 to 1; ``foreach``
    updates all weights in one call.
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
