"""The sampler draws from a Gaussian whose exact denoiser is known."""

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from stemweave.diffusion.constraints import KnownPositions, Replacement
from stemweave.diffusion.objective import signal_and_noise
from stemweave.diffusion.sampler import draw_noise, sample

MEAN, STD = 1.5, 0.4
SHAPE = (64, 2, 4, 8, 4)
SCHEDULE = dict(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")


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


@pytest.mark.parametrize(
    ("scheduler", "eta", "steps"),
    [
        (DDIMScheduler(**SCHEDULE, clip_sample=False, timestep_spacing="trailing"), 0.0, 100),
        (DDIMScheduler(**SCHEDULE, clip_sample=False, timestep_spacing="trailing"), 1.0, 100),
        (
            DDIMScheduler(
                **SCHEDULE,
                clip_sample=False,
                timestep_spacing="trailing",
                prediction_type="v_prediction",
                rescale_betas_zero_snr=True,
            ),
            0.0,
            100,
        ),
        (DPMSolverMultistepScheduler(**SCHEDULE, prediction_type="v_prediction"), 0.0, 25),
    ],
)
def test_mean_and_deviation_are_recovered(scheduler, eta: float, steps: int):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SHAPE, generator=generator)
    drawn = sample(exact_denoiser(scheduler), scheduler, noise, steps, eta=eta, generator=generator)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert drawn.std().item() == pytest.approx(STD, abs=0.03)


def test_one_step_from_pure_noise_is_the_mean():
    scheduler = DDIMScheduler(
        **SCHEDULE,
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
    )
    drawn = sample(exact_denoiser(scheduler), scheduler, torch.randn(SHAPE), 1)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=1e-3)
    assert drawn.std().item() < 1e-3


def test_strength_zero_is_the_start_and_one_ignores_it():
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False)
    denoise = exact_denoiser(scheduler)
    noise, initial = torch.randn(SHAPE), torch.full(SHAPE, 1.5)
    assert torch.equal(
        sample(denoise, scheduler, noise, 10, initial=initial, strength=0.0), initial
    )
    far = torch.full(SHAPE, -3.0)
    near = sample(denoise, scheduler, noise, 50, initial=far, strength=0.2).mean()
    free = sample(denoise, scheduler, noise, 50, initial=far, strength=1.0).mean()
    assert near < free
    with pytest.raises(ValueError, match="initial"):
        sample(denoise, scheduler, noise, 10, strength=0.5)


@pytest.mark.parametrize("kind", ["known", "replace"])
def test_given_positions_come_back_bit_exact_and_progress_is_told(kind: str):
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False)
    clean = torch.randn(2, 2, 4, 8, 4)
    known = torch.zeros(2, 2, 8, dtype=torch.bool)
    known[:, 0] = True
    known[1, 1, :3] = True
    constraint = KnownPositions(clean, known) if kind == "known" else Replacement(clean, known)
    told, timesteps = [], []
    calls: list[tuple[int, int]] = []

    def denoise(latents, timestep, known_map):
        told.append(known_map)
        timesteps.append(timestep)
        return exact_denoiser(scheduler)(latents, timestep, known_map)

    drawn = sample(
        denoise,
        scheduler,
        torch.randn(2, 2, 4, 8, 4),
        5,
        constraint=constraint,
        progress=lambda done, total: calls.append((done, total)),
    )
    positions = known[:, :, None, :, None].expand_as(drawn)
    assert torch.equal(drawn[positions], clean[positions])
    assert not torch.equal(drawn[~positions], clean[~positions])
    assert calls == [(i, 5) for i in range(1, 6)]
    assert all((k is not None) == (kind == "known") for k in told)
    if kind == "known":  # a stem that is wholly given is clean: timestep 0, as in training
        assert all((t[:, 0] == 0).all() and (t[:, 1] > 0).all() for t in timesteps[:-1])
    else:
        assert all(t.shape == (2,) for t in timesteps)


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
