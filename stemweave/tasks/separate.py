"""Separation: a mixture in, its stems out, in windows and bounded memory for any length.

Three methods: "mask", the mask network's masks on the mixture's spectrum; "diffusion", masks from
the spectra that the diffusion draws; "vocoder", those spectra as sound (the paper's way).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.masking import MaskSeparator, mel_masks
from stemweave.audio.waveforms import ResultError, checked, exact_scale, mono
from stemweave.audio.windows import Window, cross_faded, widened, windows_over
from stemweave.diffusion.guidance import guided
from stemweave.diffusion.sampler import Progress, sample
from stemweave.models.acceleration import WindowBatch
from stemweave.models.memory import release_freed_memory
from stemweave.tasks.context import channel_gains
from stemweave.tasks.spectra import (
    decode,
    denoiser_of,
    encode,
    fetch_offloaded,
    from_model_rate,
    to_model_rate,
    vocode,
)

if TYPE_CHECKING:
    from stemweave.separates import Separates

OVERLAP_S = 1.0
MAX_STRETCH = 1.25
"""How much longer than the model's a mask network's window may be, where that saves another one."""
WINDOWS_PER_RELEASE = 60
"""Once in so many windows, ten minutes of audio, freed memory is given back."""
MAX_GAIN = 2.0**64
"""To the level of a file for a model without a ``reference_rms``: spectra of it stay finite."""
PARTS_OF = {
    "mask": ("log_mel", "refiner", "sharpener"),
    "diffusion": ("log_mel", "vae", "denoiser", "scheduler"),
    "vocoder": ("log_mel", "vae", "denoiser", "scheduler", "vocoder"),
}
"""What each method needs of a model."""

Read = Callable[[int, int], Tensor]
"""(start, number of samples) → waveform (channels, samples)."""


@dataclass(frozen=True)
class Request:
    """How windows are separated; see ``StemModel.separate``."""

    sample_rate: int
    method: str
    guidance: float
    steps: int
    generator: torch.Generator | None
    window_samples: int
    """Of every window at the model's rate, padded: no batch changes what a window is padded to."""


@dataclass(frozen=True)
class Heard:
    """A window (T,) or (2, T) as the model hears it; ``gain`` brings it to the model's level."""

    waveform: Tensor
    gain: float


def separate_blocks(
    pipe: Separates,
    read: Read,
    num_samples: int,
    sample_rate: int,
    *,
    stems: Sequence[str],
    method: str,
    guidance: float,
    steps: int,
    batch_windows: int | None = None,
    generator: torch.Generator | None,
    progress: Progress | None,
) -> Iterator[dict[str, Tensor]]:
    """Consecutive blocks of every stem, (channels, samples) each, ``num_samples`` in all."""
    names = list(pipe.stems)
    pipe.fetch(PARTS_OF[method])
    window = round(pipe.segment_s * sample_rate)
    stretch = MAX_STRETCH if method == "mask" else 1.0
    shortest = window if method != "mask" and pipe.takes_whole_windows else 1
    overlap = round(min(OVERLAP_S, pipe.segment_s / 4) * sample_rate)
    masker = None
    if method != "vocoder":
        sharpener = pipe.sharpener if method == "mask" else None
        sharpen = None if sharpener is None else sharpener.sharpen
        masker = MaskSeparator(pipe.log_mel, sample_rate, sharpen)
    windows = windows_over(num_samples, window, overlap, stretch)
    longest = max(windows[0].length, shortest) * pipe.sample_rate // sample_rate
    padded = _padded(pipe, longest, method)
    request = Request(sample_rate, method, guidance, steps, generator, padded)

    wider = [widened(window, shortest, num_samples) for window in windows]
    results = _windows_stems(pipe, read, windows, wider, request, masker, batch_windows, progress)
    missing = num_samples
    for block in cross_faded(results, overlap):
        missing -= block.shape[-1]
        yield checked({stem: block[names.index(stem)] for stem in stems}, block.shape[-1])
    if missing:
        raise ResultError(f"the stems lack {missing} samples: please report this")


