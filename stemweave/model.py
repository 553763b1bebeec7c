"""``StemModel``: a model and everything that users do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stemweave.checkpoints.saved_model import SavedModel
from stemweave.errors import InputError
from stemweave.io.piece import Piece
from stemweave.models.memory import keep_freed_memory
from stemweave.models.parts import PARTS, TaskSettings
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score
from stemweave.tasks import analyse, arrange, edit, extend, generate, requests, separate, vary
from stemweave.tasks.requests import Method
from stemweave.tasks.sampling import Sampling, SamplingOptions, sampling_of
from stemweave.tasks.write_score import ScoreSampling, write_score

if TYPE_CHECKING:
    from typing_extensions import Unpack


class StemModel(SavedModel):
    """Separates, generates, arranges, edits, extends and varies with one model.

    Args:
        log_mel: ``LogMel``: sample rate, hop, bands and the length of a window.
        vae: autoencoder of log-mels, ``PatchVAE`` or diffusers' ``AutoencoderKL``.
        denoiser: ``CompactUNet`` or ``UNet3D``; it defines the stems and their order.
        scheduler: diffusers scheduler with the denoiser's prediction type.
        vocoder: log-mel → waveform, ``SpectralVocoder`` or transformers' ``SpeechT5HifiGan``.
        refiner: ``MaskRefiner``, the mask network of ``separate``; None leaves it to the diffusion.
        sharpener: ``MaskSharpener`` that refines its masks to single bins; None leaves them.
        score_model: ``ScoreTransformer`` that writes notes; None leaves them to the denoiser.
        analyser: ``SongAnalyser`` of beats, bars and harmony; None leaves them to the user.
        device: where networks run.
        settings: of ``TaskSettings``.

    Raises:
        InputError: if the parts do not fit together.
    """

    def __init__(
        self,
        log_mel: Any,
        vae: Any,
        denoiser: Any,
        scheduler: Any,
        vocoder: Any,
        refiner: Any = None,
        sharpener: Any = None,
        score_model: Any = None,
        analyser: Any = None,
        *,
        device: str | torch.device = "cpu",
        **settings: Any,
    ) -> None:
        needed = (log_mel, vae, denoiser, scheduler, vocoder)
        named = dict(zip(PARTS, (*needed, refiner, sharpener, score_model, analyser), strict=True))
        super().__init__(named, TaskSettings(**settings), device)

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

    def separate(
        self,
        waveform: Tensor,
        sample_rate: int,
        *,
        stems: Sequence[str] | None = None,
        method: Method | None = None,
        sampling: Sampling | None = None,
        **options: Unpack[SamplingOptions],
    ) -> dict[str, Tensor]:
        """Stems of a mixture, each of its shape (paper, Section 2.3).

        Args:
            waveform: (channels, samples) or (samples,), of any length and level.
            sample_rate: Hz, 8,000 to 192,000.
            stems: names of those to return; None: all, ``separated_stems`` by "mask" and ``stems``
                by the other methods.
            method: "mask" (the default of models with a mask network) and "diffusion" (of others):
                masks cut the stems out of the waveform, so that all stems add up to it; the mask
                network makes the ones, the diffusion the others. "vocoder": the diffusion's stems
                as sound (the paper's way).
            sampling, options: ``Sampling`` or its fields; steps and guidance are the diffusion's.

        Raises:
            InputError: for what cannot be separated, or not so.
        """
        drawn = sampling_of(sampling, options)
        return separate.separate(self, waveform, sample_rate, drawn, stems=stems, method=method)

    def separate_blocks(
        self,
        read: Callable[[int, int], Tensor],
        num_samples: int,
        sample_rate: int,
        *,
        stems: Sequence[str] | None = None,
        method: Method | None = None,
        sampling: Sampling | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Iterator[dict[str, Tensor]]:
        """As ``separate`` for audio of any length: consecutive blocks of every stem.

        Args:
            read: (start, length) → (channels, length) float32 samples of the mixture.
            num_samples: of all of it.
        """
        drawn = sampling_of(sampling, options)
        return separate.separate_blocks(
            self, read, num_samples, sample_rate, drawn, stems=stems, method=method
        )

    @torch.inference_mode()
    def generate(
        self,
        seconds: float = 10.24,
        *,
        tempo_bpm: float | None = None,
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        sample_rate: int | None = None,
        mono: bool = False,
        sampling: Sampling | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Piece:
        """A new piece: (channels, samples) for every stem and ``mixture`` (paper, Section 3.2).

        Args:
            seconds: its length, up to an hour.
            tempo_bpm: 50 to 240, as a sheet of this tempo; None: drawn.
            sheet: tempo, bars, chords, ... that it follows, if the model understands them.
            score: notes that it plays; their sounds are drawn from those of training.
            sample_rate: Hz, 8,000 to 192,000; None: the vocoder's.
            mono: one channel, also of models that play in stereo.
            sampling, options: ``Sampling`` or its fields.

        Raises:
            InputError: for what the model does not understand or no bar can have.
        """
        drawn = sampling_of(sampling, options)
        made = generate.generate(
            self,
            seconds,
            drawn,
            tempo_bpm=tempo_bpm,
            sheet=sheet,
            score=score,
            sample_rate=sample_rate,
            mono=mono,
        )
        return Piece(made, sample_rate or self.output_rate)

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
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        sampling: Sampling | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Piece:
        """The missing stems to some that are there (paper, Section 3.3).

        Args:
            given: waveforms (channels, samples) by stem, of one shape. Of stems that it only
                separates it takes no notice.
            sample_rate: Hz.
            add: stems to add; None: all that are missing.
            sheet, score: of the whole piece, as for ``generate``.
            sampling, options: ``Sampling`` or its fields; ``guidance`` is how much the added stems
                listen to the given ones (inpainting "known" only).

        Returns:
            The given stems unchanged, the added ones and their sum as ``mixture``.

        Raises:
            InputError: for stems or settings that the model does not have.
        """
        drawn = sampling_of(sampling, options)
        made = arrange.arrange(self, given, sample_rate, drawn, add=add, sheet=sheet, score=score)
        return Piece(made, sample_rate)

    @torch.inference_mode()
    def edit(
        self,
        piece: Mapping[str, Tensor] | Tensor,
        sample_rate: int,
        *,
        renew: Mapping[str, tuple[float, float | None]],
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        sampling: Sampling | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Piece:
        """``piece`` with some stems new in ranges of time; all else stays, to the sample.

        Args:
            piece: stems (channels, samples) of one shape and, if wanted, their ``mixture``; a
                mixture alone, which may be a tensor, is separated first. Stems that the model only
                separates are kept, and it takes no notice of them.
            sample_rate: Hz.
            renew: seconds by stem: ``{"drums": (start, end)}``; an end of None is the piece's.
            sheet, score: of the whole piece, as for ``generate``.
            sampling, options: ``Sampling`` or its fields.

        Raises:
            InputError: for ranges that are not in the piece or leave nothing of it.
        """
        drawn = sampling_of(sampling, options)
        made = edit.edit(self, piece, sample_rate, drawn, renew=renew, sheet=sheet, score=score)
        return Piece(made, sample_rate)

    @torch.inference_mode()
    def extend(
        self,
        piece: Mapping[str, Tensor] | Tensor,
        sample_rate: int,
        *,
        seconds: float,
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        sampling: Sampling | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Piece:
        """``piece`` (as for ``edit``), unchanged, and more of it after its end.

        Args:
            seconds: length of what is added.
            sheet, score: as for ``generate``, of the piece and what is added; a shorter sheet goes
                on with its bars and chords, and what a score says nothing of is free.
            sampling, options: ``Sampling`` or its fields.

        Raises:
            InputError: if there is too little to continue.
        """
        drawn = sampling_of(sampling, options)
        made = extend.extend(
            self, piece, sample_rate, drawn, seconds=seconds, sheet=sheet, score=score
        )
        return Piece(made, sample_rate)

    @torch.inference_mode()
    def vary(
        self,
        piece: Mapping[str, Tensor] | Tensor,
        sample_rate: int,
        *,
        strength: float = 0.5,
        sheet: LeadSheet | None = None,
        score: Score | None = None,
        sampling: Sampling | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Piece:
        """A piece that is similar to ``piece`` (as for ``edit``), equally long.

        Args:
            strength: 0 returns the piece itself, 1 a new one of the same stems.
            sheet, score: as for ``generate``.
            sampling, options: ``Sampling`` or its fields.

        Raises:
            InputError: for a strength outside [0, 1].
        """
        drawn = sampling_of(sampling, options)
        made = vary.vary(
            self, piece, sample_rate, drawn, strength=strength, sheet=sheet, score=score
        )
        return Piece(made, sample_rate)


def load_model(source: str | Path | None = None, device: str = "cpu", **options: Any) -> StemModel:
    """``StemModel.from_pretrained`` for a process of one's own, which keeps the memory it frees."""
    keep_freed_memory()
    return StemModel.from_pretrained(source, device=device, **options)
