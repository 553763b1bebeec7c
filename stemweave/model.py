"""What users do with a model: separate, generate, arrange, edit, extend and vary.

Must not import what ``loading`` hides: that would undo the command line's fast start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stemweave.diffusion.sampler import Progress
from stemweave.errors import InputError
from stemweave.music.drawing import at_tempo
from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet
from stemweave.music.score import Score
from stemweave.separates import Separates
from stemweave.stems import MIXTURE
from stemweave.tasks import analyse, arrange, edit, extend, generate, requests, vary
from stemweave.tasks.conditioning import Conditioning, conditioning_of
from stemweave.tasks.write_score import ScoreSampling, write_score

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


class StemModel(Separates):
    """All tasks, for whoever holds a model's parts and settings."""

    @property
    def has_bars(self) -> bool:
        """Whether bars of what it makes are alike, so that a tempo can be wanted."""
        return self.config.bar_timestep is not None

    @torch.inference_mode()
    def generate(
        self,
        seconds: float = 10.24,
        *,
        tempo_bpm: float | None = None,
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        condition_guidance: float = 1.0,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """A new piece: (1, samples) for every stem and ``mixture`` at ``sample_rate``.

        It follows ``sheet`` and plays the notes of ``score``, if given, whose sounds are then drawn
        from those of training; ``condition_guidance`` says how much it listens. Otherwise bars of
        four beats at ``tempo_bpm`` (None: drawn), to the nearest latent position, resemble each
        other if the model has a ``bar_timestep``. A model that understands sheets takes a tempo as
        one. Raises ``InputError`` for what the model does not understand or no bar can have.
        """
        requests.check_seconds(seconds)
        requests.check_sampling(steps)
        requests.check_tempo(tempo_bpm, self.has_bars or self.takes_sheets)
        if tempo_bpm is not None and self.takes_sheets:
            sheet = at_tempo(sheet or LeadSheet(metre=DEFAULT_METRE), tempo_bpm)
        conditioning = conditioning_of(
            self,
            sheet,
            score,
            condition_guidance,
            seconds,
            new_stems=self.stems,
            generator=generator,
        )
        return generate.generate(
            self,
            seconds,
            tempo_bpm=tempo_bpm,
            conditioning=conditioning,
            steps=steps,
            generator=generator,
            progress=progress,
        )

    @torch.inference_mode()
    def analyse(self, waveform: Tensor, sample_rate: int) -> LeadSheet:
        """Beats, bars, metre, tempo, key and chords of music (channels, samples) or (samples,).

        A sheet of nothing if no beat is found. Raises ``InputError`` if the model has no analyser.
        """
        if not self.analyses:
            raise InputError("this model has no analyser: give tempo and chords, or a sheet")
        requests.check_rate(sample_rate)
        return analyse.analyse(self, requests.as_mixture(waveform), sample_rate)

    def write_score(
        self,
        sheet: LeadSheet,
        *,
        given: Score | None = None,
        rewrite: Mapping[str, tuple[int, int]] | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Score:
        """Notes of all stems under ``sheet``, which needs its beats and downbeats.

        Stems of ``given`` stay as they are, but for bars to ``rewrite``: ``{"guitar": (8, 12)}``
        for bars 9 to 12. Below a ``temperature`` of 1 likelier notes are drawn more often. Raises
        ``InputError`` if the model has no score model or the sheet no bars.
        """
        if not self.writes_scores:
            raise InputError("this model writes no scores: give one, or leave the notes to it")
        sampling = ScoreSampling(temperature, generator=generator)
        return write_score(self.score_model, sheet, sampling, given, rewrite)

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
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        condition_guidance: float = 1.0,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """The missing stems to the ``given`` ones, (channels, samples) each at ``sample_rate``.

        Returns the given stems unchanged, the added ones (all missing ones by default) and their
        sum as ``mixture``. ``inpainting`` "replace" is the paper's way, "known" the trained one,
        for which ``guidance`` (None: the model's) says how much the added stems listen to the given
        ones; other than 1 it takes two network passes a step. ``sheet`` and ``score`` are of the
        whole piece, as for ``generate``.
        """
        added = requests.check_arrangement(self.stems, given, add, sample_rate)
        requests.check_sampling(steps, guidance)
        requests.check_inpainting(inpainting, guidance, self.config_of("denoiser").known_stems)
        conditioning = self._conditioning(
            sheet, score, condition_guidance, given, sample_rate, new=added, generator=generator
        )
        return arrange.arrange(
            self,
            given,
            sample_rate,
            add=added,
            conditioning=conditioning,
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
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        condition_guidance: float = 1.0,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """``piece`` with some stems new in time ranges: ``renew={"drums": (start_s, end_s)}``.

        ``piece`` holds stems (channels, samples) of one shape and, if wanted, their ``mixture``; a
        mixture alone, which may be a tensor, is separated first. An end of None is the piece's end.
        Returns all stems and the mixture; every sample outside the ranges is as before. ``sheet``
        and ``score`` are of the whole piece, as for ``generate``. Raises ``InputError`` for ranges
        that are not in the piece or leave nothing of it.
        """
        given = requests.as_piece(self.stems, piece, sample_rate)
        requests.check_sampling(steps)
        ranges = requests.ranges_in_samples(self.stems, given, sample_rate, renew)
        requests.check_inpainting(inpainting, None, self.config_of("denoiser").known_stems)
        conditioning = self._conditioning(sheet, score, condition_guidance, given, sample_rate)
        return edit.edit(
            self,
            self._with_stems(given, sample_rate, generator, progress),
            sample_rate,
            conditioning=conditioning,
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
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        condition_guidance: float = 1.0,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """``piece`` (as for ``edit``), unchanged, and ``seconds`` more of it after its end.

        Returns its stems and the mixture. ``sheet`` and ``score`` are as for ``generate``, of the
        piece and what is added; a shorter sheet goes on with its bars and chords, and what a score
        says nothing of is free. Raises ``InputError`` if there is too little to continue.
        """
        given = requests.as_piece(self.stems, piece, sample_rate)
        requests.check_sampling(steps)
        begun_s = next(iter(given.values())).shape[-1] / sample_rate
        requests.check_seconds(seconds, begun_s)
        requests.check_long_enough(given, self.position_s, sample_rate)
        requests.check_inpainting(inpainting, None, self.config_of("denoiser").known_stems)
        conditioning = self._conditioning(
            sheet, score, condition_guidance, given, sample_rate, added_s=seconds
        )
        return extend.extend(
            self,
            self._with_stems(given, sample_rate, generator, progress),
            sample_rate,
            conditioning=conditioning,
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
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        condition_guidance: float = 1.0,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """A piece that is similar to ``piece`` (as for ``edit``), equally long.

        ``strength`` 0 returns the piece itself, 1 a new one of the same stems. ``sheet`` and
        ``score`` are as for ``generate``. Raises ``InputError`` for a strength outside [0, 1].
        """
        requests.check_strength(strength)
        requests.check_sampling(steps)
        given = requests.as_piece(self.stems, piece, sample_rate)
        conditioning = self._conditioning(sheet, score, condition_guidance, given, sample_rate)
        return vary.vary(
            self,
            self._with_stems(given, sample_rate, generator, progress),
            sample_rate,
            conditioning=conditioning,
            strength=strength,
            steps=steps,
            generator=generator,
            progress=progress,
        )

    def _conditioning(
        self,
        sheet: LeadSheet | None,
        score: Score | None,
        guidance: float,
        piece: Mapping[str, Tensor],
        sample_rate: int,
        *,
        added_s: float = 0.0,
        new: Sequence[str] = (),
        generator: torch.Generator | None = None,
    ) -> Conditioning | None:
        """What a task on ``piece`` is told, ``added_s`` of which are to come."""
        duration_s = next(iter(piece.values())).shape[-1] / sample_rate + added_s
        return conditioning_of(
            self, sheet, score, guidance, duration_s, new_stems=new, generator=generator
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
