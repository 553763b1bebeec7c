"""Training of the autoencoder: log-mels of single stems and of mixtures, reconstructed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.data.mixing import PLAIN, MixSettings, draw_crops, mix_mels
from stemweave.data.tar_songs import Songs, songs_at_step
from stemweave.models.log_mel import LogMel
from stemweave.training.examples import Example, beside_the_truth, example_crops, synthesised
from stemweave.training.losses import multi_resolution_mel_distance
from stemweave.training.networks import autoencoder_in, make_autoencoder
from stemweave.training.settings import RunSettings


class VAEStage:
    """L1 + squared error of the log-mel, loud bins weighted up, plus KL divergence.

    Latents are drawn from the posterior. By settings, also the distance of the log-mels at several
    resolutions.
    """

    def __init__(self, settings: RunSettings, train: Songs, validation: Songs) -> None:
        self.settings = settings.vae
        self.run = settings
        self.mix_settings = MixSettings(**settings.mixing.model_dump())
        self.train, self.validation = train, validation
        self.log_mel = LogMel(**settings.log_mel.model_dump())
        self.network = make_autoencoder(settings)

    def mels(
        self, songs: Songs, num_crops: int, mixing: MixSettings, rng: np.random.Generator
    ) -> Tensor:
        """Log-mels (num_crops · (S + 1), 1, F, M) of all stems and the mixture of random crops."""
        config = self.log_mel.config
        num_samples = self.settings.crop_frames * config.hop_length
        drawn_from = (songs, self.run.stems, num_crops, num_samples, config.sample_rate)
        crops = draw_crops(*drawn_from, mixing, rng)
        stems, mixture = mix_mels(self.log_mel, crops.waveforms, mixing, rng)
        return torch.cat([stems, mixture[:, None]], dim=1).flatten(0, 1)[:, None]

    def loss(
        self, network: Any, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        settings = self.settings
        songs = songs_at_step(self.train, step)
        log_mel = self.mels(songs, settings.batch_size, self.mix_settings, rng)
        log_mel = log_mel.to(next(network.parameters()).device)
        reconstruction, posterior = network(log_mel, generator)
        error = reconstruction - log_mel
        weight = loudness_weight(log_mel)
        absolute = (error.abs() * weight).mean()
        squared = (error.square() * weight).mean()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        loss = (
            settings.l1_weight * absolute
            + settings.mse_weight * squared
            + settings.kl_weight * divergence
        )
        figures = {"l1": absolute.item(), "mse": squared.item(), "kl": divergence.item()}
        if settings.spectral_weight > 0:
            spectral = multi_resolution_mel_distance(reconstruction, log_mel)
            loss = loss + settings.spectral_weight * spectral
            figures["spectral"] = spectral.item()
        return loss, figures

    def validate(self, network: Any) -> dict[str, float]:
        rng = np.random.default_rng(1)
        log_mel = self.mels(self.validation, 8, PLAIN, rng)
        log_mel = log_mel.to(next(network.parameters()).device)
        autoencoder = autoencoder_in(network)
        latents = autoencoder.encode(log_mel).latent_dist.mean
        error = autoencoder.decode(latents).sample - log_mel
        loud = log_mel > log_mel.amax(dim=(-1, -2), keepdim=True) - 5
        return {
            "val_mse": error.square().mean().item(),
            "val_l1": error.abs().mean().item(),
            "val_loud_l1": error.abs()[loud].mean().item(),
            "latent_std": latents.std().item(),
            "latent_mean": latents.mean().item(),
        }

    def examples(self, network: Any) -> dict[str, Example]:
        """Mixtures before and after the round trip, made audible without a trained vocoder."""
        crops = example_crops(self.run, self.validation, self.log_mel, self.settings.examples)
        autoencoder, device = autoencoder_in(network), next(network.parameters()).device
        mixtures = crops.waveforms.sum(dim=1)
        log_mel = self.log_mel(mixtures)
        latents = autoencoder.encode(log_mel[:, None].to(device)).latent_dist.mean
        decoded = autoencoder.decode(latents).sample[:, 0].float().cpu()
        made = (synthesised(self.log_mel, decoded), decoded)
        return beside_the_truth("round_trip", (mixtures, log_mel), made)

    def export(self, network: Any, folder: Path) -> None:
        """Save with the scaling factor that gives the latents unit standard deviation."""
        settings = self.settings
        rng = np.random.default_rng(2)
        log_mel = self.mels(self.train, settings.scale_crops, self.mix_settings, rng)
        of_stems = settings.scale_of == "stem_samples"
        if of_stems:
            log_mel = log_mel.unflatten(0, (settings.scale_crops, -1))[:, :-1].flatten(0, 1)
        autoencoder = autoencoder_in(network)
        posterior = autoencoder.encode(log_mel.to(next(network.parameters()).device)).latent_dist
        generator = torch.Generator().manual_seed(self.run.seed)
        latents = posterior.sample(generator) if of_stems else posterior.mean
        autoencoder.register_to_config(scaling_factor=1.0 / latents.std().item())
        autoencoder.save_pretrained(folder)


def loudness_weight(log_mel: Tensor) -> Tensor:
    """Weight of each bin (same shape): 1 for bins within 40 dB of the loudest, 0.3 for silence."""
    peak = log_mel.amax(dim=(-1, -2), keepdim=True)
    return 0.3 + 0.7 * torch.sigmoid(log_mel - peak + 4.6)
