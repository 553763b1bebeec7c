"""Latents of a whole piece, window after window: new material continues what is already there.

Generation, arrangement, editing and extension differ only in what is given.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor

from stemweave.diffusion.constraints import Constraint, Free, KnownPositions, Replacement
from stemweave.diffusion.guidance import (
    ConditionedDenoiser,
    guided,
    guided_by_conditions,
    guided_by_stems,
)
from stemweave.diffusion.sampler import draw_noise, sample
from stemweave.models.parts import Parts
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.spectra import denoiser_of

VARIATION_SHIFT = 16.0
"""``timestep_shift`` where ``strength`` is below 1: noise up to half of the schedule leaves a piece
nearly as it is, so that distance grows evenly with strength only if passes lie near to pure noise.
"""


def piece_latents(
    parts: Parts,
    clean: Tensor,
    given: Tensor,
    sampling: Sampling,
    *,
    strength: float = 1.0,
    conditioning: Conditioning | None = None,
) -> Tensor:
    """Latents (S, C, H, W) with every position that is not ``given`` drawn from the model.

    Args:
        clean: given latents (S, C, H, W); H a multiple of the denoiser's stride.
        given: (S, H) bool.
        sampling: checked; its guidance says how much to listen to stems given throughout.
        strength: 1 draws from pure noise; below, sampling starts from ``clean`` with noise, also
            where it is not given, and makes that share of the passes.
        conditioning: sheet and score of the piece, if the denoiser takes any.

    Windows of the model's length share half with the one before, whose result is then given.
    """
    window = parts.window_positions
    height = clean.shape[-2]
    hop = window // 2
    starts = [0] if height <= window else [*range(0, height - window, hop), height - window]
    noise_offset, timestep_shift = 0.0, VARIATION_SHIFT
    if strength == 1:  # below, the piece's loudness and colour are decided already
        noise_offset, timestep_shift = parts.config.noise_offset, parts.config.timestep_shift
    last_timestep = parts.scheduler.config.num_train_timesteps - 1
    result, done = clean.clone(), given.clone()
    for number, start in enumerate(starts):
        place = slice(start, min(start + window, height))
        part, known = result[None, :, :, place], done[None, :, place]
        if known.all():
            continue

        def report(step: int, total: int, number: int = number) -> None:
            if sampling.progress is not None:
                sampling.progress(number * total + step, len(starts) * total)

        constraint = make_constraint(part, known, sampling)
        noise = draw_noise(part.shape, noise_offset, known, sampling.generator)
        denoiser = _denoiser_of_window(parts, conditioning, start, part.shape[-2])
        guidance = 1.0 if sampling.guidance is None else sampling.guidance
        drawn = sample(
            guided_by_stems(denoiser, guidance, noise, last_timestep),
            parts.scheduler,
            noise,
            cast(int, sampling.steps),
            constraint=constraint,
            generator=sampling.generator,
            eta=parts.config.eta,
            timestep_shift=timestep_shift,
            initial=part,
            strength=strength,
            progress=report,
        )
        result[:, :, place], done[:, place] = drawn[0], True
    return result


def _denoiser_of_window(
    parts: Parts, conditioning: Conditioning | None, start: int, height: int
) -> ConditionedDenoiser:
    """The denoiser for positions ``start`` … of a piece, given what is known of these."""
    plain = guided(denoiser_of(parts), mixture=None, guidance=0.0)
    if conditioning is None:
        return plain
    conditioned = denoiser_of(parts, conditioning.window(parts, start, height))
    conditioned = guided(conditioned, mixture=None, guidance=0.0)
    return guided_by_conditions(
        conditioned, plain, conditioning.guidance, conditioning.guidance_from
    )


def make_constraint(clean: Tensor, known: Tensor, sampling: Sampling) -> Constraint:
    """How ``known`` (B, S, H) positions of ``clean`` (B, S, C, H, W) are held."""
    if not known.any():
        return Free()
    if sampling.inpainting == "known":
        return KnownPositions(clean, known)
    return Replacement(clean, known, sampling.generator)
