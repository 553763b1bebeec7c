"""Separation: a mixture in, its stems out, in windows and bounded memory for any length.

Three methods: "mask", the mask network's masks on the mixture's spectrum; "diffusion", masks from
the spectra that the diffusion draws; "vocoder", those spectra as sound (the paper's way).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from stemweave.audio.masking import MaskSeparator, mel_masks, silence_faint
from stemweave.audio.stereo import channel_gains
from stemweave.audio.waveforms import ResultError, checked, exact_scale, mono, rms
from stemweave.audio.windows import Window, cross_faded, widened, windows_over
from stemweave.models.acceleration import WindowBatch
from stemweave.models.memory import release_freed_memory
from stemweave.models.parts import Parts
from stemweave.stems import MIXTURE
from stemweave.tasks import requests
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.spectra import from_model_rate, to_model_rate, vocode
from stemweave.tasks.window_estimates import (
    network_masks,
    padded_length,
    padded_to,
    windows_spectra,
)

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
class ModelInput:
    """A window (T,) or (2, T) at the model's rate; ``gain`` brings it to the model's level."""

    waveform: Tensor
    gain: float


@torch.inference_mode()
def separate(
    parts: Parts,
    waveform: Tensor,
    sample_rate: int,
    sampling: Sampling,
    *,
    stems: Sequence[str] | None = None,
    method: str | None = None,
) -> dict[str, Tensor]:
    """Stems of ``waveform`` (channels, samples) or (samples,), each of the same shape."""
    stack = requests.as_mixture(waveform)
    found: dict[str, list[Tensor]] = {}
    blocks = separate_blocks(
        parts,
        lambda start, length: stack[:, start : start + length],
        stack.shape[-1],
        sample_rate,
        sampling,
        stems=stems,
        method=method,
    )
    for block in blocks:
        for stem, part in block.items():
            found.setdefault(stem, []).append(part)
    return {stem: torch.cat(some, dim=-1).reshape(waveform.shape) for stem, some in found.items()}


def separate_blocks(
    parts: Parts,
    read: Read,
    num_samples: int,
    sample_rate: int,
    sampling: Sampling,
    *,
    stems: Sequence[str] | None = None,
    method: str | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Consecutive blocks of every stem, (channels, samples) each, ``num_samples`` in all.

    Raises ``InputError`` for what cannot be separated, or not so.
    """
    requests.check_rate(sample_rate)
    drawn = sampling.checked(parts, "separate")
    has_masks = parts.has_mask_network
    method = requests.chosen_method(method, has_masks, sampling.guidance, sampling.steps)
    chosen = requests.known_stems(parts.stems_by(method), stems or parts.stems_by(method))
    blocks = Separator(parts, sample_rate, method, drawn).blocks(read, num_samples, chosen)
    while True:  # inference mode must not leak to the caller between two blocks
        with torch.inference_mode():
            block = next(blocks, None)
        if block is None:
            return
        yield block


