"""Guidance: exact mixtures of the two predictions, and no pass too many."""

import pytest
import torch

from stemweave.diffusion.guidance import guided


class Counting:
    """Predicts 3 with a mixture and 1 without."""

    def __init__(self) -> None:
        self.calls: list[bool] = []

    def __call__(self, latents, timestep, mixture, known):
        self.calls.append(mixture is not None)
        return torch.full_like(latents, 3.0 if mixture is not None else 1.0)


@pytest.mark.parametrize(
    ("weight", "value", "calls"),
    [(0.0, 1.0, [False]), (1.0, 3.0, [True]), (2.0, 5.0, [True, False])],
)
def test_guidance(weight: float, value: float, calls: list[bool]):
    denoiser = Counting()
    predict = guided(denoiser, torch.zeros(1, 2, 4, 4), weight)
    prediction = predict(torch.zeros(1, 4, 2, 4, 4), torch.tensor([5]), None)
    assert torch.all(prediction == value)
    assert denoiser.calls == calls


def test_without_a_mixture_one_unconditional_pass_is_made():
    denoiser = Counting()
    guided(denoiser, None, 7.0)(torch.zeros(1, 4, 2, 4, 4), torch.tensor([5]), None)
    assert denoiser.calls == [False]
