"""Separation: a mixture in, its stems out, in windows and bounded memory for any length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.acceleration import WindowBatch, mask_precision
from stemweave.audio.masking import MaskSeparator, mel_masks
from stemweave.audio.windows import cross_faded, windows_over
from stemweave.diffusion.guidance import EVERYWHERE, guided
from stemweave.diffusion.sampler import Progress, sample
from stemweave.tasks.context import channel_gains
from stemweave.tasks.spectra import (
    decode,
    denoiser_of,
    encode,
    from_model_rate,
    to_model_rate,
    vocode,
)

if TYPE_CHECKING:
    from stemweave.model import StemModel

OVERLAP_S = 1.0
SILENCE = 1e-7
"""RMS below which a window is passed through as silence."""

Read = Callable[[int, int], Tensor]
"""(start, number of samples) → waveform (channels, samples)."""


@dataclass(frozen=True)
class Request:
    """How windows are separated; see ``StemModel.separate``."""

    sample_rate: int
    guidance: float
    interval: tuple[int, int]
    steps: int


@dataclass(frozen=True)
class Heard:
    """A window (T,) or (2, T) as the model hears it; ``gain`` brings it to the model's level."""

    waveform: Tensor
    gain: float


class Spectra(NamedTuple):
    """What the model makes of one window, and what it heard of it, in mono."""

    stems: Tensor
    """Log-mels (S, F, M)."""
    mixture: Tensor
    """Log-mel (F, M)."""
    waveform: Tensor
    """(T,) at the model's rate, zeros up to a whole window."""


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
    guidance_interval: tuple[int, int] = EVERYWHERE,
    batch_windows: int | None = None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> Iterator[dict[str, Tensor]]:
    """Consecutive blocks of every stem, (channels, samples) each, ``num_samples`` in all."""
    names = list(pipe.denoiser.config.stems)
    window = round(pipe.segment_s * sample_rate)
    overlap = round(min(OVERLAP_S, pipe.segment_s / 4) * sample_rate)
    masker = None
    if method == "mask":
        masker = MaskSeparator(pipe.log_mel, sample_rate, pipe.sharpener)
    windows = windows_over(num_samples, window, overlap)
    request = Request(sample_rate, guidance, guidance_interval, steps)

    def results() -> Iterator[Tensor]:
        batch = WindowBatch(batch_windows, pipe.compute_device)
        done = 0
        while done < len(windows):
            places = windows[done : done + batch.size()]
            mixtures = [
                read(place.start - place.context, place.context + place.length) for place in places
            ]
            stacks = _separate_windows(pipe, mixtures, request, masker, generator)
            batch.learn()
            for place, stack in zip(places, stacks, strict=True):
                done += 1
                yield stack[..., place.context :]
                if progress is not None:
                    progress(done, len(windows))

    for block in cross_faded(results(), overlap):
        yield {stem: block[names.index(stem)] for stem in stems}


def _separate_windows(
    pipe: StemModel,
    mixtures: Sequence[Tensor],
    request: Request,
    masker: MaskSeparator | None,
    generator: torch.Generator | None,
) -> list[Tensor]:
    """Stems (S, channels, T) of each window of the mixture (channels, T)."""
    num_stems = len(pipe.denoiser.config.stems)
    heard = [_heard(pipe, mixture, request.sample_rate) for mixture in mixtures]
    sounding = [index for index, window in enumerate(heard) if window is not None]
    stacks = [mixture.expand(num_stems, *mixture.shape) / num_stems for mixture in mixtures]
    scaled = [window.waveform * window.gain for window in heard if window is not None]
    generators = [_of_window(pipe, generator) for _ in scaled]
    spectra = windows_spectra(
        pipe,
        scaled,
        request.guidance,
        request.steps,
        generators,
        request.interval,
        for_masks=masker is not None,
    )
    for index, found in zip(sounding, spectra, strict=True):
        mixture, window = mixtures[index], heard[index]
        if window is None:
            continue
        if masker is not None:
            masks = separation_masks(pipe, found)
            stacks[index] = masker.separate(mixture, masks, window.gain)
        else:
            model_rate = pipe.log_mel.config.sample_rate
            vocoded = vocode(pipe, found.stems) / window.gain
            stems = from_model_rate(vocoded, model_rate, request.sample_rate, mixture.shape[-1])
            # mono stems take the mixture's balance between the channels
            balance = channel_gains(mixture) * (mixture != 0).any(dim=1)
            stacks[index] = balance[:, None] * stems[:, None]
    return stacks


