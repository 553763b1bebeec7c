"""The sampler and every scheduler draw from a Gaussian whose exact denoiser is known."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from stemweave.checkpoints.importer import PAPER_SCHEDULE
from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.cli.options import load
from stemweave.diffusion.constraints import KnownPositions, Replacement
from stemweave.diffusion.objective import signal_and_noise
from stemweave.diffusion.sampler import draw_noise, sample
from stemweave.diffusion.schedulers import SAMPLERS, respace, sampler_name, shifted, with_sampler
from stemweave.errors import InputError
from stemweave.model import load_model

MEAN, STD = 1.5, 0.4
SHAPE = (64, 2, 4, 8, 4)
BUNDLED = DDIMScheduler(
    num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", clip_sample=False,
    prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
)  # fmt: skip
PAPER = DDIMScheduler(**PAPER_SCHEDULE)
MULTISTEP = ("dpm++", "unipc")


def exact_denoiser(scheduler):
    """E[target | z_n] for data that is independent and normal (MEAN, STD) everywhere."""

    def denoise(latents, timestep, known):
        stems_timestep = timestep if timestep.ndim == 2 else timestep[:, None]
        alpha, sigma = signal_and_noise(scheduler, stems_timestep)
        clean = (MEAN * sigma**2 + STD**2 * alpha * latents) / (alpha**2 * STD**2 + sigma**2)
        noise = (latents - alpha * clean) / sigma
        if scheduler.config.prediction_type == "epsilon":
            return noise
        return alpha * noise - sigma * clean

    return denoise


def moments(name: str, schedule, steps: int, **options) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(0)
    noise, denoise = torch.randn(SHAPE, generator=generator), exact_denoiser(schedule)
    chosen = with_sampler(schedule, name)
    drawn = sample(denoise, chosen, noise, steps, generator=generator, **options)
    return drawn.mean().item(), drawn.std().item()


def test_this_is_the_schedule_of_the_bundled_model():
    stored = json.loads((BUNDLED_MODEL / "scheduler" / "scheduler_config.json").read_text())
    chosen = {"beta_schedule", "prediction_type", "rescale_betas_zero_snr", "timestep_spacing"}
    assert {key: stored[key] for key in chosen} == {key: BUNDLED.config[key] for key in chosen}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    ("schedule", "steps", "options", "tolerance"),
    [
        (BUNDLED, 50, {}, 0.015),
        (BUNDLED, 50, {"timestep_shift": 3.0}, 0.015),
        (PAPER, 100, {}, 0.03),
    ],
)
def test_mean_and_deviation_are_recovered(name, schedule, steps, options, tolerance):
    mean, std = moments(name, schedule, steps, **options)
    assert mean == pytest.approx(MEAN, abs=tolerance)
    assert std == pytest.approx(STD, abs=tolerance)
    if "timestep_shift" in options:  # DDIM's steps are all of one length
        assert ((mean, std) == moments(name, schedule, steps)) == (name == "ddim")


def test_fresh_noise_in_every_step_keeps_the_distribution():
    own = {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"}
    mean, std = moments("ddim", DDIMScheduler(clip_sample=False, **own), 100, eta=1.0)
    assert mean == pytest.approx(MEAN, abs=0.02)
    assert std == pytest.approx(STD, abs=0.03)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_from_pure_noise_is_the_mean(name: str):
    mean, std = moments(name, BUNDLED, 1)
    assert mean == pytest.approx(MEAN, abs=1e-3) and std < 1e-3


@pytest.mark.parametrize("name", SAMPLERS)
def test_half_the_noise_and_back_keeps_the_distribution(name: str):
    start = MEAN + STD * torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    mean, std = moments(name, BUNDLED, 32, initial=start, strength=0.5)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert std == pytest.approx(STD, abs=0.02)


@pytest.mark.parametrize("name", MULTISTEP)
def test_multistep_samplers_are_as_good_with_16_passes_as_ddim_with_50(name: str):
    error = abs(moments(name, BUNDLED, 16)[1] - STD)
    assert error < 0.01
    assert error < abs(moments("ddim", BUNDLED, 50)[1] - STD)


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
    scheduler.set_timesteps(900)  # more than the shift has room for keep their places
    own = scheduler.timesteps.clone()
    respace(scheduler, 3.0)
    assert (scheduler.timesteps == own).all()


def test_strength_zero_is_the_start_and_one_ignores_it():
    denoise = exact_denoiser(BUNDLED)
    noise, initial = torch.randn(SHAPE), torch.full(SHAPE, 1.5)
    assert torch.equal(sample(denoise, BUNDLED, noise, 10, initial=initial, strength=0.0), initial)
    far = torch.full(SHAPE, -3.0)
    near = sample(denoise, BUNDLED, noise, 50, initial=far, strength=0.2).mean()
    free = sample(denoise, BUNDLED, noise, 50, initial=far, strength=1.0).mean()
    assert near < free
    with pytest.raises(ValueError, match="initial"):
        sample(denoise, BUNDLED, noise, 10, strength=0.5)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("kind", ["known", "replace"])
def test_given_positions_stay_the_rest_is_drawn_and_progress_is_told(name: str, kind: str):
    clean = MEAN + STD * torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    given = torch.zeros(SHAPE[0], SHAPE[1], SHAPE[3], dtype=torch.bool)
    given[:, 0] = True
    given[1, 1, :3] = True
    generator = torch.Generator().manual_seed(3)
    constraint = KnownPositions(clean, given)
    if kind == "replace":
        constraint = Replacement(clean, given, generator=generator)
    calls, timesteps = [], []

    def denoise(latents, timestep, known):
        timesteps.append(timestep)
        assert (known is not None) == (kind == "known")
        timestep = timestep[:, 1] if timestep.ndim == 2 else timestep  # of the unknown stem
        return exact_denoiser(BUNDLED)(latents, timestep, known)

    drawn = sample(
        denoise, with_sampler(BUNDLED, name), torch.randn(SHAPE, generator=generator), 25,
        constraint=constraint, progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    positions = given[:, :, None, :, None].expand_as(drawn)
    assert torch.equal(drawn[positions], clean[positions])
    assert drawn[:, 1].mean().item() == pytest.approx(MEAN, abs=0.03)
    assert drawn[:, 1].std().item() == pytest.approx(STD, abs=0.03)
    assert calls == [(i, 25) for i in range(1, 26)]
    for timestep in timesteps[:-1]:
        if kind == "known":  # a stem that is wholly given is clean: timestep 0, as in training
            assert (timestep[:, 0] == 0).all() and (timestep[:, 1] > 0).all()
        else:
            assert timestep.shape == SHAPE[:1]


def test_offset_noise_varies_in_its_mean_over_time():
    shape = (32, 4, 8, 128, 16)

    def drawn(*options) -> torch.Tensor:
        return draw_noise(shape, *options, generator=torch.Generator().manual_seed(0))

    plain = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn(), plain)
    steady = drawn(0.2) - plain
    assert torch.allclose(steady, steady.mean(-2, keepdim=True).expand(shape), atol=1e-5)
    assert steady.std().item() == pytest.approx(0.2, rel=0.02)
    known = torch.zeros(32, 4, 128, dtype=torch.bool)
    known[:, 1, :10] = True  # of this stem something is given
    beside = drawn(0.2, known)
    assert torch.equal(beside[:, 1], plain[:, 1])
    assert torch.equal(beside[:, 0], drawn(0.2)[:, 0])


def test_option_chooses_and_a_saved_model_keeps_it(tmp_path):
    assert sampler_name(load(None, sampler="dpm++").scheduler) == "dpm++"
    pipe = load_model()
    pipe.scheduler = with_sampler(pipe.scheduler, "dpm++")
    pipe.save_pretrained(tmp_path)
    assert sampler_name(load_model(str(tmp_path)).scheduler) == "dpm++"
    with pytest.raises(InputError, match="sampler must be one of ddim, dpm"):
        load(None, sampler="euler")
