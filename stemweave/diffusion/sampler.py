"""The sampling loop: timesteps of a diffusers scheduler, a denoiser, a constraint.

Knows nothing of audio, mels or tasks.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from stemweave.diffusion.constraints import Constraint, Free
from stemweave.diffusion.guidance import ConditionedDenoiser
from stemweave.diffusion.schedulers import set_timesteps

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


def sample(
    denoiser: ConditionedDenoiser,
    scheduler: Any,
    noise: Tensor,
    num_steps: int,
    *,
    constraint: Constraint | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
    eta: float = 0.0,
    timestep_shift: float = 1.0,
    initial: Tensor | None = None,
    strength: float = 1.0,
    progress: Progress | None = None,
) -> Tensor:
    """Latents drawn by ``num_steps`` denoiser calls (fewer if ``strength`` < 1; a few more where
    ``schedulers.set_timesteps`` says so).

    Args:
        denoiser: (latents, timestep (B,) or (B, S), known) → prediction, e.g. from
            ``guidance.guided``.
        scheduler: DDIM, DPM-Solver++ or another diffusers scheduler; it is copied, not changed.
        noise: standard normal of the latents' shape (B, S, C, H, W).
        generator: for the scheduler's own noise; a list has one for every sample.
        eta: DDIM's share of fresh noise (1 in the published runs of the paper).
        timestep_shift: above 1, passes lie nearer to pure noise (``schedulers.respace``).
        initial: clean latents to start from, noised to ``strength`` of the schedule.
        strength: 1 starts from pure noise; 0 returns ``initial``.

    Raises:
        ValueError: if ``strength`` is below 1 and there is nothing to start from.
    """
    if strength < 1 and initial is None:
        raise ValueError("strength below 1 needs initial latents")
    constraint = constraint or Free()
    scheduler = copy.deepcopy(scheduler)
    set_timesteps(scheduler, num_steps, timestep_shift, noise.device)
    total = len(scheduler.timesteps)
    first = total - round(total * strength)
    timesteps = scheduler.timesteps[first:]
    latents = noise * scheduler.init_noise_sigma
    if initial is not None and strength < 1:
        if len(timesteps) == 0:
            return constraint.after(initial)
        latents = scheduler.add_noise(initial, noise, timesteps[:1])
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
    accepted = inspect.signature(scheduler.step).parameters
    own_noise = {"generator": generator, "eta": eta}
    options: Any = {name: value for name, value in own_noise.items() if name in accepted}
    for index, timestep in enumerate(timesteps):
        latents = constraint.before(latents, timestep, scheduler)
        known, own_timestep = constraint.known, timestep.expand(len(latents))
        if known is not None and known.all(dim=2).any():  # 0 for whole stems, as in training
            own_timestep = own_timestep[:, None] * ~known.all(dim=2)
        prediction = denoiser(latents, own_timestep, known)
        latents = scheduler.step(prediction, timestep, latents, **options).prev_sample
        if progress is not None:
            progress(index + 1, len(timesteps))
    return constraint.after(latents)


def draw_noise(
    shape: Sequence[int],
    offset: float = 0.0,
    known: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Standard normal noise (B, S, C, H, W), with ``offset`` more that is steady over H.

    Every stem, channel and band gets one number of that standard deviation (offset noise,
    https://www.crosslabs.org/blog/diffusion-with-offset-noise, here only where sampling begins):
    without, an undertrained denoiser makes pieces all of one loudness and colour. Stems of which
    something is ``known`` (B, S, H) get none.
    """
    noise = torch.randn(*shape, generator=generator)
    if offset == 0:
        return noise
    steady = offset * torch.randn(*shape[:-2], 1, shape[-1], generator=generator)
    if known is not None:
        steady = steady * ~known.any(dim=2)[:, :, None, None, None]
    return noise + steady
