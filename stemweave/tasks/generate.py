"""Generation: a new piece of any length, stems and their sum (paper, Section 3.2; w = 0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.spectra import decode, vocode

if TYPE_CHECKING:
    from stemweave.pipeline import StemweavePipeline


def generate(
    pipe: StemweavePipeline,
    seconds: float,
    *,
    steps: int | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """Waveforms (1, samples) of every stem and of the mixture at the model's rate."""
    names = list(pipe.denoiser.config.stems)
    num_samples = round(seconds * pipe.sample_rate)
    height = max(pipe.positions_for(num_samples), pipe.window_positions)
    shape = (len(names), pipe.denoiser.config.latent_channels, height, pipe.latent_bands)
    nothing_given = torch.zeros(len(names), height, dtype=torch.bool)
    latents = piece_latents(
        pipe,
        torch.zeros(shape),
        nothing_given,
        steps=steps,
        generator=generator,
        progress=progress,
    )
    waveforms = vocode(pipe, decode(pipe, latents))[:, :num_samples]
    stems = {name: waveform[None] for name, waveform in zip(names, waveforms, strict=True)}
    return {**stems, MIXTURE: waveforms.sum(dim=0, keepdim=True)}
