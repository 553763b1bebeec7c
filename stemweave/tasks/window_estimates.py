"""What networks estimate of single windows of a mixture: masks, or the diffusion's log-mels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.diffusion.guidance import guided
from stemweave.diffusion.sampler import sample
from stemweave.models.parts import Parts
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.spectra import decode, denoiser_of, encode


def network_masks(parts: Parts, waveforms: Sequence[Tensor]) -> list[Tensor]:
    """Masks (S, F, M) of each of some mixtures (T,), a window or less, at the model's level."""
    refiner = parts.on_device("refiner")
    found = []
    for waveform in waveforms:
        row = padded_to(waveform, padded_length(parts, len(waveform), "mask"))[None]
        log_mel = parts.log_mel(row).to(parts.compute_device)
        masks = refiner.separate(log_mel, row.to(parts.compute_device))
        found.append(cast(Tensor, masks)[0].cpu())
    return found


def separated_spectra(parts: Parts, waveform: Tensor, sampling: Sampling) -> Tensor:
    """Log-mels (S, F, M) that the diffusion draws for a mono mixture (T,), one window or less.

    A stereo model takes (2, T), too; its estimates come in mono.
    """
    sampling = sampling.checked(parts, "separate")
    return windows_spectra(parts, [waveform], sampling, [sampling.generator])[0]


def windows_spectra(
    parts: Parts,
    waveforms: Sequence[Tensor],
    sampling: Sampling,
    generators: Sequence[torch.Generator | None],
) -> list[Tensor]:
    """``separated_spectra`` of several windows at once, each with its generator."""
    if not waveforms:
        return []
    num_samples = padded_length(parts, max(row.shape[-1] for row in waveforms), "diffusion")
    mels = [parts.log_mel(padded_to(row, num_samples)).cpu() for row in waveforms]
    rows = zip(mels, generators, strict=True)
    mixtures = torch.cat([encode(parts, mel[None], generator) for mel, generator in rows])
    shape = (1, len(parts.stems), *mixtures.shape[1:])
    latents = sample(
        guided(denoiser_of(parts), mixtures, cast(float, sampling.guidance)),
        parts.scheduler,
        torch.cat([torch.randn(shape, generator=generator) for generator in generators]),
        cast(int, sampling.steps),
        generator=None if None in generators else list(generators),  # type: ignore[arg-type]
        eta=parts.config.eta,
    )
    return list(decode(parts, latents.flatten(0, 1)).unflatten(0, latents.shape[:2]))


def padded_length(parts: Parts, num_samples: int, method: str) -> int:
    """What ``num_samples`` are padded to: a network's stride, or whole windows if it takes no
    less.
    """
    mel = parts.log_mel.config
    num_samples = max(num_samples, mel.n_fft // 2 + 1)  # frames are centred, with mirrored ends
    if method != "mask":
        return parts.positions_for(num_samples) * parts.position_samples
    stride = 2 * mel.hop_length  # fine spectra come in pairs of frames
    return -(-num_samples // stride) * stride


def padded_to(waveform: Tensor, num_samples: int) -> Tensor:
    """``waveform`` (..., T) with zeros up to ``num_samples``."""
    return functional.pad(waveform, (0, num_samples - waveform.shape[-1]))
