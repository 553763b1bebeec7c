"""Latents of a whole piece, window after window: new material continues what is already there.

Generation, arrangement, editing and extension differ only in what is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.diffusion.bars import Bars, heard_in, in_bars
from stemweave.diffusion.constraints import Constraint, Free, KnownPositions, Replacement
from stemweave.diffusion.guidance import (
    ToldDenoiser,
    guided,
    guided_by_conditions,
    guided_by_stems,
)
from stemweave.diffusion.sampler import Progress, draw_noise, sample
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.spectra import denoiser_of

if TYPE_CHECKING:
    from stemweave.model import StemModel


def piece_latents(
    pipe: StemModel,
    clean: Tensor,
    given: Tensor,
    *,
    guidance: float = 1.0,
    strength: float = 1.0,
    steps: int | None = None,
    inpainting: str | None = None,
    bars: Bars | None = None,
    conditioning: Conditioning | None = None,
    generator: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Latents (S, C, H, W) with every position that is not ``given`` drawn from the model.

    Args:
        clean: given latents (S, C, H, W); H a multiple of the denoiser's stride.
        given: (S, H) bool.
        guidance: how much to listen to stems that are given throughout.
        strength: 1 draws from pure noise; below, sampling starts from ``clean`` with that share of
            the schedule's noise, also where it is not given.
        inpainting: "known" (the denoiser is told), "replace" (the paper's way) or None for
            whatever the model was trained for.
        bars: how alike those of the piece are; None leaves them to the model. Bars to be heard are
            those of what is given in each window, if the denoiser is told what is given.
        conditioning: sheet and score of the piece, if the denoiser is told any.

    Windows of the model's length share half with the one before, whose result is then given.
    """
    window = pipe.window_positions
    height = clean.shape[-2]
    hop = window // 2
    starts = [0] if height <= window else [*range(0, height - window, hop), height - window]
    steps = steps or pipe.config.generation_steps
    noise_offset, timestep_shift = 0.0, 1.0
    if strength == 1:  # below, the piece is decided already, and strength is of the plain schedule
        noise_offset, timestep_shift = pipe.config.noise_offset, pipe.config.timestep_shift
    last_timestep = pipe.scheduler.config.num_train_timesteps - 1
    result, done = clean.clone(), given.clone()
    for number, start in enumerate(starts):
        place = slice(start, min(start + window, height))
        part, known = result[None, :, :, place], done[None, :, place]
        if known.all():
            continue

        def report(step: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + step, len(starts) * total)

        constraint = make_constraint(pipe, part, known, inpainting, generator)
        own_bars = heard_in(bars, part, constraint.known, pipe.position_s)
        noise = draw_noise(part.shape, noise_offset, known, generator)
        denoiser = _denoiser_of_window(pipe, conditioning, start, part.shape[-2])
        drawn = sample(
            in_bars(
                guided_by_stems(denoiser, guidance, noise, last_timestep), pipe.scheduler, own_bars
            ),
            pipe.scheduler,
            noise,
            steps,
            constraint=constraint,
            generator=generator,
            eta=pipe.config.eta,
            timestep_shift=timestep_shift,
            initial=part,
            strength=strength,
            progress=report,
        )
        result[:, :, place], done[:, place] = drawn[0], True
    return result


def _denoiser_of_window(
    pipe: StemModel, conditioning: Conditioning | None, start: int, height: int
) -> ToldDenoiser:
    """The denoiser for positions ``start`` … of a piece, told what is known of these."""
    plain = guided(denoiser_of(pipe), mixture=None, guidance=0.0)
    if conditioning is None:
        return plain
    told = denoiser_of(pipe, conditioning.window(pipe, start, height))
    conditioned = guided(told, mixture=None, guidance=0.0)
    return guided_by_conditions(conditioned, plain, conditioning.guidance)


def heard_bars(pipe: StemModel) -> Bars | None:
    """Bars like those of what is given, if the model makes any."""
    if not pipe.has_bars:
        return None
    config = pipe.config
    return Bars(None, config.bar_timestep, config.arrangement_bar_gain, config.beat_share)


def make_constraint(
    pipe: StemModel,
    clean: Tensor,
    known: Tensor,
    inpainting: str | None,
    generator: torch.Generator | None,
) -> Constraint:
    """How ``known`` (B, S, H) positions of ``clean`` (B, S, C, H, W) are held."""
    if not known.any():
        return Free()
    if inpainting is None:
        inpainting = "known" if pipe.denoiser.config.known_stems else "replace"
    if inpainting == "known":
        return KnownPositions(clean, known)
    return Replacement(clean, known, generator)
