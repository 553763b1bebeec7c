"""What users do with a model: separate, generate, arrange, edit, extend and vary.

Must not import what ``loading`` hides: that would undo the command line's fast start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from stemweave.audio.waveforms import check_waveform
from stemweave.components import LatentGrid
from stemweave.diffusion.sampler import Progress
from stemweave.files import InputError
from stemweave.stems import MIXTURE
from stemweave.tasks import arrange, edit, extend, generate, requests, separate, vary
from stemweave.tasks.requests import Method

Inpainting = Literal["known", "replace"]


@dataclass(frozen=True)
class TaskSettings:
    """What a saved model says about its use, beside its parts.

    Attributes:
        reference_rms: RMS of mixtures in training; inputs are brought to it and outputs back.
            None leaves levels as they are (the paper).
        clip_mixture: mixtures are clipped to ±1 before ``separate`` takes their log-mel, as those
            of training were (the paper's code).
        separation_steps, separation_guidance: defaults of ``separate``.
        generation_steps: default of all other tasks.
        eta: DDIM's share of fresh noise.
        timestep_shift: above 1, passes of all tasks but ``separate`` lie nearer to noise, where
            a piece is decided (``diffusion.schedulers.shifted``); not with DDIM.
        noise_offset: what all tasks but ``separate`` begin with is noise whose mean over a window
            varies by this much in stems of which nothing is given (``sampler.draw_noise``).
        arrangement_guidance: default of ``arrange``.
        bar_timestep: down to this timestep all bars of what ``generate``, ``arrange``, ``edit``
            and ``extend`` make are the same (``diffusion.bars``); None leaves them to the denoiser.
        generation_bar_gain, arrangement_bar_gain: of their deviation in time.
        beat_share: how much of a bar is the mean of its beats.
        phrase_share: how much of what is left of a generated bar is like every second bar only, so
            that bars follow each other in pairs.
        sample_posterior: draw latents from the autoencoder's posterior instead of its mean (the
            paper draws, also for the mixture).
    """

    reference_rms: float | None = None
    clip_mixture: bool = False
    separation_steps: int = 1
    separation_guidance: float = 1.0
    generation_steps: int = 50
    eta: float = 0.0
    timestep_shift: float = 1.0
    noise_offset: float = 0.0
    arrangement_guidance: float = 1.0
    bar_timestep: int | None = None
    generation_bar_gain: float = 1.0
    arrangement_bar_gain: float = 1.0
    beat_share: float = 0.0
    phrase_share: float = 0.0
    sample_posterior: bool = False


class StemModel(LatentGrid):
    """All tasks, for whoever holds a model's parts and settings.

    Attributes:
        config: the ``TaskSettings``, or an object with the same attributes.
        scheduler: diffusers scheduler with the denoiser's prediction type.
    """

    config: Any
    scheduler: Any

    @property
    def has_bars(self) -> bool:
        """Whether bars of what it makes are alike, so that a tempo can be wanted."""
        return self.config.bar_timestep is not None

    @property
    def methods(self) -> tuple[Method, ...]:
        """Of separation, the default one first."""
        return requests.METHODS if self.has_mask_network else requests.METHODS[1:]

    def separation_method(
        self, method: str | None, guidance: float | None = None, steps: int | None = None
    ) -> Method:
        """What ``separate`` does if asked so; raises ``InputError`` as it does."""
        return requests.chosen_method(method, self.has_mask_network, guidance, steps)

    def fetch_for(self, method: Method) -> None:
        """Have in memory what separation by ``method`` needs; raises ``InputError``."""
        self.fetch(separate.PARTS_OF[method])

    @torch.inference_mode()
    def separate(
        self,
        waveform: Tensor,
        sample_rate: int,
        *,
        stems: Sequence[str] | None = None,
        method: Method | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        batch_windows: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """Stems of ``waveform`` (channels, samples) or (samples,), each of the same shape.

        With ``method`` "mask" (the default of models with a mask network) and "diffusion" (of
        others) masks cut the stems out of the waveform, and all stems add up to it; the mask
        network makes the ones, the diffusion the others. With "vocoder" the diffusion's stems are
        synthesised (the paper's way). ``guidance`` and ``steps`` are the diffusion's; a guidance
        other than 0 and 1 takes two network passes a step. ``batch_windows`` windows go through the
        networks at once, on GPUs as many as fit if None; the stems are the same. Raises
        ``InputError`` for what cannot be separated.
        """
        if waveform.ndim not in (1, 2):
            raise InputError(
                f"the waveform must be (channels, samples), not {tuple(waveform.shape)}"
            )
        check_waveform(waveform, "the waveform")
        stack = waveform.float().reshape(-1, waveform.shape[-1])
        blocks = self.separate_blocks(
            lambda start, length: stack[:, start : start + length],
            stack.shape[-1],
            sample_rate,
            stems=stems,
            method=method,
            guidance=guidance,
            steps=steps,
            batch_windows=batch_windows,
            generator=generator,
            progress=progress,
        )
        parts: dict[str, list[Tensor]] = {}
        for block in blocks:
            for stem, part in block.items():
                parts.setdefault(stem, []).append(part)
        return {
            stem: torch.cat(list_, dim=-1).reshape(waveform.shape) for stem, list_ in parts.items()
        }

    def separate_blocks(
        self,
        read: Callable[[int, int], Tensor],
        num_samples: int,
        sample_rate: int,
        *,
        stems: Sequence[str] | None = None,
        method: Method | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        batch_windows: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Iterator[dict[str, Tensor]]:
        """As ``separate`` for audio of any length: consecutive blocks of every stem.

        ``read(start, length)`` returns (channels, length) float32 samples of the mixture.
        """
        chosen = requests.known_stems(self.stems, stems or self.stems)
        method = self.separation_method(method, guidance, steps)
        if batch_windows is not None and batch_windows < 1:
            raise InputError(f"batch_windows must be at least 1, not {batch_windows}")
        blocks = separate.separate_blocks(
            self,
            read,
            num_samples,
            sample_rate,
            stems=chosen,
            method=method,
            guidance=self.config.separation_guidance if guidance is None else guidance,
            steps=steps or self.config.separation_steps,
            batch_windows=batch_windows,
            generator=generator,
            progress=progress,
        )
        while True:  # inference mode must not leak to the caller between two blocks
            with torch.inference_mode():
                block = next(blocks, None)
            if block is None:
                return
            yield block

    @torch.inference_mode()
    def generate(
        self,
        seconds: float = 10.24,
        *,
        tempo_bpm: float | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """A new piece: (1, samples) for every stem and ``mixture`` at ``sample_rate``.

        Bars of four beats at ``tempo_bpm`` (None: drawn), to the nearest latent position, resemble
        each other if the model has a ``bar_timestep``; of one that has none, or for a tempo that
        no bar can have, it raises ``InputError``.
        """
        requests.check_seconds(seconds)
        requests.check_tempo(tempo_bpm, self.has_bars)
        return generate.generate(
            self,
            seconds,
            tempo_bpm=tempo_bpm,
            steps=steps,
            generator=generator,
            progress=progress,
        )

    @torch.inference_mode()
    def arrange(
        self,
        given: Mapping[str, Tensor],
        sample_rate: int,
        *,
        add: Sequence[str] | None = None,
        steps: int | None = None,
        inpainting: Inpainting | None = None,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """The missing stems to the ``given`` ones, (channels, samples) each at ``sample_rate``.

        Returns the given stems unchanged, the added ones (all missing ones by default) and their
        sum as ``mixture``. ``inpainting`` "replace" is the paper's way, "known" the trained one,
        for which ``guidance`` (None: the model's) says how much the added stems listen to the given
        ones; other than 1 it takes two network passes a step.
        """
        added = requests.check_arrangement(self.stems, given, add)
        requests.check_inpainting(inpainting, guidance, self.config_of("denoiser").known_stems)
        return arrange.arrange(
            self,
            given,
            sample_rate,
            add=added,
            steps=steps,
            inpainting=inpainting,
            guidance=guidance,
            generator=generator,
            progress=progress,
        )

    @torch.inference_mode()
    def edit(
        self,
        piece: Mapping[str, Tensor] | Tensor,
        sample_rate: int,
        *,
        renew: Mapping[str, tuple[float, float | None]],
        steps: int | None = None,
        inpainting: Inpainting | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """``piece`` with some stems new in time ranges: ``renew={"drums": (start_s, end_s)}``.

        ``piece`` holds stems (channels, samples) of one shape and, if wanted, their ``mixture``; a
        mixture alone, which may be a tensor, is separated first. An end of None is the piece's end.
        Returns all stems and the mixture; every sample outside the ranges is as before. Raises
        ``InputError`` for ranges that are not in the piece or leave nothing of it.
        """
        given = requests.as_piece(self.stems, piece)
        ranges = requests.ranges_in_samples(self.stems, given, sample_rate, renew)
        requests.check_inpainting(inpainting, None, self.config_of("denoiser").known_stems)
        return edit.edit(
            self,
            self._with_stems(given, sample_rate, generator, progress),
            sample_rate,
            renew=ranges,
            steps=steps,
            inpainting=inpainting,
            generator=generator,
            progress=progress,
        )

    @torch.inference_mode()
    def extend(
        self,
        piece: Mapping[str, Tensor] | Tensor,
        sample_rate: int,
        *,
        seconds: float,
        steps: int | None = None,
        inpainting: Inpainting | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """``piece`` (as for ``edit``), unchanged, and ``seconds`` more of it after its end.

        Returns its stems and the mixture. Raises ``InputError`` if there is too little to continue.
        """
        requests.check_seconds(seconds)
        given = requests.as_piece(self.stems, piece)
        requests.check_long_enough(given, self.position_s, sample_rate)
        requests.check_inpainting(inpainting, None, self.config_of("denoiser").known_stems)
        return extend.extend(
            self,
            self._with_stems(given, sample_rate, generator, progress),
            sample_rate,
            added_samples=max(1, round(seconds * sample_rate)),
            steps=steps,
            inpainting=inpainting,
            generator=generator,
            progress=progress,
        )

    @torch.inference_mode()
    def vary(
        self,
        piece: Mapping[str, Tensor] | Tensor,
        sample_rate: int,
        *,
        strength: float = 0.5,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """A piece that is similar to ``piece`` (as for ``edit``), equally long.

        ``strength`` 0 returns the piece itself, 1 a new one of the same stems. Raises
        ``InputError`` for a strength outside [0, 1].
        """
        requests.check_strength(strength)
        given = requests.as_piece(self.stems, piece)
        return vary.vary(
            self,
            self._with_stems(given, sample_rate, generator, progress),
            sample_rate,
            strength=strength,
            steps=steps,
            generator=generator,
            progress=progress,
        )

    def _with_stems(
        self,
        given: Mapping[str, Tensor],
        sample_rate: int,
        generator: torch.Generator | None,
        progress: Progress | None,
    ) -> dict[str, Tensor]:
        """``given`` stems in the model's order, separated if need be, and the mixture."""
        stems = {name: given[name] for name in self.stems if name in given}
        if not stems:
            stems = self.separate(
                given[MIXTURE], sample_rate, generator=generator, progress=progress
            )
        mixture = given.get(MIXTURE)
        if mixture is None:
            mixture = torch.stack(list(stems.values())).sum(dim=0)
        return {**stems, MIXTURE: mixture}
