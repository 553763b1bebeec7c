"""The training objective."""

import pytest
import torch
from diffusers import DDIMScheduler

from stemweave.diffusion.objective import denoising_loss, signal_and_noise, target


def clean_estimate(scheduler, noisy, prediction, timestep):
    """The latents that ``prediction`` stands for."""
    alpha, sigma = signal_and_noise(scheduler, timestep)
    if scheduler.config.prediction_type == "epsilon":
        return (noisy - sigma * prediction) / alpha.clamp(min=1e-4)
    return alpha * noisy - sigma * prediction


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_exact_prediction_has_no_loss(prediction_type: str):
    scheduler = DDIMScheduler(prediction_type=prediction_type)
    latents, noise = torch.randn(3, 4, 2, 8, 4), torch.randn(3, 4, 2, 8, 4)
    timestep = torch.randint(0, 1000, (3, 4))
    seen = {}

    def perfect(noisy, told_timestep, mixture, known):
        seen["timestep"], seen["noisy"] = told_timestep, noisy
        return target(scheduler, latents, noise, timestep)

    loss = denoising_loss(perfect, scheduler, latents, noise, timestep)
    assert loss.max() == 0
    clean = clean_estimate(
        scheduler, seen["noisy"], target(scheduler, latents, noise, timestep), timestep
    )
    assert torch.allclose(clean, latents, atol=2e-2)
    assert torch.equal(seen["timestep"], timestep)
    for stem in range(4):  # every stem has the noise of its own timestep
        ours = seen["noisy"][:, stem]
        theirs = scheduler.add_noise(latents[:, stem], noise[:, stem], timestep[:, stem])
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_known_positions_are_clean_and_do_not_count():
    scheduler = DDIMScheduler()
    latents, noise = torch.randn(2, 4, 2, 8, 4), torch.randn(2, 4, 2, 8, 4)
    timestep = torch.full((2, 4), 500)
    known = torch.zeros(2, 4, 8, dtype=torch.bool)
    known[:, 1] = True
    known[:, 2, :4] = True
    where = known[:, :, None, :, None].expand_as(latents)

    def wrong_where_known(noisy, told_timestep, mixture, told_known):
        assert told_timestep.shape == (2,)  # equal timesteps are passed as one
        assert torch.equal(told_known, known)
        assert torch.equal(noisy[where], latents[where])
        return torch.where(where, torch.full_like(noisy, 100.0), noise)

    loss = denoising_loss(wrong_where_known, scheduler, latents, noise, timestep, None, known)
    assert loss.max() == 0
