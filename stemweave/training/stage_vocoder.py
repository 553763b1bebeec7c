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
from stemweave.models.vocoder import hop_length_of, matched, rate_of, resampled, white_noise
from stemweave.training.examples import Example, beside_the_truth, example_crops
from stemweave.training.losses import (
    magnitudes_distance,
    multi_resolution_stft_distance,
    stft_magnitudes,
)
from stemweave.training.networks import make_vocoder
from stemweave.training.settings import RunSettings

IN_BAND_N_FFTS = (64, 256, 1024, 2048)
HIGH_BAND_N_FFTS = (128, 512, 2048)
"""Of the loss; the shortest windows resolve attacks."""


class VocoderStage:
    """Multi-resolution STFT distance plus log-mel L1.

    With ``energy_weight``, two outputs of other noise are to be as far from each other as from the
    truth: noise stays noise, where the distance alone makes it a mean.

    With an autoencoder, half of the batch is conditioned on mels that went through it, so that the
    vocoder learns to sharpen what the model really produces.
    """

    def __init__(
        self, settings: RunSettings, train: Songs, validation: Songs, vae: Any = None
    ) -> None:
        self.settings = settings.vocoder
        self.run = settings
        self.train, self.validation = train, validation
        self.mix_settings = MixSettings(**settings.mixing.model_dump())
        self.log_mel = LogMel(**settings.log_mel.model_dump())
        self.vae = vae.eval().requires_grad_(False) if vae is not None else None
        self.network: Any = make_vocoder(settings)
        self.sample_rate = rate_of(self.network.config)
        self.band_share = self.log_mel.config.sample_rate / self.sample_rate

    def waveforms(
        self,
        songs: Songs,
        num_crops: int,
        settings: MixSettings,
        rng: np.random.Generator,
        num_frames: int,
    ) -> tuple[Tensor, Tensor]:
        """Stems and mixtures of random crops (N, T) at the vocoder's rate, and which stem each is.

        Audible ones, if any; N is at most ``num_crops`` · (S + 1).
        """
        num_samples = num_frames * hop_length_of(self.network.config)
        drawn_from = (songs, self.run.stems, num_crops, num_samples, self.sample_rate)
        stems = draw_crops(*drawn_from, settings, rng).waveforms
        waveforms = torch.cat([stems, stems.sum(dim=1, keepdim=True)], dim=1).flatten(0, 1)
        classes = torch.arange(len(self.run.stems) + 1).repeat(num_crops)
        audible = waveforms.square().mean(dim=-1) > 1e-8
        return (waveforms[audible], classes[audible]) if audible.any() else (waveforms, classes)

    def in_band(self, waveforms: Tensor) -> Tensor:
        """Waveforms (N, T) at the log-mel's rate."""
        frames = waveforms.shape[-1] // hop_length_of(self.network.config)
        return resampled(waveforms, frames * self.log_mel.config.hop_length)

    def synthesise(
        self, network: Any, log_mel: Tensor, classes: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Waveforms (N, T) of log-mels, as they are after ``matched``."""
        config = self.network.config
        if hasattr(config, "num_stems"):
            noise = white_noise(config, len(log_mel), log_mel.shape[1], generator)
            waveforms = network(log_mel, classes, noise)
        else:
            waveforms = network(log_mel)
        return matched(waveforms, log_mel, self.log_mel, self.settings.matching_iterations)

    def magnitudes(self, waveforms: Tensor, in_band: Tensor) -> list[list[Tensor]]:
        """Of waveforms, which ``in_band`` are at the log-mel's rate: in its band, and above it."""
        found = [stft_magnitudes(in_band, IN_BAND_N_FFTS)]
        if self.settings.high_band_weight:
            found.append(stft_magnitudes(waveforms, HIGH_BAND_N_FFTS, self.band_share))
        return found

    def distance(
        self, ours: list[list[Tensor]], theirs: list[list[Tensor]], level: list[list[Tensor]]
    ) -> Tensor:
        """Of ``magnitudes``."""
        weights = (self.settings.spectral_weight, self.settings.high_band_weight)
        bands = zip(weights, ours, theirs, level, strict=False)  # the high band may be absent
        return torch.stack([weight * magnitudes_distance(*band) for weight, *band in bands]).sum()

    def loss(
        self, network: Any, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        settings = self.settings
        device = self._move_to_device_of(network)
        songs = songs_at_step(self.train, step)
        waveforms, classes = self.waveforms(
            songs, settings.batch_size, self.mix_settings, rng, settings.crop_frames
        )
        waveforms, classes = waveforms.to(device), classes.to(device)
        at_model_rate = self.in_band(waveforms)
        log_mel = self.log_mel(at_model_rate)
        condition = log_mel
        if self.vae is not None:
            half = torch.randperm(len(log_mel), generator=generator)[: len(log_mel) // 2]
            with torch.no_grad():
                latents = self.vae.encode(log_mel[half, None]).latent_dist.mean
                condition = log_mel.index_copy(0, half, self.vae.decode(latents).sample[:, 0])
        outputs = [
            self.synthesise(network, condition, classes, generator)
            for _ in range(2 if settings.energy_weight else 1)
        ]
        in_band = [self.in_band(output) for output in outputs]
        true = self.magnitudes(waveforms, at_model_rate)
        made = [self.magnitudes(*pair) for pair in zip(outputs, in_band, strict=True)]
        distances = [self.distance(one, true, true) for one in made]
        mels = [(self.log_mel(one) - log_mel).abs().mean() for one in in_band]
        distance, mel = torch.stack(distances).mean(), torch.stack(mels).mean()
        loss = distance + settings.mel_weight * mel
        figures = {"distance": distance.item(), "mel": mel.item()}
        if settings.energy_weight:
            apart = self.distance(made[0], made[1], true)
            loss = loss - settings.energy_weight / 2 * apart
            figures["apart"] = apart.item()
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
        waveforms, classes = self.waveforms(self.validation, 16, PLAIN, rng, 128)
        waveforms = waveforms.to(device)
        at_model_rate = self.in_band(waveforms)
        log_mel = self.log_mel(at_model_rate)
        estimate = self.synthesise(network, log_mel, classes.to(device), None)
        in_band = self.in_band(estimate)
        figures = {
            "val_spectral": multi_resolution_stft_distance(in_band, at_model_rate),
            "val_mel": (self.log_mel(in_band) - log_mel).abs().mean(),
        }
        if self.settings.high_band_weight:
            ours, theirs = (
                stft_magnitudes(one, HIGH_BAND_N_FFTS, self.band_share)
                for one in (estimate, waveforms)
            )
            figures["val_high_band"] = magnitudes_distance(ours, theirs)
        return {name: figure.item() for name, figure in figures.items()}

    def examples(self, network: Any) -> dict[str, Example]:
        """Copy synthesis of mixtures: from their true log-mels."""
        device = self._move_to_device_of(network)
        crops = example_crops(self.run, self.validation, self.log_mel, self.settings.examples)
        mixtures = crops.waveforms.sum(dim=1).to(device)
        log_mel = self.log_mel(mixtures)
        classes = torch.full((len(log_mel),), len(self.run.stems), device=device)
        copies = self.in_band(self.synthesise(network, log_mel, classes, None))
        return beside_the_truth("copy", (mixtures, log_mel), (copies, self.log_mel(copies)))

    def export(self, network: Any, folder: Path) -> None:
        network.save_pretrained(folder)
