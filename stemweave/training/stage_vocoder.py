"""Training of the vocoder: waveforms of stems and mixtures from their log-mels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.audio.log_mel import LogMel
from stemweave.audio.vocoder import SpectralVocoder
from stemweave.data.mixing import PLAIN, MixSettings, draw_crops
from stemweave.data.tar_songs import Songs, songs_at_step
from stemweave.models.vae import PatchVAE
from stemweave.training.losses import multi_resolution_stft_distance
from stemweave.training.settings import RunSettings


class VocoderStage:
    """Multi-resolution STFT distance plus log-mel L1.

    With an autoencoder, half of the batch is conditioned on mels that went through it, so that the
    vocoder learns to sharpen what the model really produces.
    """

    def __init__(
        self,
        settings: RunSettings,
        train: Songs,
        validation: Songs,
        vae: PatchVAE | None = None,
    ) -> None:
        self.settings = settings.vocoder
        self.run = settings
        self.train, self.validation = train, validation
        self.mix_settings = MixSettings(**settings.mixing.model_dump())
        self.log_mel = LogMel(**settings.log_mel.model_dump())
        self.vae = vae.eval().requires_grad_(False) if vae is not None else None
        self.network = SpectralVocoder(**self.settings.model)

    def waveforms(
        self,
        songs: Songs,
        num_crops: int,
        settings: MixSettings,
        rng: np.random.Generator,
        num_frames: int,
    ) -> Tensor:
        """Stems and mixtures of random crops (num_crops · (S + 1), T), audible ones only."""
        config = self.log_mel.config
        crops = draw_crops(
            songs,
            self.run.stems,
            num_crops,
            num_frames * config.hop_length,
            config.sample_rate,
            settings,
            rng,
        )
        stems = crops.waveforms
        waveforms = torch.cat([stems, stems.sum(dim=1, keepdim=True)], dim=1).flatten(0, 1)
        audible = waveforms.square().mean(dim=-1) > 1e-8
        return waveforms[audible]

    def loss(
        self, network: Any, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        settings = self.settings
        songs = songs_at_step(self.train, step)
        waveforms = self.waveforms(
            songs, settings.batch_size, self.mix_settings, rng, settings.crop_frames
        )
        log_mel = self.log_mel(waveforms)
        condition = log_mel
        if self.vae is not None:
            half = len(log_mel) // 2
            with torch.no_grad():
                latents = self.vae.encode(log_mel[:half, None]).latent_dist.mean
                decoded = self.vae.decode(latents).sample[:, 0]
            condition = torch.cat([decoded, log_mel[half:]])
        estimate = network(condition)
        spectral = multi_resolution_stft_distance(estimate, waveforms)
        mel = (self.log_mel(estimate) - log_mel).abs().mean()
        loss = spectral + settings.mel_weight * mel
        return loss, {"spectral": spectral.item(), "mel": mel.item()}

    def validate(self, network: Any) -> dict[str, float]:
        rng = np.random.default_rng(1)
        waveforms = self.waveforms(self.validation, 16, PLAIN, rng, 128)
        log_mel = self.log_mel(waveforms)
        estimate = network(log_mel)
        return {
            "val_spectral": multi_resolution_stft_distance(estimate, waveforms).item(),
            "val_mel": (self.log_mel(estimate) - log_mel).abs().mean().item(),
        }

    def export(self, network: Any, folder: Path) -> None:
        network.save_pretrained(folder)
