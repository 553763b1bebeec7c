"""Samplers by name, each built from the model's own schedule: fewer passes at equal quality.

All are diffusers' schedulers and share betas, prediction type, spacing and zero terminal SNR.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stemweave.errors import InputError

SAMPLERS = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""DDIM (arXiv 2010.02502), DPM-Solver++ 2M (2211.01095) and UniPC of order 2 (2302.04867)."""


def with_sampler(scheduler: Any, name: str) -> Any:
    """A new scheduler of the kind ``name`` with ``scheduler``'s noise levels, or ``InputError``."""
    if name not in SAMPLERS:
        raise InputError(f"sampler must be one of {', '.join(SAMPLERS)}, not {name}")
    import diffusers  # takes seconds, which separation by masks does without

    return getattr(diffusers, SAMPLERS[name]).from_config(scheduler.config)


def set_timesteps(scheduler: Any, num_steps: int, shift: float = 1.0, device: Any = None) -> None:
    """Choose about ``num_steps`` timesteps, as the reference does where it has a way of its own.

    That is DDIM with "leading" timesteps: they are N // ``num_steps`` apart over all N of training,
    where diffusers takes the first ``num_steps`` of these: 600 of 1000 would begin in the middle of
    the noise. One past the last, at which the reference stops with an error, is left out. Other
    samplers begin at the last timestep and are moved by ``shift`` (``respace``). Raises
    ``InputError`` if DDIM is asked for more steps than the model's schedule has timesteps.
    """
    config = scheduler.config
    count = config.num_train_timesteps
    is_ddim = sampler_name(scheduler) == "ddim"
    if is_ddim and num_steps > count:
        raise InputError(
            f"steps must be at most {count}, the timesteps of the model's schedule, not {num_steps}"
        )
    if is_ddim and config.timestep_spacing == "leading":
        scheduler.set_timesteps(num_steps, device=device)
        timesteps = np.arange(0, count, count // num_steps) + config.steps_offset
        timesteps = timesteps[timesteps < count][::-1]
        scheduler.timesteps = torch.from_numpy(timesteps.copy()).to(scheduler.timesteps)
        return
    if config.timestep_spacing == "leading":
        scheduler.register_to_config(timestep_spacing="linspace")
    most = count - 1 if scheduler.config.timestep_spacing == "linspace" else count
    scheduler.set_timesteps(min(num_steps, most), device=device)
    respace(scheduler, shift)


def shifted(timesteps: NDArray, num_train_timesteps: int, shift: float) -> NDArray:
    """``timesteps`` moved towards pure noise, where a piece is decided (docs/what-we-learnt.md):
    t → shift · t / (1 + (shift - 1) · t), where t = 1 is the last (arXiv 2403.03206, Section
    5.3.2).
    """
    time = (timesteps + 1) / num_train_timesteps
    moved = shift * time / (1 + (shift - 1) * time)
    return np.round(moved * num_train_timesteps).astype(np.int64).clip(1) - 1


def respace(scheduler: Any, shift: float) -> None:
    """Move the timesteps that ``scheduler.set_timesteps`` chose by ``shifted``.

    DDIM, whose steps are all of one length, keeps its own, and so does any scheduler for so many
    passes that two would meet.
    """
    if shift == 1 or not hasattr(scheduler, "sigmas"):
        return
    own = scheduler.timesteps
    moved = shifted(own.cpu().numpy(), scheduler.config.num_train_timesteps, shift)
    if len(np.unique(moved)) < len(own):
        return
    alphas_cumprod = scheduler.alphas_cumprod.cpu()[moved].double()
    sigmas = ((1 - alphas_cumprod) / alphas_cumprod).sqrt().to(scheduler.sigmas.dtype)
    scheduler.sigmas = torch.cat([sigmas, scheduler.sigmas[-1:]])
    scheduler.timesteps = torch.from_numpy(moved).to(own)


def sampler_name(scheduler: Any) -> str:
    """The key of ``SAMPLERS`` that ``scheduler`` is, or the name of its class."""
    kind = type(scheduler).__name__
    return next((name for name, known in SAMPLERS.items() if known == kind), kind)