def _heard(pipe: StemModel, mixture: Tensor, sample_rate: int) -> Heard | None:
    """What the model hears of a window (channels, T) of the mixture; None if it is silent."""
    model_rate = pipe.log_mel.config.sample_rate
    if pipe.channels > 1 and len(mixture) == pipe.channels:
        rows = [to_model_rate(channel[None], sample_rate, model_rate) for channel in mixture]
        heard = torch.stack(rows)[:, : pipe.log_mel.segment_samples]
    else:
        heard = to_model_rate(mixture, sample_rate, model_rate)[: pipe.log_mel.segment_samples]
    if pipe.config.clip_mixture:
        heard = heard.clamp(-1, 1)
    mono = heard.mean(dim=0) if heard.ndim == 2 else heard
    rms = mono.square().mean().sqrt().item()
    if rms < SILENCE:
        return None
    reference = pipe.config.reference_rms
    return Heard(heard, reference / rms if reference is not None else 1.0)


def _of_window(pipe: StemModel, generator: torch.Generator | None) -> torch.Generator | None:
    """The generator of one window, such that no batch size changes what a window draws.

    A model that draws only the noise to start from draws window after window from the one there is.
    """
    if generator is None or not (pipe.config.eta or pipe.config.sample_posterior):
        return generator
    seed = torch.randint(2**63 - 1, (), generator=generator)
    return torch.Generator().manual_seed(int(seed))


def separated_spectra(
    pipe: StemModel,
    waveform: Tensor,
    guidance: float,
    steps: int,
    generator: torch.Generator | None,
) -> Spectra:
    """The spectra of a mono mixture (T,), one window or less at the model's rate.

    A stereo model hears (2, T), too; its estimates come in mono.
    """
    return windows_spectra(pipe, [waveform], guidance, steps, [generator])[0]


def windows_spectra(
    pipe: StemModel,
    waveforms: Sequence[Tensor],
    guidance: float,
    steps: int,
    generators: Sequence[torch.Generator | None],
    interval: tuple[int, int] = EVERYWHERE,
    *,
    for_masks: bool = False,
) -> list[Spectra]:
    """``separated_spectra`` of several windows at once, each with its generator.

    ``for_masks`` they may be as coarse as the refiner's numbers are, which masks hardly differ by.
    """
    if not waveforms:
        return []
    num_samples = pipe.log_mel.segment_samples
    padded = [functional.pad(row, (0, num_samples - row.shape[-1])) for row in waveforms]
    mels = [pipe.log_mel(row).cpu() for row in padded]
    rows = zip(mels, generators, strict=True)
    with _precision(pipe, for_masks):
        mixtures = torch.cat([encode(pipe, mel[None], generator) for mel, generator in rows])
        shape = (1, len(pipe.denoiser.config.stems), *mixtures.shape[1:])
        latents = sample(
            guided(denoiser_of(pipe), mixtures.float(), guidance, interval),
            pipe.scheduler,
            torch.cat([torch.randn(shape, generator=generator) for generator in generators]),
            steps,
            generator=None if None in generators else list(generators),  # type: ignore[arg-type]
            eta=pipe.config.eta,
        )
        decoded = decode(pipe, latents.float().flatten(0, 1)).float()
    log_mels = decoded.unflatten(0, latents.shape[:2])
    found = []
    for stems, mel, row in zip(log_mels, mels, padded, strict=True):
        if row.ndim > 1:
            row = row.mean(dim=0)
            mel = pipe.log_mel(row).cpu()
        found.append(Spectra(stems, mel, row))
    return found


def _precision(pipe: StemModel, for_masks: bool) -> AbstractContextManager[Any]:
    if not for_masks or pipe.refiner is None:
        return nullcontext()
    return mask_precision(pipe.refiner, pipe.compute_device)


def separation_masks(pipe: StemModel, spectra: Spectra) -> Tensor:
    """Masks (S, F, M) that add up to one: the log-mels' own, or the refiner's if there is one."""
    if pipe.refiner is None:
        return mel_masks(spectra.stems)
    parts = (spectra.mixture, spectra.stems, spectra.waveform)
    heard = [part[None].to(pipe.compute_device) for part in parts]
    return cast(Tensor, pipe.refiner.separate(*heard)[0]).cpu()