def _windows_stems(
    pipe: Separates,
    read: Read,
    windows: Sequence[Window],
    wider: Sequence[Window],
    request: Request,
    masker: MaskSeparator | None,
    batch_windows: int | None,
    progress: Progress | None,
) -> Iterator[Tensor]:
    """Stems (S, channels, T) of each of ``windows``, which are heard with what is around them."""
    batch = WindowBatch(batch_windows, pipe.compute_device)
    done = 0
    while done < len(windows):
        some = slice(done, done + batch.size())
        mixtures = [read(window.start, window.length) for window in wider[some]]
        scales = [exact_scale(mixture) for mixture in mixtures]
        stacks = _separate_windows(pipe, mixtures, scales, request, masker)
        batch.learn()
        rows = zip(windows[some], wider[some], mixtures, scales, stacks, strict=True)
        for window, heard, mixture, scale, stack in rows:
            done += 1
            if scale != 1:
                stack = _scaled_back(stack, scale, mixture, request.method)
            start = window.start - heard.start
            yield stack[..., start : start + window.length]
            if progress is not None:
                progress(done, len(windows))
            if done % WINDOWS_PER_RELEASE == 0:
                release_freed_memory()


def _separate_windows(
    pipe: Separates,
    mixtures: Sequence[Tensor],
    scales: Sequence[float],
    request: Request,
    masker: MaskSeparator | None,
) -> list[Tensor]:
    """Stems (S, channels, T) of each window of the mixture (channels, T), times its scale."""
    num_stems = len(pipe.stems)
    mixtures = [mixture * scale for mixture, scale in zip(mixtures, scales, strict=True)]
    heard = [_heard(pipe, *window, request) for window in zip(mixtures, scales, strict=True)]
    stacks = [mixture.expand(num_stems, *mixture.shape) / num_stems for mixture in mixtures]
    sounding = [(index, window) for index, window in enumerate(heard) if window is not None]
    scaled = [
        padded_to(window.waveform * window.gain, request.window_samples) for _, window in sounding
    ]
    if request.method == "mask":
        answers = network_masks(pipe, scaled)
    else:
        generators = [_of_window(pipe, request.generator) for _ in scaled]
        answers = windows_spectra(pipe, scaled, request.guidance, request.steps, generators)
    for (index, window), answer in zip(sounding, answers, strict=True):
        mixture = mixtures[index]
        if masker is not None:
            masks = answer if request.method == "mask" else mel_masks(answer)
            stacks[index] = masker.separate(mixture, masks, window.gain)
        else:
            vocoded = vocode(pipe, answer) / window.gain
            stems = from_model_rate(
                vocoded, pipe.sample_rate, request.sample_rate, mixture.shape[-1]
            )
            # mono stems take the mixture's balance between the channels
            balance = channel_gains(mixture) * (mixture != 0).any(dim=1)
            stacks[index] = balance[:, None] * stems[:, None]
    return stacks


def _scaled_back(stems: Tensor, scale: float, mixture: Tensor, method: str) -> Tensor:
    """``stems`` (S, channels, T) over ``scale``; with masks they add up to all of ``mixture``."""
    stems = stems / scale
    if method != "vocoder":
        stems[-1] = mixture - stems[:-1].sum(dim=0)
    return stems


def _heard(pipe: Separates, mixture: Tensor, scale: float, request: Request) -> Heard | None:
    """What the model hears of a window (channels, T) of the mixture; None if it is silent.

    The window was multiplied by ``scale``. The mask network hears the mean of the channels, as a
    mono model does.
    """
    model_rate, num_samples = pipe.sample_rate, request.window_samples
    if request.method != "mask" and pipe.channels > 1 and len(mixture) == pipe.channels:
        rows = [
            to_model_rate(channel[None], request.sample_rate, model_rate) for channel in mixture
        ]
        heard = torch.stack(rows)[:, :num_samples]
    else:
        heard = to_model_rate(mixture, request.sample_rate, model_rate)[:num_samples]
    if pipe.config.clip_mixture:
        heard = heard.clamp(-scale, scale)
    in_mono = mono(heard) if heard.ndim == 2 else heard
    rms = in_mono.square().mean().sqrt().item()
    if rms == 0:
        return None
    reference = pipe.config.reference_rms
    if reference is not None:
        return Heard(heard, reference / rms)
    return Heard(heard, 1 / scale if pipe.config.clip_mixture else min(1 / scale, MAX_GAIN))


