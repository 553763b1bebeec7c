"""Generation: a new piece of any length, stems and their sum (paper, Section 3.2; w = 0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.audio.limiter import limited
from stemweave.audio.waveforms import checked
from stemweave.diffusion.bars import BEATS_PER_BAR, Bars
from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.spectra import bounded, decode_channels, vocode

if TYPE_CHECKING:
    from stemweave.model import StemModel

TEMPI_BPM = (90.0, 150.0)
"""Between these a tempo is drawn where none is wanted; slower bars hardly repeat in a window."""


def generate(
    pipe: StemModel,
    seconds: float,
    *,
    tempo_bpm: float | None,
    steps: int | None,
    conditioning: Conditioning | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """Waveforms (channels, samples) of every stem and of the mixture at the model's rate.

    Moments of the mixture above full scale are turned down (``audio.limiter``).
    """
    names = list(pipe.denoiser.config.stems)
    num_samples = round(seconds * pipe.sample_rate)
    height = max(pipe.positions_for(num_samples), pipe.window_positions)
    shape = (len(names), pipe.denoiser.config.latent_channels, height, pipe.latent_bands)
    nothing_given = torch.zeros(len(names), height, dtype=torch.bool)
    latents = piece_latents(
        pipe,
        torch.zeros(shape),
        nothing_given,
        bars=None if conditioning else _bars(pipe, tempo_bpm, generator),
        steps=steps,
        conditioning=conditioning,
        generator=generator,
        progress=progress,
    )
    log_mels = bounded(pipe, decode_channels(pipe, latents))  # (S, channels, F, M)
    waveforms = vocode(pipe, log_mels.flatten(0, 1))[:, :num_samples]
    waveforms = limited(waveforms.unflatten(0, log_mels.shape[:2]), pipe.sample_rate)
    stems = dict(zip(names, waveforms, strict=True))
    return checked({**stems, MIXTURE: waveforms.sum(dim=0)}, num_samples)


def _bars(
    pipe: StemModel, tempo_bpm: float | None, generator: torch.Generator | None
) -> Bars | None:
    """The bars of a piece, if the model makes any."""
    if not pipe.has_bars:
        return None
    if tempo_bpm is None:
        slowest, fastest = TEMPI_BPM
        place = torch.rand((), generator=generator).item()
        tempo_bpm = slowest * (fastest / slowest) ** place
    positions = max(1, round(BEATS_PER_BAR * 60 / tempo_bpm / pipe.position_s))
    config = pipe.config
    return Bars(
        positions,
        config.bar_timestep,
        config.generation_bar_gain,
        config.beat_share,
        config.phrase_share,
    )
