"""Muon: steps that turn a layer's weights in all directions alike (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon; scaled to AdamW's steps as in arXiv 2502.16982).

``torch.optim.Muon`` takes matrices alone; here a convolution's kernel, (O, I, h, w) say, is the
matrix (O, I · h · w), and everything else is left to AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stemweave.errors import InputError

MOMENTUM = 0.95
ITERATIONS = 5
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x³ and x⁵: singular values between 0.01 and 1 end between 0.7 and 1.2."""
STEP_RMS = 0.2
"""Of a weight's change at learning rate 1, as AdamW's usually is."""
OUTER_LAYERS = ("conv_in", "conv_out", "embedding", "fine_in", "head", "conditions")
"""First and last layers stay with AdamW, as the method's authors advise; so do conditions."""


class Muon(torch.optim.AdamW):
    """AdamW, but for the weights of inner layers.

    Args:
        named_parameters: of the network, in their order.
        learning_rates: see ``in_groups``.
        kwargs: AdamW's. The learning rate and the weight decay are for both.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, Tensor]],
        learning_rates: Mapping[str, float] = {},
        **kwargs: Any,
    ) -> None:
        named = list(named_parameters)
        self._inner = {id(parameter) for name, parameter in named if is_inner(name, parameter)}
        super().__init__(in_groups(named, learning_rates), **kwargs)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # type: ignore[override]
        """One step from the gradients there are."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
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
    named: Iterable[tuple[str, Tensor]], learning_rates: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Parameter groups: first all that have the common learning rate, then one of each ``part``,
    a sub-module of the network that is named in ``learning_rates``.

    Raises:
        InputError: if one is named that has no parameters to train.
    """
    named = list(named)
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


def make_optimiser(
    network: nn.Module, kind: str, learning_rates: Mapping[str, float] = {}, **kwargs: Any
) -> torch.optim.Adam:
    """Adam, AdamW or ``Muon`` (``kind``) for the parameters of ``network`` that are trained."""
    named = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    if kind == "muon":
        return Muon(named, learning_rates, **kwargs)
    optimiser = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    return optimiser(in_groups(named, learning_rates), **kwargs)
