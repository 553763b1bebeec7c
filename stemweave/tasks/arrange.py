"""Arrangement: some stems in, the missing ones out, in time and in tune with what was given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.diffusion.sampler import Progress
from stemweave.stems import MIXTURE
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.spectra import decode, encode, from_model_rate, to_model_rate, vocode

if TYPE_CHECKING:
    from stemweave.pipeline import StemweavePipeline


def arrange(
    pipe: StemweavePipeline,
    given: Mapping[str, Tensor],
    sample_rate: int,
    *,
    add: Sequence[str],
    steps: int | None,
    inpainting: str | None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """The given stems as they are, the added ones, and the sum, (channels, samples) each.

    Stems that are neither given nor added are drawn too (the model needs them to play along with)
    but not returned.
    """
    names = list(pipe.denoiser.config.stems)
    model_rate = pipe.sample_rate
    channels, num_samples = next(iter(given.values())).shape
    mono = {
        name: to_model_rate(waveform, sample_rate, model_rate) for name, waveform in given.items()
    }
    length = len(next(iter(mono.values())))
    gain = _gain(pipe, mono, len(names))
    height = pipe.positions_for(length)
    padded_samples = height * pipe.time_stride * pipe.log_mel.config.hop_length
    stack = torch.stack(
        [mono[name] * gain if name in mono else torch.zeros(length) for name in names]
    )
    stack = functional.pad(stack, (0, padded_samples - length))
    clean = encode(pipe, pipe.log_mel(stack), generator)
    is_given = torch.tensor([name in given for name in names])
    latents = piece_latents(
        pipe,
        clean,
        is_given[:, None].repeat(1, height),
        steps=steps,
        inpainting=inpainting,
        generator=generator,
        progress=progress,
    )
    made = [index for index, name in enumerate(names) if name in add]
    waveforms = vocode(pipe, decode(pipe, latents[made])) / gain
    resampled = from_model_rate(waveforms, model_rate, sample_rate, num_samples)
    stems = dict(given)
    for index, waveform in zip(made, resampled, strict=True):
        stems[names[index]] = waveform[None].expand(channels, -1).clone()
    ordered = {name: stems[name] for name in names if name in stems}
    return {**ordered, MIXTURE: torch.stack(list(ordered.values())).sum(dim=0)}


def _gain(pipe: StemweavePipeline, given: Mapping[str, Tensor], num_stems: int) -> float:
    """Factor that brings the given stems to the level that they have in training mixtures."""
    if pipe.config.reference_rms is None:
        return 1.0
    rms = torch.stack(list(given.values())).sum(dim=0).square().mean().sqrt().item()
    return pipe.config.reference_rms * math.sqrt(len(given) / num_stems) / max(rms, 1e-4)
