"""Guidance: exact mixtures of the two predictions, and no pass too many."""

import pytest
import torch

from stemweave.diffusion.guidance import guided, guided_by_stems


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


def test_given_stems_are_listened_to_more_without_getting_louder():
    heard: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    told, untold = torch.randn(2, 1, 4, 2, 8, 4)

    def denoiser(latents, timestep, known):
        heard.append((latents, timestep, known))
        return told if known[0, 0].all() else untold

    latents, noise = torch.zeros(1, 4, 2, 8, 4), torch.ones(1, 4, 2, 8, 4)
    known = torch.zeros(1, 4, 8, dtype=torch.bool)
    known[:, 0] = True  # bass throughout
    known[:, 1, :4] = True  # the beginning of the drums
    timestep = torch.tensor([[0, 700, 700, 700]])
    prediction = guided_by_stems(denoiser, 2.0, noise, 999)(latents, timestep, known)
    mixed = 2 * told - untold
    assert torch.allclose(prediction.std(dim=(2, 3, 4)), told.std(dim=(2, 3, 4)))
    ratio = prediction / mixed
    assert torch.allclose(ratio, ratio[..., :1, :1, :1].expand_as(ratio), rtol=1e-4)
    hidden, its_timestep, its_known = heard[1]
    assert torch.equal(hidden[:, 0], noise[:, 0]) and not hidden[:, 1:].any()
    assert its_timestep.tolist() == [[999, 700, 700, 700]]
    assert not its_known[:, 0].any() and torch.equal(its_known[:, 1:], known[:, 1:])


@pytest.mark.parametrize(("guidance", "throughout"), [(1.0, True), (2.0, False)])
def test_one_pass_is_enough_without_guidance_or_whole_stems(guidance: float, throughout: bool):
    passes = 0

    def denoiser(latents, timestep, known):
        nonlocal passes
        passes += 1
        return latents + 3

    latents, known = torch.zeros(1, 4, 2, 8, 4), torch.zeros(1, 4, 8, dtype=torch.bool)
    known[:, 0, : 8 if throughout else 4] = True
    predict = guided_by_stems(denoiser, guidance, latents, 999)
    assert torch.all(predict(latents, torch.tensor([700]), known) == 3)
    assert torch.all(predict(latents, torch.tensor([700]), None) == 3)
    assert passes == 2
