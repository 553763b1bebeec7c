"""Training of the vocoder: waveforms of stems and mixtures from their log-mels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.data.mixing import PLAIN, MixSettings, draw_crops
from stemweave.data.tar_songs import Songs, songs_at_step
from stemweave.models.log_mel import LogMel
from stemweave.training.examples import Example, beside_the_truth, example_crops
from stemweave.training.losses import multi_resolution_stft_distance
from stemweave.training.networks import make_vocoder
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
        vae: Any = None,
    ) -> None:
        self.settings = settings.vocoder
        self.run = settings
        self.train, self.validation = train, validation
        self.mix_settings = MixSettings(**settings.mixing.model_dump())
        self.log_mel = LogMel(**settings.log_mel.model_dump())
        self.vae = vae.eval().requires_grad_(False) if vae is not None else None
        self.network = make_vocoder(settings)

    def waveforms(
        self,
        songs: Songs,
        num_crops: int,
        settings: MixSettings,
        rng: np.random.Generator,
        num_frames: int,
    ) -> Tensor:
        """Stems and mixtures of random crops (num_crops · (S + 1), T), audible ones if any."""
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
        return waveforms[audible] if audible.any() else waveforms

    def loss(
        self, network: Any, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        settings = self.settings
        device = self._move_to_device_of(network)
        songs = songs_at_step(self.train, step)
        waveforms = self.waveforms(
            songs, settings.batch_size, self.mix_settings, rng, settings.crop_frames
        ).to(device)
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
        loss = settings.spectral_weight * spectral + settings.mel_weight * mel
        figures = {"spectral": spectral.item(), "mel": mel.item()}
        return loss, figures

    def _move_to_device_of(self, network: Any) -> torch.device:
        """Front end and autoencoder follow the network, whose device is returned."""
        device: torch.device = next(network.parameters()).device
        self.log_mel.to(device)
        if self.vae is not None:
            self.vae.to(device)
        return device

    def validate(self, network: Any) -> dict[str, float]:
        device = self._move_to_device_of(network)
        rng = np.random.default_rng(1)
        waveforms = self.waveforms(self.validation, 16, PLAIN, rng, 128).to(device)
        log_mel = self.log_mel(waveforms)
        estimate = network(log_mel)
        return {
            "val_spectral": multi_resolution_stft_distance(estimate, waveforms).item(),
            "val_mel": (self.log_mel(estimate) - log_mel).abs().mean().item(),
        }

    def examples(self, network: Any) -> dict[str, Example]:
        """Copy synthesis of mixtures: from their true log-mels."""
        device = self._move_to_device_of(network)
        crops = example_crops(self.run, self.validation, self.log_mel, self.settings.examples)
        mixtures = crops.waveforms.sum(dim=1).to(device)
        log_mel = self.log_mel(mixtures)
        copies = network(log_mel)
        return beside_the_truth("copy", (mixtures, log_mel), (copies, self.log_mel(copies)))

    def export(self, network: Any, folder: Path) -> None:
        network.save_pretrained(folder)
