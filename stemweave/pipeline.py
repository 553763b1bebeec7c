"""``StemweavePipeline``: a saved model and everything that users do with it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.utils import logging

from stemweave.audio.log_mel import LogMel
from stemweave.checkpoints.model_folder import BUNDLED_MODEL, check_model, loading_failed
from stemweave.errors import InputError
from stemweave.model import StemModel, TaskSettings
from stemweave.models.devices import checked_device


class StemweavePipeline(StemModel, DiffusionPipeline):
    """Separates, generates, arranges, edits, extends and varies with one model.

    Args:
        log_mel: front end; defines sample rate, hop, bands and the length of a window.
        vae: autoencoder of log-mels (``PatchVAE`` or diffusers' ``AutoencoderKL``).
        denoiser: ``CompactUNet`` or ``UNet3D``; defines the stems and their order.
        scheduler: diffusers scheduler with the denoiser's prediction type.
        vocoder: log-mel → waveform (``SpectralVocoder`` or transformers' ``SpeechT5HifiGan``).
        refiner: ``MaskRefiner`` that improves the masks of ``separate``; None (the paper) takes the
            masks of the estimated spectra as they are.
        sharpener: ``MaskSharpener`` that brings them to single bins; None leaves them as bands.
        score_model: ``ScoreTransformer`` that writes the notes of new stems; None leaves those
            that are not given to the denoiser.
        analyser: ``SongAnalyser`` of beats, bars and harmony; None leaves them to the user.
        reference_rms and all after it: see ``TaskSettings``.

    Raises:
        InputError: if the components do not fit together.
    """

    _optional_components: ClassVar[list[str]] = ["refiner", "sharpener", "score_model", "analyser"]
    model_cpu_offload_seq: ClassVar[str] = "vae->denoiser->refiner->sharpener->vocoder"

    def __init__(
        self,
        log_mel: LogMel,
        vae: ModelMixin,
        denoiser: ModelMixin,
        scheduler: SchedulerMixin,
        vocoder: torch.nn.Module,
        refiner: ModelMixin | None = None,
        sharpener: ModelMixin | None = None,
        score_model: ModelMixin | None = None,
        analyser: ModelMixin | None = None,
        reference_rms: float | None = TaskSettings.reference_rms,
        clip_mixture: bool = TaskSettings.clip_mixture,
        separation_steps: int = TaskSettings.separation_steps,
        separation_guidance: float = TaskSettings.separation_guidance,
        generation_steps: int = TaskSettings.generation_steps,
        eta: float = TaskSettings.eta,
        timestep_shift: float = TaskSettings.timestep_shift,
        noise_offset: float = TaskSettings.noise_offset,
        arrangement_guidance: float = TaskSettings.arrangement_guidance,
        bar_timestep: int | None = TaskSettings.bar_timestep,
        generation_bar_gain: float = TaskSettings.generation_bar_gain,
        arrangement_bar_gain: float = TaskSettings.arrangement_bar_gain,
        beat_share: float = TaskSettings.beat_share,
        phrase_share: float = TaskSettings.phrase_share,
        sample_posterior: bool = TaskSettings.sample_posterior,
    ) -> None:
        super().__init__()
        self.register_modules(
            log_mel=log_mel,
            vae=vae,
            denoiser=denoiser,
            scheduler=scheduler,
            vocoder=vocoder,
            refiner=refiner,
            sharpener=sharpener,
            score_model=score_model,
            analyser=analyser,
        )
        self.register_to_config(
            reference_rms=reference_rms,
            clip_mixture=clip_mixture,
            separation_steps=separation_steps,
            separation_guidance=separation_guidance,
            generation_steps=generation_steps,
            eta=eta,
            timestep_shift=timestep_shift,
            noise_offset=noise_offset,
            arrangement_guidance=arrangement_guidance,
            bar_timestep=bar_timestep,
            generation_bar_gain=generation_bar_gain,
            arrangement_bar_gain=arrangement_bar_gain,
            beat_share=beat_share,
            phrase_share=phrase_share,
            sample_posterior=sample_posterior,
        )
        self.check_components()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None = None, **options: Any
    ) -> StemweavePipeline:
        """Load a model folder or a hub id; without a name, the bundled model.

        Raises:
            InputError: if the folder is not a model or one of its configuration keys is unknown.
        """
        source = pretrained_model_name_or_path or BUNDLED_MODEL
        own = set(inspect.signature(cls.__init__).parameters) - {"self"}
        of_hub = {name: options[name] for name in ("token", "cache_dir") if name in options}
        check_model(source, own, **of_hub)
        try:
            pipe = cast(StemweavePipeline, super().from_pretrained(str(source), **options))
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise loading_failed(source, error) from error
        if not {"dtype", "torch_dtype"} & options.keys():
            pipe.vocoder.float()  # transformers' would keep the precision of its file
        return pipe


def load_pipeline(model: str | None = None, device: str = "cpu") -> StemweavePipeline:
    """The model in a folder or on the hub (None: the bundled one), on ``device``, without bars.

    Raises:
        InputError: if there is no such model or the device cannot be used here.
    """
    logging.disable_progress_bar()
    chosen = checked_device(device)
    return cast(StemweavePipeline, StemweavePipeline.from_pretrained(model).to(chosen))
