"""Separation: a mixture in, its stems out, in windows and bounded memory for any length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.masking import MaskSeparator, mel_masks
from stemweave.audio.windows import cross_faded, windows_over
from stemweave.diffusion.guidance import guided
from stemweave.diffusion.sampler import Progress, sample
from stemweave.tasks.spectra import decode, encode, from_model_rate, to_model_rate, vocode

if TYPE_CHECKING:
    from stemweave.model import StemModel

OVERLAP_S = 1.0
SILENCE = 1e-7
"""RMS below which a window is passed through as silence."""

Read = Callable[[int, int], Tensor]
"""(start, number of samples) → waveform (channels, samples)."""


def separate_blocks(
    pipe: StemModel,
    read: Read,
    num_samples: int,
    sample_rate: int,
    *,
    stems: Sequence[str],
    method: str,
    guidance: float,
    steps: int,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> Iterator[dict[str, Tensor]]:
    """Consecutive blocks of every stem, (channels, samples) each, ``num_samples`` in all."""
    names = list(pipe.denoiser.config.stems)
    window = round(pipe.segment_s * sample_rate)
    overlap = round(min(OVERLAP_S, pipe.segment_s / 4) * sample_rate)
    masker = MaskSeparator(pipe.log_mel, sample_rate) if method == "mask" else None
    windows = windows_over(num_samples, window, overlap)

    def results() -> Iterator[Tensor]:
        for index, place in enumerate(windows):
            mixture = read(place.start - place.context, place.context + place.length)
            stack = _separate_window(pipe, mixture, sample_rate, masker, guidance, steps, generator)
            yield stack[..., place.context :]
            if progress is not None:
                progress(index + 1, len(windows))

    for block in cross_faded(results(), overlap):
        yield {stem: block[names.index(stem)] for stem in stems}


def _separate_window(
    pipe: StemModel,
    mixture: Tensor,
    sample_rate: int,
    masker: MaskSeparator | None,
    guidance: float,
    steps: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Stems (S, channels, T) of one window of the mixture (channels, T)."""
    num_stems = len(pipe.denoiser.config.stems)
    model_rate = pipe.log_mel.config.sample_rate
    if pipe.channels > 1 and len(mixture) == pipe.channels:
        rows = [to_model_rate(channel[None], sample_rate, model_rate) for channel in mixture]
        heard = torch.stack(rows)[:, : pipe.log_mel.segment_samples]
    else:
        heard = to_model_rate(mixture, sample_rate, model_rate)[: pipe.log_mel.segment_samples]
    mono = heard.mean(dim=0) if heard.ndim == 2 else heard
    rms = mono.square().mean().sqrt().item()
    if rms < SILENCE:
        return mixture.expand(num_stems, *mixture.shape) / num_stems
    reference = pipe.config.reference_rms
    gain = reference / rms if reference is not None else 1.0
    log_mels, mixture_mel = separated_spectra(pipe, heard * gain, guidance, steps, generator)
    if masker is not None:
        return masker.separate(mixture, separation_masks(pipe, log_mels, mixture_mel))
    vocoded = vocode(pipe, log_mels) / gain
    stems = from_model_rate(vocoded, model_rate, sample_rate, mixture.shape[-1])
    return stems[:, None].expand(-1, len(mixture), -1)


def separated_spectra(
    pipe: StemModel,
    waveform: Tensor,
    guidance: float,
    steps: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Log-mels of the stems (S, F, M) and the mixture (F, M) of a mono mixture (T,).

    T is one window or less, at the model's rate. A stereo model hears (2, T), too; its estimates
    come in mono.
    """
    padded = functional.pad(waveform, (0, pipe.log_mel.segment_samples - waveform.shape[-1]))
    mixture = encode(pipe, pipe.log_mel(padded)[None], generator)
    mixture_mel = pipe.log_mel(padded if padded.ndim == 1 else padded.mean(dim=0))
    shape = (1, len(pipe.denoiser.config.stems), *mixture.shape[1:])
    latents = sample(
        guided(pipe.denoiser, mixture, guidance),
        pipe.scheduler,
        torch.randn(shape, generator=generator),
        steps,
        generator=generator,
        eta=pipe.config.eta,
    )
    return decode(pipe, latents[0]), mixture_mel


def separation_masks(pipe: StemModel, log_mels: Tensor, mixture_mel: Tensor) -> Tensor:
    """Masks (S, F, M) that add up to one: the log-mels' own, or the refiner's if there is one."""
    if pipe.refiner is None:
        return mel_masks(log_mels)
    return pipe.refiner(mixture_mel[None], log_mels[None])[0]