def _of_window(pipe: Separates, generator: torch.Generator | None) -> torch.Generator | None:
    """The generator of one window, such that no batch size changes what a window draws.

    A model that draws only the noise to start from draws window after window from the one there is.
    """
    if generator is None or not (pipe.config.eta or pipe.config.sample_posterior):
        return generator
    seed = torch.randint(2**63 - 1, (), generator=generator)
    return torch.Generator().manual_seed(int(seed))


def network_masks(pipe: Separates, waveforms: Sequence[Tensor]) -> list[Tensor]:
    """The mask network's masks (S, F, M), which add up to one, of each of some mixtures (T,).

    They are one window or less, at the model's rate and level.
    """
    fetch_offloaded(pipe.refiner)
    found = []
    for waveform in waveforms:
        row = padded_to(waveform, _padded(pipe, len(waveform), "mask"))[None]
        log_mel = pipe.log_mel(row).to(pipe.compute_device)
        masks = pipe.refiner.separate(log_mel, row.to(pipe.compute_device))
        found.append(cast(Tensor, masks)[0].cpu())
    return found


def separated_spectra(
    pipe: Separates,
    waveform: Tensor,
    guidance: float,
    steps: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Log-mels (S, F, M) that the diffusion draws for a mono mixture (T,), one window or less.

    A stereo model hears (2, T), too; its estimates come in mono.
    """
    return windows_spectra(pipe, [waveform], guidance, steps, [generator])[0]


def windows_spectra(
    pipe: Separates,
    waveforms: Sequence[Tensor],
    guidance: float,
    steps: int,
    generators: Sequence[torch.Generator | None],
) -> list[Tensor]:
    """``separated_spectra`` of several windows at once, each with its generator."""
    if not waveforms:
        return []
    num_samples = _padded(pipe, max(row.shape[-1] for row in waveforms), "diffusion")
    mels = [pipe.log_mel(padded_to(row, num_samples)).cpu() for row in waveforms]
    rows = zip(mels, generators, strict=True)
    mixtures = torch.cat([encode(pipe, mel[None], generator) for mel, generator in rows])
    shape = (1, len(pipe.stems), *mixtures.shape[1:])
    latents = sample(
        guided(denoiser_of(pipe), mixtures, guidance),
        pipe.scheduler,
        torch.cat([torch.randn(shape, generator=generator) for generator in generators]),
        steps,
        generator=None if None in generators else list(generators),  # type: ignore[arg-type]
        eta=pipe.config.eta,
    )
    return list(decode(pipe, latents.flatten(0, 1)).unflatten(0, latents.shape[:2]))


def _padded(pipe: Separates, num_samples: int, method: str) -> int:
    """What ``num_samples`` at the model's rate are padded to: a network's stride, not a window.

    But for networks that take whole windows alone.
    """
    mel = pipe.log_mel.config
    num_samples = max(num_samples, mel.n_fft // 2 + 1)  # frames are centred, with mirrored ends
    if method != "mask":
        return pipe.positions_for(num_samples) * pipe.position_samples
    stride = 2 * mel.hop_length  # fine spectra come in pairs of frames
    return -(-num_samples // stride) * stride


def padded_to(waveform: Tensor, num_samples: int) -> Tensor:
    """``waveform`` (..., T) with zeros up to ``num_samples``."""
    return functional.pad(waveform, (0, num_samples - waveform.shape[-1]))