def with_stems(
    parts: Parts, given: Mapping[str, Tensor], sample_rate: int, sampling: Sampling
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """The piece ``given`` in the model's order, separated if need be: stems that the model makes,
    those that it leaves as they are, if they sound, and the mixture.
    """
    names = parts.separated_stems
    stems = {name: given[name] for name in names if name in given}
    if not stems:
        plain = Sampling(generator=sampling.generator, progress=sampling.progress)
        found = separate(parts, given[MIXTURE], sample_rate, plain)
        stems = {name: found[name] for name in names if name in parts.stems or found[name].any()}
    mixture = given.get(MIXTURE)
    if mixture is None:
        mixture = torch.stack(list(stems.values())).sum(dim=0)
    kept = {name: stems.pop(name) for name in names if name in stems and name not in parts.stems}
    return stems, kept, mixture


class Separator:
    """Separates mixtures of one sample rate by one method; ``parts`` that it needs are read now."""

    def __init__(self, parts: Parts, sample_rate: int, method: str, sampling: Sampling) -> None:
        parts.fetch(PARTS_OF[method])
        self.parts, self.sample_rate, self.method, self.sampling = (
            parts, sample_rate, method, sampling
        )  # fmt: skip
        has_sharpener = method == "mask" and parts.config_of("sharpener") is not None

        def sharpen(*arguments: Tensor) -> Tensor:
            return cast(Tensor, parts.on_device("sharpener").sharpen(*arguments))

        self.masker = None
        if method != "vocoder":
            refine = sharpen if has_sharpener else None
            self.masker = MaskSeparator(parts.log_mel, sample_rate, refine)
        self.names = parts.stems_by(method)
        self.only_separated = [i for i, name in enumerate(self.names) if name not in parts.stems]
        self.window_samples = 0
        """Of every window at the model's rate: no batch changes what a window is padded to."""

    def blocks(
        self, read: Read, num_samples: int, stems: Sequence[str]
    ) -> Iterator[dict[str, Tensor]]:
        """Consecutive blocks of ``stems``, (channels, samples) each, ``num_samples`` in all."""
        parts = self.parts
        window = round(parts.segment_s * self.sample_rate)
        stretch = MAX_STRETCH if self.method == "mask" else 1.0
        shortest = window if self.method != "mask" and parts.takes_whole_windows else 1
        overlap = round(min(OVERLAP_S, parts.segment_s / 4) * self.sample_rate)
        windows = windows_over(num_samples, window, overlap, stretch)
        longest = max(windows[0].length, shortest) * parts.sample_rate // self.sample_rate
        self.window_samples = padded_length(parts, longest, self.method)
        wider = [widened(window, shortest, num_samples) for window in windows]
        missing = num_samples
        for block in cross_faded(self._windows_stems(read, windows, wider), overlap):
            missing -= block.shape[-1]
            chosen = {stem: block[self.names.index(stem)] for stem in stems}
            yield checked(chosen, block.shape[-1])
        if missing:
            raise ResultError(f"the stems lack {missing} samples: please report this")

    def _windows_stems(
        self, read: Read, windows: Sequence[Window], wider: Sequence[Window]
    ) -> Iterator[Tensor]:
        """Stems (S, channels, T) of each of ``windows``; the model gets what is around, too."""
        batch = WindowBatch(self.sampling.batch_windows, self.parts.compute_device)
        done = 0
        while done < len(windows):
            some = slice(done, done + batch.size())
            mixtures = [read(window.start, window.length) for window in wider[some]]
            scales = [exact_scale(mixture) for mixture in mixtures]
            stacks = self._separate_windows(mixtures, scales)
            batch.learn()
            rows = zip(windows[some], wider[some], mixtures, scales, stacks, strict=True)
            for window, wide, mixture, scale, stack in rows:
                done += 1
                if scale != 1:
                    stack = stack / scale
                    if self.method != "vocoder":  # masks' stems add up to all of the mixture
                        stack[-1] = mixture - stack[:-1].sum(dim=0)
                silence_faint(stack, mixture, self.only_separated)
                start = window.start - wide.start
                yield stack[..., start : start + window.length]
                if self.sampling.progress is not None:
                    self.sampling.progress(done, len(windows))
                if done % WINDOWS_PER_RELEASE == 0:
                    release_freed_memory()

    def _separate_windows(
        self, mixtures: Sequence[Tensor], scales: Sequence[float]
    ) -> list[Tensor]:
        """Stems (S, channels, T) of each window of the mixture (channels, T), times its scale."""
        is_made = torch.tensor([name in self.parts.stems for name in self.names]).float()
        mixtures = [mixture * scale for mixture, scale in zip(mixtures, scales, strict=True)]
        inputs = [self._model_input(*window) for window in zip(mixtures, scales, strict=True)]
        stacks = [is_made[:, None, None] * mixture / is_made.sum() for mixture in mixtures]
        sounding = [(index, window) for index, window in enumerate(inputs) if window is not None]
        scaled = [
            padded_to(window.waveform * window.gain, self.window_samples) for _, window in sounding
        ]
        if self.method == "mask":
            answers = network_masks(self.parts, scaled)
        else:
            generators = [_of_window(self.parts, self.sampling.generator) for _ in scaled]
            answers = windows_spectra(self.parts, scaled, self.sampling, generators)
        for (index, window), answer in zip(sounding, answers, strict=True):
            mixture = mixtures[index]
            if self.masker is None:
                stacks[index] = self._vocoded(answer, window.gain, mixture)
                continue
            masks = answer if self.method == "mask" else mel_masks(answer)
            stacks[index] = self.masker.separate(mixture, masks, window.gain)
        return stacks

    def _vocoded(self, log_mels: Tensor, gain: float, mixture: Tensor) -> Tensor:
        """Stems (S, channels, T) as sound, mono ones with the mixture's balance of channels."""
        waveforms = vocode(self.parts, log_mels, self.parts.stems) / gain
        rate = self.parts.output_rate
        stems = from_model_rate(waveforms, rate, self.sample_rate, mixture.shape[-1])
        balance = channel_gains(mixture) * (mixture != 0).any(dim=1)
        return balance[:, None] * stems[:, None]

    def _model_input(self, mixture: Tensor, scale: float) -> ModelInput | None:
        """The model's input for a window (channels, T) of the mixture; None if it is silent.

        The window was multiplied by ``scale``. The mask network takes the mean of the channels, as
        a mono model does.
        """
        parts, num_samples = self.parts, self.window_samples
        rate, model_rate = self.sample_rate, parts.sample_rate
        if self.method != "mask" and parts.channels > 1 and len(mixture) == parts.channels:
            rows = [to_model_rate(channel[None], rate, model_rate) for channel in mixture]
            at_rate = torch.stack(rows)[:, :num_samples]
        else:
            at_rate = to_model_rate(mixture, rate, model_rate)[:num_samples]
        if parts.config.clip_mixture:
            at_rate = at_rate.clamp(-scale, scale)
        in_mono = mono(at_rate) if at_rate.ndim == 2 else at_rate
        level, reference = rms(in_mono).item(), parts.config.reference_rms
        if level == 0:
            return None
        if reference is not None:
            return ModelInput(at_rate, reference / level)
        most = math.inf if parts.config.clip_mixture else MAX_GAIN
        return ModelInput(at_rate, min(1 / scale, most))


def _of_window(parts: Parts, generator: torch.Generator | None) -> torch.Generator | None:
    """The generator of one window, such that no batch size changes what a window draws.

    A model that draws only the noise to start from draws window after window from the one there is.
    """
    if generator is None or not (parts.config.eta or parts.config.sample_posterior):
        return generator
    seed = torch.randint(2**63 - 1, (), generator=generator)
    return torch.Generator().manual_seed(int(seed))
