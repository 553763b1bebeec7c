"""Every sampler draws from a Gaussian whose exact denoiser is known, on the model's schedule."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from stemweave.checkpoints.importer import PAPER_SCHEDULE
from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.cli.options import load
from stemweave.diffusion.constraints import KnownPositions, Replacement
from stemweave.diffusion.sampler import sample
from stemweave.diffusion.schedulers import SAMPLERS, respace, sampler_name, shifted, with_sampler
from stemweave.errors import InputError
from stemweave.model import load_model

from .test_sampler import MEAN, SHAPE, STD, exact_denoiser

BUNDLED = DDIMScheduler(
    num_train_timesteps=1000,
    beta_schedule="squaredcos_cap_v2",
    clip_sample=False,
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
)
MULTISTEP = ("dpm++", "unipc")


def moments(name: str, schedule, steps: int, **options) -> tuple[float, float]:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    denoise = exact_denoiser(schedule)
    drawn = sample(denoise, with_sampler(schedule, name), noise, steps, **options)
    return drawn.mean().item(), drawn.std().item()


def test_this_is_the_schedule_of_the_bundled_model():
    stored = json.loads((BUNDLED_MODEL / "scheduler" / "scheduler_config.json").read_text())
    chosen = {"beta_schedule", "prediction_type", "rescale_betas_zero_snr", "timestep_spacing"}
    assert {key: stored[key] for key in chosen} == {key: BUNDLED.config[key] for key in chosen}


@pytest.mark.parametrize("name", SAMPLERS)
def test_moments_are_recovered_from_zero_terminal_snr(name: str):
    mean, std = moments(name, BUNDLED, 50)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert std == pytest.approx(STD, abs=0.015)
    mean, std = moments(name, BUNDLED, 1)  # the posterior mean
    assert mean == pytest.approx(MEAN, abs=1e-3) and std < 1e-3


@pytest.mark.parametrize("name", SAMPLERS)
def test_shifted_passes_find_the_same_distribution(name: str):
    mean, std = moments(name, BUNDLED, 50, timestep_shift=3.0)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert std == pytest.approx(STD, abs=0.015)
    unshifted = moments(name, BUNDLED, 50)
    assert ((mean, std) == unshifted) == (name == "ddim")


def test_a_shift_moves_passes_towards_noise():
    scheduler = with_sampler(BUNDLED, "unipc")
    scheduler.set_timesteps(8)
    respace(scheduler, 3.0)
    assert scheduler.timesteps[0] == 999 and (scheduler.timesteps >= 749).sum() == 5
    level = scheduler.alphas_cumprod[scheduler.timesteps]
    assert torch.allclose(scheduler.sigmas[:-1], ((1 - level) / level).sqrt(), rtol=1e-3)
    assert scheduler.sigmas[-1] == 0
    every = np.arange(1000)
    assert (shifted(every, 1000, 1.0) == every).all()
    assert (shifted(every, 1000, 3.0) >= 749).mean() == pytest.approx(0.5, abs=0.01)


def test_more_passes_than_the_shift_has_room_for_keep_their_places():
    scheduler = with_sampler(BUNDLED, "unipc")
    scheduler.set_timesteps(900)
    own = scheduler.timesteps.clone()
    respace(scheduler, 3.0)
    assert (scheduler.timesteps == own).all()


@pytest.mark.parametrize("name", MULTISTEP)
def test_multistep_samplers_are_as_good_with_16_passes_as_ddim_with_50(name: str):
    error = abs(moments(name, BUNDLED, 16)[1] - STD)
    assert error < 0.01
    assert error < abs(moments("ddim", BUNDLED, 50)[1] - STD)


@pytest.mark.parametrize("name", SAMPLERS)
def test_moments_are_recovered_on_the_papers_schedule(name: str):
    mean, std = moments(name, DDIMScheduler(**PAPER_SCHEDULE), 100)
    assert mean == pytest.approx(MEAN, abs=0.03)
    assert std == pytest.approx(STD, abs=0.02)


@pytest.mark.parametrize("name", SAMPLERS)
def test_half_the_noise_and_back_keeps_the_distribution(name: str):
    start = MEAN + STD * torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    mean, std = moments(name, BUNDLED, 32, initial=start, strength=0.5)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert std == pytest.approx(STD, abs=0.02)


@pytest.mark.parametrize("name", MULTISTEP)
@pytest.mark.parametrize("kind", ["known", "replace"])
def test_given_positions_stay_and_the_rest_is_drawn(name: str, kind: str):
    clean = MEAN + STD * torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    given = torch.zeros(SHAPE[0], SHAPE[1], SHAPE[3], dtype=torch.bool)
    given[:, 0] = True
    generator = torch.Generator().manual_seed(3)
    constraint = (
        KnownPositions(clean, given)
        if kind == "known"
        else Replacement(clean, given, generator=generator)
    )
    noise = torch.randn(SHAPE, generator=generator)

    def denoise(latents, timestep, known):
        timestep = timestep[:, 1] if timestep.ndim == 2 else timestep  # of the unknown stem
        return exact_denoiser(BUNDLED)(latents, timestep, known)

    drawn = sample(denoise, with_sampler(BUNDLED, name), noise, 25, constraint=constraint)
    assert torch.equal(drawn[:, 0], clean[:, 0])
    assert drawn[:, 1].mean().item() == pytest.approx(MEAN, abs=0.02)
    assert drawn[:, 1].std().item() == pytest.approx(STD, abs=0.02)


def test_option_chooses_and_a_saved_model_keeps_it(tmp_path):
    assert sampler_name(load(None, sampler="dpm++").scheduler) == "dpm++"
    pipe = load_model()
    pipe.scheduler = with_sampler(pipe.scheduler, "dpm++")
    pipe.save_pretrained(tmp_path)
    assert sampler_name(load_model(str(tmp_path)).scheduler) == "dpm++"
    with pytest.raises(InputError, match="sampler must be one of ddim, dpm"):
        load(None, sampler="euler")
