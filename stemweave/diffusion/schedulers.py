"""Samplers by name, each built from the model's own schedule: fewer passes at equal quality.

All are diffusers' schedulers and share betas, prediction type, spacing and zero terminal SNR.
"""

from __future__ import annotations

from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

SAMPLERS: dict[str, Any] = {
    "ddim": DDIMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
}
"""DDIM (arXiv 2010.02502), DPM-Solver++ 2M (2211.01095) and UniPC of order 2 (2302.04867)."""


def with_sampler(scheduler: Any, name: str) -> Any:
    """A new scheduler of the kind ``name`` with the noise levels of ``scheduler``.

    Raises:
        ValueError: if there is no such sampler.
    """
    if name not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, not {name}")
    return SAMPLERS[name].from_config(scheduler.config)


def sampler_name(scheduler: Any) -> str:
    """The key of ``SAMPLERS`` that ``scheduler`` is, or the name of its class."""
    kind = type(scheduler)
    return next((name for name, known in SAMPLERS.items() if known is kind), kind.__name__)
