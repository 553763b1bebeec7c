"""How a model's parts fit together: the grid that they share, and whether they share one."""

from __future__ import annotations

from typing import Any

import torch

from stemweave.audio.vocoder import hop_length_of
from stemweave.files import InputError
from stemweave.models.vae import strides_of


class LatentGrid:
    """Stems, rates and the latent grid that follow from a pipeline's parts."""

    log_mel: Any
    vae: Any
    denoiser: Any
    vocoder: Any
    refiner: Any
    sharpener: Any

    @property
    def sample_rate(self) -> int:
        """Hz of generated audio."""
        return int(self.log_mel.config.sample_rate)

    @property
    def compute_device(self) -> torch.device:
        """Where the networks run, also if they wait on the CPU until they are needed (offload)."""
        hooked = getattr(self, "_execution_device", None)
        if hooked is not None:
            return torch.device(hooked)
        # with its own ``device`` diffusers imports a compiler
        return next(self.denoiser.parameters()).device

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
        return float(self.log_mel.segment_samples / self.sample_rate)

    @property
    def position_s(self) -> float:
        """Seconds of one latent position."""
        return self.position_samples / self.sample_rate

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
    def position_samples(self) -> int:
        """Samples at ``sample_rate`` per latent position."""
        return self.time_stride * int(self.log_mel.config.hop_length)

    @property
    def latent_bands(self) -> int:
        """W of the latents."""
        return int(self.log_mel.config.num_mels) // self.mel_stride

    @property
    def window_positions(self) -> int:
        """H of one model window."""
        return int(self.log_mel.config.segment_frames) // self.time_stride

    def positions_for(self, num_samples: int) -> int:
        """H that covers ``num_samples``, a multiple of what the denoiser's levels need.

        At least a window for the paper's network, which was trained on whole ones alone.
        """
        config = self.denoiser.config
        widths = getattr(config, "block_channels", None) or config.channel_mult
        multiple = 2 ** (len(widths) - 1)
        positions = max(1, -(-num_samples // (self.position_samples * multiple))) * multiple
        return positions if config.known_stems else max(positions, self.window_positions)

    def check_components(self) -> None:
        """Raise ``InputError`` that names every pair of parts that do not fit together."""
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
        hop_length = hop_length_of(self.vocoder)
        if hop_length != mel.hop_length:
            problems.append(f"the vocoder makes {hop_length} samples a frame, not {mel.hop_length}")
        if mel.segment_frames % self.time_stride or mel.num_mels % self.mel_stride:
            problems.append("the log-mel window does not divide into the VAE's patches")
        for part in filter(None, (self.refiner, self.sharpener)):
            problems += part.misfits(mel)
        bands = getattr(self.denoiser.config, "latent_bands", None)
        if bands is not None and bands != self.latent_bands:
            problems.append(f"the denoiser takes {bands} latent bands, not {self.latent_bands}")
        if problems:
            raise InputError("the model's parts do not fit together: " + "; ".join(problems))
