"""How a model's parts fit together: the grid that they share, and whether they share one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from stemweave.audio.vocoder import hop_length_of
from stemweave.errors import InputError
from stemweave.models.provenance import misfits, trained
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import MaskSharpener
from stemweave.models.vae import strides_of


class LatentGrid:
    """Stems, rates and the latent grid that follow from a pipeline's parts."""

    log_mel: Any
    vae: Any
    denoiser: Any
    vocoder: Any
    refiner: Any
    sharpener: Any
    score_model: Any
    analyser: Any
    source: str | Path | None = None
    """Folder or hub id that ``loading.load_model`` read it from."""

    def config_of(self, part: str) -> Any:
        """The settings of a part, which need not be in memory for that; None without the part."""
        network = getattr(self, part)
        return None if network is None else network.config

    def fetch(self, parts: Iterable[str]) -> None:
        """Have ``parts`` in memory; raises ``InputError`` for one that cannot be loaded."""
        for part in parts:
            getattr(self, part)

    def alter(self, part: str, change: Callable[[Any], object]) -> None:
        """Apply ``change`` to a part, if the model has it."""
        network = getattr(self, part)
        if network is not None:
            change(network)

    @property
    def has_mask_network(self) -> bool:
        """Whether it separates by masks that need no diffusion."""
        return self.config_of("refiner") is not None

    @property
    def takes_sheets(self) -> bool:
        """Whether the denoiser understands sheets and scores."""
        return self.config_of("denoiser").get("vocabulary") is not None

    @property
    def writes_scores(self) -> bool:
        """Whether it writes the notes of what it plays."""
        return self.takes_sheets and self.config_of("score_model") is not None

    @property
    def analyses(self) -> bool:
        """Whether it finds beats and harmony of recordings."""
        return self.config_of("analyser") is not None

    @property
    def styles(self) -> tuple[str, ...]:
        """Styles that its sheets may have; none of a model that understands no sheets."""
        return tuple(self.config_of("denoiser").vocabulary["styles"]) if self.takes_sheets else ()

    @property
    def sample_rate(self) -> int:
        """Hz of generated audio."""
        return int(self.config_of("log_mel").sample_rate)

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
        return tuple(self.config_of("denoiser").stems)

    @property
    def channels(self) -> int:
        """1, or 2 if the denoiser's latents hold left and right."""
        autoencoder = self.config_of("vae")
        return int(self.config_of("denoiser").latent_channels // autoencoder.latent_channels)

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
        return strides_of(self.config_of("vae"))

    @property
    def position_samples(self) -> int:
        """Samples at ``sample_rate`` per latent position."""
        return self.time_stride * int(self.config_of("log_mel").hop_length)

    @property
    def latent_bands(self) -> int:
        """W of the latents."""
        return int(self.config_of("log_mel").num_mels) // self.mel_stride

    @property
    def window_positions(self) -> int:
        """H of one model window."""
        return int(self.config_of("log_mel").segment_frames) // self.time_stride

    @property
    def takes_whole_windows(self) -> bool:
        """Whether the denoiser was trained on whole windows alone, as the paper's network."""
        return not self.config_of("denoiser").known_stems

    def positions_for(self, num_samples: int) -> int:
        """H that covers ``num_samples``, a multiple of what the denoiser's levels need.

        At least a window if it ``takes_whole_windows``.
        """
        config = self.config_of("denoiser")
        widths = getattr(config, "block_channels", None) or config.channel_mult
        multiple = 2 ** (len(widths) - 1)
        positions = max(1, -(-num_samples // (self.position_samples * multiple))) * multiple
        return max(positions, self.window_positions) if self.takes_whole_windows else positions

    def check_components(self) -> None:
        """Raise ``InputError`` that names every pair of parts that do not fit together."""
        mel, autoencoder = self.config_of("log_mel"), self.config_of("vae")
        denoiser, vocoder = self.config_of("denoiser"), self.config_of("vocoder")
        channels = denoiser.latent_channels
        vocoder_bands = getattr(vocoder, "num_mels", None) or vocoder.model_in_dim
        problems = []
        if channels not in (autoencoder.latent_channels, 2 * autoencoder.latent_channels):
            problems.append(
                f"the VAE has {autoencoder.latent_channels} latent channels, the denoiser "
                f"{channels} (equal for mono, twice as many for stereo)"
            )
        if vocoder_bands != mel.num_mels:
            problems.append(f"the vocoder takes {vocoder_bands} mel bands, not {mel.num_mels}")
        vocoder_rate = getattr(vocoder, "sample_rate", None) or vocoder.sampling_rate
        if vocoder_rate != mel.sample_rate:
            problems.append(f"the vocoder makes {vocoder_rate} Hz, not {mel.sample_rate} Hz")
        hop_length = hop_length_of(vocoder)
        if hop_length != mel.hop_length:
            problems.append(f"the vocoder makes {hop_length} samples a frame, not {mel.hop_length}")
        if mel.segment_frames % self.time_stride or mel.num_mels % self.mel_stride:
            problems.append("the log-mel window does not divide into the VAE's patches")
        for kind, part in ((MaskRefiner, "refiner"), (MaskSharpener, "sharpener")):
            if self.config_of(part) is not None:
                problems += kind.misfits(self.config_of(part), mel)
        bands = getattr(denoiser, "latent_bands", None)
        if bands is not None and bands != self.latent_bands:
            problems.append(f"the denoiser takes {bands} latent bands, not {self.latent_bands}")
        own_autoencoder = trained(autoencoder).get("weights")
        for part in ("vae", "denoiser", "vocoder", "refiner", "sharpener"):
            problems += misfits(
                part,
                trained(self.config_of(part)),
                stems=self.stems,
                log_mel=mel,
                autoencoder=own_autoencoder if part == "denoiser" else None,
            )
        if problems:
            raise InputError("the model's parts do not fit together: " + "; ".join(problems))
