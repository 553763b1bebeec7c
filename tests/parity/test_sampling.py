"""Our sampling against the reference's, written out a second time: timesteps, DDIM, replacement."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from stemweave.checkpoints.importer import PAPER_SCHEDULE
from stemweave.diffusion.constraints import Replacement
from stemweave.diffusion.guidance import guided
from stemweave.diffusion.sampler import sample
from stemweave.diffusion.schedulers import SAMPLERS, set_timesteps, with_sampler
from stemweave.errors import InputError

from . import reference as ref

SHAPE = (1, 4, 8, 4, 4)
ALPHAS = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=np.float64) ** 2)


def reference_timesteps(steps: int) -> list[int]:
    """Ascending; without 1000, which the reference's schedule has no noise for."""
    return [n + 1 for n in range(0, 1000, 1000 // steps) if n + 1 < 1000]


def reference_ddim(model, noise: Tensor, steps: int, eta: float, generator, before=None) -> Tensor:
    """DDIM in float64, with noise drawn in the order that ours draws it."""
    timesteps = reference_timesteps(steps)
    previous = [ALPHAS[0], *ALPHAS[timesteps[:-1]]]
    latents = noise.double()
    for n, alpha_before in reversed(list(zip(timesteps, previous, strict=True))):
        alpha = ALPHAS[n]
        if before is not None:
            latents = before(latents, alpha)
        eps = model(latents.float(), torch.tensor([n])).double()
        sigma = eta * np.sqrt((1 - alpha_before) / (1 - alpha) * (1 - alpha / alpha_before))
        clean = (latents - np.sqrt(1 - alpha) * eps) / np.sqrt(alpha)
        latents = np.sqrt(alpha_before) * clean + np.sqrt(1 - alpha_before - sigma**2) * eps
        if eta > 0:
            latents = latents + sigma * torch.randn(SHAPE, generator=generator)
    return latents


def stand_in(latents: Tensor, timestep: Tensor, mixture: Tensor | None = None, _=None) -> Tensor:
    """The model of ``spec["ddim"]``, and a condition that changes it."""
    shift = 0.0 if mixture is None else 0.3 * mixture[:, None]
    return torch.tanh(0.7 * latents + shift) + 0.001 * timestep.float().reshape(-1, 1, 1, 1, 1)


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def test_timesteps_of_every_number_of_steps():
    scheduler = DDIMScheduler(**PAPER_SCHEDULE)
    for steps in range(1, 1001):
        set_timesteps(scheduler, steps)
        assert scheduler.timesteps.tolist() == reference_timesteps(steps)[::-1], steps
        assert scheduler.config.num_train_timesteps // scheduler.num_inference_steps == (
            1000 // steps
        )


def test_more_steps_than_a_schedule_of_its_own_has():
    scheduler = DDIMScheduler(**{**PAPER_SCHEDULE, "num_train_timesteps": 500})
    set_timesteps(scheduler, 500)
    with pytest.raises(InputError, match="steps must be at most 500"):
        set_timesteps(scheduler, 501)


@pytest.mark.parametrize(
    ("steps", "eta"), [(1, 1.0), (7, 0.0), (150, 1.0), (333, 0.0), (1000, 1.0)]
)
def test_trajectories(steps: int, eta: float):
    noise = ref.reference_input("ddim.x_T")
    drawn = sample(
        lambda latents, timestep, known: stand_in(latents, timestep),
        DDIMScheduler(**PAPER_SCHEDULE),
        noise,
        steps,
        eta=eta,
        generator=torch.Generator().manual_seed(3),
    )
    theirs = reference_ddim(stand_in, noise, steps, eta, torch.Generator().manual_seed(3))
    assert_close(drawn, theirs)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_guidance(weight: float):
    noise, mixture = ref.reference_input("ddim.x_T"), ref.draw("mixture", [1, 8, 4, 4])

    def reference_model(latents: Tensor, timestep: Tensor) -> Tensor:
        conditional = stand_in(latents, timestep, mixture)
        return weight * conditional + (1 - weight) * stand_in(latents, timestep)

    denoiser = guided(stand_in, mixture, weight)
    drawn = sample(denoiser, DDIMScheduler(**PAPER_SCHEDULE), noise, 20)
    assert_close(drawn, reference_ddim(reference_model, noise, 20, 0.0, None))


def test_given_stems_are_replaced_before_every_call():
    noise, clean = ref.reference_input("ddim.x_T"), ref.draw("clean", list(SHAPE))
    given = torch.zeros(1, 4, 4, dtype=torch.bool)
    given[:, 1] = True
    generator = torch.Generator().manual_seed(5)
    drawn = sample(
        lambda latents, timestep, known: stand_in(latents.cumsum(1), timestep),
        DDIMScheduler(**PAPER_SCHEDULE),
        noise,
        20,
        constraint=Replacement(clean, given, generator),
        eta=1.0,
        generator=generator,
    )
    second = torch.Generator().manual_seed(5)

    def replaced(latents: Tensor, alpha: float) -> Tensor:
        fresh = torch.randn(SHAPE, generator=second)
        noisy = np.sqrt(alpha) * clean + np.sqrt(1 - alpha) * fresh
        return torch.where(given[:, :, None, :, None], noisy.double(), latents)

    theirs = reference_ddim(
        lambda latents, timestep: stand_in(latents.cumsum(1), timestep),
        noise, 20, 1.0, second, replaced,
    )  # fmt: skip
    assert_close(drawn[:, [0, 2, 3]], theirs[:, [0, 2, 3]])
    assert torch.equal(drawn[:, 1], clean[:, 1])


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "ddim"])
@pytest.mark.parametrize("steps", [1, 20, 501, 1000])
def test_other_samplers_begin_at_the_last_timestep(name: str, steps: int):
    scheduler = with_sampler(DDIMScheduler(**PAPER_SCHEDULE), name)
    set_timesteps(scheduler, steps)
    timesteps = scheduler.timesteps.tolist()
    assert timesteps[0] == 999 and len(timesteps) == min(steps, 999)
    assert timesteps == sorted(set(timesteps), reverse=True)
    back = with_sampler(with_sampler(DDIMScheduler(**PAPER_SCHEDULE), name), "ddim")
    assert back.config.timestep_spacing == "leading"
