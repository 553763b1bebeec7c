"""``StemweavePipeline``: a saved model and everything that users do with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.utils import logging
from torch import Tensor

from stemweave.audio.log_mel import LogMel
from stemweave.audio.waveforms import check_waveform
from stemweave.diffusion.sampler import Progress
from stemweave.files import InputError
from stemweave.model_folder import BUNDLED_MODEL, check_model
from stemweave.models.vae import strides_of
from stemweave.tasks import arrange, generate, separate

Method = Literal["mask", "vocoder"]


class StemweavePipeline(DiffusionPipeline):
    """Separates, generates and arranges with one model.

    Args:
        log_mel: front end; defines sample rate, hop, bands and the length of a window.
        vae: autoencoder of log-mels (``PatchVAE`` or diffusers' ``AutoencoderKL``).
        denoiser: ``CompactUNet`` or ``UNet3D``; defines the stems and their order.
        scheduler: diffusers scheduler with the denoiser's prediction type.
        vocoder: log-mel → waveform (``SpectralVocoder`` or transformers' ``SpeechT5HifiGan``).
        refiner: ``MaskRefiner`` that improves the masks of ``separate``; None (the paper) takes the
            masks of the estimated spectra as they are.
        reference_rms: RMS of mixtures in training; inputs are brought to it and outputs back.
            None leaves levels as they are (the paper).
        separation_steps, separation_guidance: defaults of ``separate``.
        generation_steps: default of ``generate`` and ``arrange``.
        eta: DDIM's share of fresh noise.
        sample_posterior: draw latents from the autoencoder's posterior instead of its mean (the
            paper draws, also for the mixture).

    Raises:
        InputError: if the components do not fit together.
    """

    _optional_components: ClassVar[list[str]] = ["refiner"]

    def __init__(
        self,
        log_mel: LogMel,
        vae: ModelMixin,
        denoiser: ModelMixin,
        scheduler: SchedulerMixin,
        vocoder: torch.nn.Module,
        refiner: ModelMixin | None = None,
        reference_rms: float | None = None,
        separation_steps: int = 1,
        separation_guidance: float = 1.0,
        generation_steps: int = 50,
        eta: float = 0.0,
        sample_posterior: bool = False,
    ) -> None:
        super().__init__()
        self.register_modules(
            log_mel=log_mel,
            vae=vae,
            denoiser=denoiser,
            scheduler=scheduler,
            vocoder=vocoder,
            refiner=refiner,
        )
        self.register_to_config(
            reference_rms=reference_rms,
            separation_steps=separation_steps,
            separation_guidance=separation_guidance,
            generation_steps=generation_steps,
            eta=eta,
            sample_posterior=sample_posterior,
        )
        self._check_components()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None = None, **options: Any
    ) -> StemweavePipeline:
        """Load a model folder or a hub id; without a name, the bundled model.

        Raises:
            InputError: if the folder is not a model or one of its configuration keys is unknown.
        """
        source = pretrained_model_name_or_path or BUNDLED_MODEL
        check_model(source, set(inspect.signature(cls.__init__).parameters) - {"self"})
        try:
            return cast(StemweavePipeline, super().from_pretrained(str(source), **options))
        except OSError as error:
            raise InputError(f"cannot load the model {source}: {error}") from error

    def _check_components(self) -> None:
        mel = self.log_mel.config
        channels = self.denoiser.config.latent_channels
        vocoder = self.vocoder.config
        vocoder_bands = getattr(vocoder, "num_mels", None) or vocoder.model_in_dim
        problems = []
        if channels not in (self.vae.config.latent_channels, 2 * self.vae.config.latent_channels):
            problems.append(
                f"the VAE has {self.vae.config.latent_channels} latent channels, the denoiser "
                f"{channels} (equal for mono, twice as many for stereo)"
            )
        if vocoder_bands != mel.num_mels:
            problems.append(f"the vocoder takes {vocoder_bands} mel bands, not {mel.num_mels}")
        vocoder_rate = getattr(vocoder, "sample_rate", None) or vocoder.sampling_rate
        if vocoder_rate != mel.sample_rate:
            problems.append(f"the vocoder makes {vocoder_rate} Hz, not {mel.sample_rate} Hz")
        if self._vocoder_hop() != mel.hop_length:
            problems.append(
                f"the vocoder makes {self._vocoder_hop()} samples a frame, not {mel.hop_length}"
            )
        if mel.segment_frames % self.time_stride or mel.num_mels % self.mel_stride:
            problems.append("the log-mel window does not divide into the VAE's patches")
        if self.refiner is not None and self.refiner.config.num_mels != mel.num_mels:
            problems.append(
                f"the refiner takes {self.refiner.config.num_mels} mel bands, not {mel.num_mels}"
            )
        bands = getattr(self.denoiser.config, "latent_bands", None)
        if bands is not None and bands != self.latent_bands:
            problems.append(f"the denoiser takes {bands} latent bands, not {self.latent_bands}")
        if problems:
            raise InputError("the model's parts do not fit together: " + "; ".join(problems))

    def _vocoder_hop(self) -> int:
        config = self.vocoder.config
        if hasattr(config, "hop_length"):
            return int(config.hop_length)
        hop = 1
        for rate in config.upsample_rates:
            hop *= rate
        return hop

    @property
    def sample_rate(self) -> int:
        """Hz of generated audio."""
        return int(self.log_mel.config.sample_rate)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems in the model's order."""
        return tuple(self.denoiser.config.stems)

    @property
    def channels(self) -> int:
        """1, or 2 if the denoiser's latents hold left and right."""
        return int(self.denoiser.config.latent_channels // self.vae.config.latent_channels)

    @property
    def segment_s(self) -> float:
        """Seconds of one model window."""
        return self.log_mel.segment_samples / self.sample_rate

    @property
    def time_stride(self) -> int:
        """Mel frames per latent position."""
        return self._strides()[0]

    @property
    def mel_stride(self) -> int:
        """Mel bands per latent position."""
        return self._strides()[1]

    def _strides(self) -> tuple[int, int]:
        return strides_of(self.vae)

    @property
    def latent_bands(self) -> int:
        """W of the latents."""
        return int(self.log_mel.config.num_mels) // self.mel_stride

    @property
    def window_positions(self) -> int:
        """H of one model window."""
        return int(self.log_mel.config.segment_frames) // self.time_stride

    def positions_for(self, num_samples: int) -> int:
        """H that covers ``num_samples``, a multiple of what the denoiser's levels need."""
        config = self.denoiser.config
        widths = getattr(config, "block_channels", None) or config.channel_mult
        multiple = 2 ** (len(widths) - 1)
        position_samples = self.time_stride * self.log_mel.config.hop_length
        return max(1, -(-num_samples // (position_samples * multiple))) * multiple

    @torch.inference_mode()
    def separate(
        self,
        waveform: Tensor,
        sample_rate: int,
        *,
        stems: Sequence[str] | None = None,
        method: Method = "mask",
        guidance: float | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """Stems of ``waveform`` (channels, samples) or (samples,), each of the same shape.

        With ``method`` "mask" all stems add up to the waveform; with "vocoder" they are synthesised
        (the paper's way). Raises ``InputError`` for what cannot be separated.
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
        method: Method = "mask",
        guidance: float | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Iterator[dict[str, Tensor]]:
        """As ``separate`` for audio of any length: consecutive blocks of every stem.

        ``read(start, length)`` returns (channels, length) float32 samples of the mixture.
        """
        chosen = self._known_stems(stems or self.stems)
        if method not in ("mask", "vocoder"):
            raise InputError(f"method must be mask or vocoder, not {method}")
        blocks = separate.separate_blocks(
            self,
            read,
            num_samples,
            sample_rate,
            stems=chosen,
            method=method,
            guidance=self.config.separation_guidance if guidance is None else guidance,
            steps=steps or self.config.separation_steps,
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
        steps: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """A new piece: (1, samples) for every stem and ``mixture`` at ``sample_rate``."""
        if not seconds > 0:
            raise InputError(f"seconds must be positive, not {seconds}")
        return generate.generate(self, seconds, steps=steps, generator=generator, progress=progress)

    @torch.inference_mode()
    def arrange(
        self,
        given: Mapping[str, Tensor],
        sample_rate: int,
        *,
        add: Sequence[str] | None = None,
        steps: int | None = None,
        inpainting: Literal["known", "replace"] | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """The missing stems to the ``given`` ones, (channels, samples) each at ``sample_rate``.

        Returns the given stems unchanged, the added ones (all missing ones by default) and their
        sum as ``mixture``. ``inpainting`` "replace" is the paper's way, "known" the trained one.
        """
        self._known_stems(list(given))
        missing = [stem for stem in self.stems if stem not in given]
        if not given or not missing:
            raise InputError(
                f"give at least one and not all of the stems {', '.join(self.stems)} to arrange"
            )
        if len({waveform.shape for waveform in given.values()}) > 1:
            raise InputError("given stems must have equal channels and lengths")
        for stem, waveform in given.items():
            if waveform.ndim != 2:
                raise InputError(f"{stem} must be (channels, samples), not {tuple(waveform.shape)}")
            check_waveform(waveform, stem)
        added = self._known_stems(add or missing)
        if set(added) & set(given):
            raise InputError("a stem cannot be both given and added")
        return arrange.arrange(
            self,
            given,
            sample_rate,
            add=added,
            steps=steps,
            inpainting=inpainting,
            generator=generator,
            progress=progress,
        )

    def _known_stems(self, stems: Sequence[str]) -> list[str]:
        for stem in stems:
            if stem not in self.stems:
                raise InputError(f"no stem named {stem}: this model has {', '.join(self.stems)}")
        return list(stems)


def load_pipeline(model: str | None = None, device: str = "cpu") -> StemweavePipeline:
    """The model in a folder or on the hub (None: the bundled one), on ``device``, without bars.

    Raises:
        InputError: if there is no such model or the device cannot be used here.
    """
    logging.disable_progress_bar()
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {device} cannot be used here: {reason}") from error
    return cast(StemweavePipeline, StemweavePipeline.from_pretrained(model).to(chosen))
