"""Training of the denoiser on cached latents: separation, generation, arrangement in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from stemweave.audio.log_mel import LogMel, mono_log_mel
from stemweave.data.latents import LatentBatch, LatentShards, PosteriorShards, encode_mels
from stemweave.data.mixing import MixSettings
from stemweave.data.shards import ShardPlan
from stemweave.data.tar_songs import Songs
from stemweave.diffusion import sampler
from stemweave.diffusion.guidance import guided
from stemweave.diffusion.objective import denoising_loss
from stemweave.diffusion.schedulers import shifted, with_sampler
from stemweave.training.crops import train_and_validation
from stemweave.training.examples import Example, example_crops, synthesised
from stemweave.training.lora import save_network
from stemweave.training.losses import mask_error_db
from stemweave.training.networks import make_denoiser
from stemweave.training.placement import to_channels_last
from stemweave.training.settings import DenoiserSettings, RunSettings

LOUDEST_OF = 128
"""Crops of training that what is drawn is held against (``max_log_mels``)."""


@dataclass
class Situation:
    """What one batch of samples is told, and how noisy it is.

    Attributes:
        timestep: (B, S) integers.
        has_mixture: (B,) bool.
        known: (B, S, H) bool.
    """

    timestep: Tensor
    has_mixture: Tensor
    known: Tensor

    def part(self, samples: slice) -> Situation:
        return Situation(self.timestep[samples], self.has_mixture[samples], self.known[samples])


def draw_situation(
    settings: DenoiserSettings,
    coherent: Tensor,
    num_stems: int,
    height: int,
    num_timesteps: int,
    rng: np.random.Generator,
) -> Situation:
    """Divide a batch among the tasks; incoherent samples (``coherent`` (B,)) only separate."""
    batch = len(coherent)
    timestep = _draw_timesteps(settings, (batch, 1), num_timesteps, rng).repeat(num_stems, axis=1)
    has_mixture = np.zeros(batch, dtype=bool)
    known = np.zeros((batch, num_stems, height), dtype=bool)
    for sample in range(batch):
        draw = rng.random()
        if draw < settings.separation_share or not coherent[sample]:
            has_mixture[sample] = True
            if rng.random() < settings.pure_noise_probability:
                timestep[sample] = num_timesteps - 1
        elif draw < settings.separation_share + settings.arrangement_share:
            has_mixture[sample] = rng.random() < settings.mixture_probability
            known[sample] = _draw_known(settings, num_stems, height, rng)
        if rng.random() < settings.own_timesteps_probability:
            timestep[sample] = _draw_timesteps(settings, num_stems, num_timesteps, rng)
    timestep[known.all(axis=2)] = 0  # a stem that is wholly given is clean
    return Situation(
        torch.from_numpy(timestep), torch.from_numpy(has_mixture), torch.from_numpy(known)
    )


def _draw_timesteps(
    settings: DenoiserSettings,
    shape: int | tuple[int, ...],
    num_timesteps: int,
    rng: np.random.Generator,
) -> np.ndarray:
    uniform = rng.integers(0, num_timesteps, shape)
    return shifted(uniform, num_timesteps, settings.timestep_shift)


def _draw_known(
    settings: DenoiserSettings, num_stems: int, height: int, rng: np.random.Generator
) -> np.ndarray:
    """Given positions (S, H): some stems for all time, or a time range of some or all stems."""
    known = np.zeros((num_stems, height), dtype=bool)
    if rng.random() >= settings.time_range_probability:
        num_known = rng.integers(1, num_stems)
        known[rng.permutation(num_stems)[:num_known]] = True
        return known
    start, stop = sorted(rng.integers(0, height + 1, 2))
    if rng.random() < 0.5:  # the beginning is known: continue it
        start = 0
    known[:, start:stop] = True
    if rng.random() < 0.5:  # everything is known but a region of some stems
        renewed = rng.permutation(num_stems)[: rng.integers(1, num_stems)]
        untouched = np.setdiff1d(np.arange(num_stems), renewed)
        known[untouched] = True
    return known


class DenoiserStage:
    """The diffusion model's training on latents from ``LatentShards`` or ``PosteriorShards``.

    ``vocoder`` makes the logged examples audible; without one they go through Griffin and Lim's
    iteration.
    """

    def __init__(
        self,
        settings: RunSettings,
        train: Songs,
        validation: Songs,
        vae: Any,
        vocoder: Any = None,
    ) -> None:
        self.settings = settings.denoiser
        self.run = settings
        self.validation, self.vocoder = validation, vocoder
        to_channels_last(vae.eval().requires_grad_(False))
        log_mel = LogMel(**settings.log_mel.model_dump())
        self.vae, self.log_mel = vae, log_mel
        self.band_width = 1 / log_mel.mel_basis.amax(dim=0)
        self.scheduler = DDIMScheduler(**self.settings.scheduler)
        self.network = make_denoiser(settings, vae)

        def shards(songs: Songs, mixing: MixSettings, plan: ShardPlan, seed: int) -> LatentShards:
            kind = LatentShards if settings.denoiser.latents == "mean" else PosteriorShards
            return kind(
                settings.cache,
                songs,
                log_mel,
                settings.stems,
                mixing,
                plan,
                vae=vae,
                seed=seed,
                channels=settings.channels,
                bfloat16=self._bfloat16,
            )

        self.shards, self.validation_shards = train_and_validation(
            shards, settings, self.settings, train, validation
        )

    def loss(
        self, network: nn.Module, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        device = self._move_to_device_of(network)
        batch = self.shards.latents(step, self.settings.batch_size, rng).to(device)
        situation = draw_situation(
            self.settings,
            batch.coherent,
            len(self.run.stems),
            batch.stems.shape[-2],
            self.scheduler.config.num_train_timesteps,
            rng,
        )
        noise = sampler.draw_noise(
            batch.stems.shape, self.settings.noise_offset, situation.known, generator
        )
        losses, clean = self._losses(network, batch, situation, noise)
        separating = situation.has_mixture & ~situation.known.flatten(1).any(1)
        figures = {}
        loss = losses.mean()
        last = self.scheduler.config.num_train_timesteps - 1
        masked = torch.nonzero(separating & (situation.timestep == last).all(1)).flatten()
        if self.settings.mask_weight > 0 and len(masked):
            positions = min(self.settings.mask_positions, clean.shape[-2])
            start = int(rng.integers(clean.shape[-2] - positions + 1))
            place = slice(start, start + positions)  # decoding is dear: a part will do
            picked = masked[: self.settings.mask_samples]
            error_db = self._mask_error_db(clean, batch, picked, place)
            loss = loss + self.settings.mask_weight * error_db
            figures["mask_db"] = error_db.item()
        if separating.any():
            figures["separation"] = losses[separating].mean().item()
        if not separating.all():
            figures["other"] = losses[~separating].mean().item()
        return loss, figures

    def _mask_error_db(
        self, clean: Tensor, batch: LatentBatch, picked: Tensor, place: slice
    ) -> Tensor:
        """Mean ``losses.mask_error_db`` of the ``picked`` samples between ``place``'s positions.

        Spectra are decoded from the estimated and from the true latents.
        """
        num_stems = clean.shape[1]
        clean, true, mixture = (
            latents[picked][..., place, :] for latents in (clean, batch.stems, batch.mixture)
        )
        with torch.no_grad():
            reference = self._decode(torch.cat([true, mixture[:, None]], dim=1).flatten(0, 1))
            reference = reference.unflatten(0, (-1, num_stems + 1))
        estimate = self._decode(clean.flatten(0, 1)).unflatten(0, (-1, num_stems))
        return mask_error_db(estimate, reference[:, :-1], reference[:, -1], self.band_width).mean()

    def _decode(self, latents: Tensor) -> Tensor:
        """Log-mels (N, F, M) of scaled latents (N, C, H, W), mono ones in stereo."""
        channels = latents.unflatten(1, (self.run.channels, -1)).flatten(0, 1)
        mel = self.vae.decode(channels / self.vae.config.scaling_factor).sample[:, 0].float()
        return mono_log_mel(mel.unflatten(0, (-1, self.run.channels)), dim=1)

    def _move_to_device_of(self, network: nn.Module) -> torch.device:
        """The autoencoder follows the network, whose device is returned."""
        device = next(network.parameters()).device
        self.vae.to(device)
        self.band_width = self.band_width.to(device)
        return device

    def _losses(
        self,
        network: nn.Module,
        batch: LatentBatch,
        situation: Situation,
        noise: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Loss (B,) of each sample and the estimated clean latents."""
        device = next(network.parameters()).device
        mixture = batch.mixture * situation.has_mixture[:, None, None, None].to(device)
        return denoising_loss(
            network,
            self.scheduler,
            batch.stems,
            noise.to(device),
            situation.timestep.to(device),
            mixture,
            situation.known.to(device) if situation.known.any() else None,
            self.settings.min_snr_gamma,
        )

    def validate(self, network: Any) -> dict[str, float]:
        """Losses on unseen songs: of separation in one step, of generation at spread timesteps.

        An epsilon model's separation is measured at spread timesteps, too: from pure noise it says
        nothing.
        """
        figures = {}
        rng = np.random.default_rng(1)
        device = self._move_to_device_of(network)
        batch = self.validation_shards.latents(0, self.settings.validation_samples, rng).to(device)
        num_timesteps = self.scheduler.config.num_train_timesteps
        count, num_stems, _, height, _ = batch.stems.shape
        spread = torch.linspace(0, num_timesteps - 1, count).long()[:, None].repeat(1, num_stems)
        nothing_known = torch.zeros(count, num_stems, height, dtype=torch.bool)
        one_step = self.scheduler.config.prediction_type == "v_prediction"
        last = torch.full_like(spread, num_timesteps - 1)
        for name, timestep, has_mixture in (
            ("val_separation", last if one_step else spread, True),
            ("val_generation", spread, False),
        ):
            situation = Situation(timestep, torch.full((count,), has_mixture), nothing_known)
            noise = torch.randn(batch.stems.shape, generator=torch.Generator().manual_seed(0))
            losses, errors_db = [], []
            for start in range(0, count, self.settings.batch_size):
                part = slice(start, start + self.settings.batch_size)
                some = batch.part(part)
                with torch.autocast(device.type, torch.bfloat16, self._bfloat16):
                    loss, clean = self._losses(network, some, situation.part(part), noise[part])
                    losses.append(loss)
                    if has_mixture and one_step:
                        picked, whole = torch.arange(len(loss)), slice(0, height)
                        error_db = self._mask_error_db(clean, some, picked, whole)
                        errors_db.append(error_db.expand(len(loss)))
            figures[name] = torch.cat(losses).mean().item()
            if errors_db:
                figures["val_mask_db"] = torch.cat(errors_db).mean().item()
        return figures

    def examples(self, network: Any) -> dict[str, Example]:
        """Mixtures separated, and pieces made from nothing, with the model's default sampling."""
        device, sampling = self._move_to_device_of(network), self.run.sampling
        crops = example_crops(self.run, self.validation, self.log_mel, self.settings.examples)
        true, mixture = self.log_mel(crops), self.log_mel(crops.sum(dim=1))
        generator = torch.Generator().manual_seed(0)
        condition = encode_mels(self.vae, mixture, self._bfloat16).to(device)
        condition = condition.repeat(1, self.run.channels, 1, 1)  # the same on both sides
        shape = (len(crops), len(self.run.stems), *condition.shape[1:])

        def drawn(guidance: float, steps: int, offset: float = 0.0, shift: float = 1.0) -> Tensor:
            """Log-mels (N, S, F, M)."""
            latents = sampler.sample(
                guided(network, condition, guidance),
                with_sampler(self.scheduler, sampling.sampler),
                sampler.draw_noise(shape, offset, generator=generator).to(device),
                steps,
                generator=generator,
                eta=sampling.eta,
                timestep_shift=shift,
            )
            return self._decode(latents.flatten(0, 1)).unflatten(0, shape[:2]).cpu()

        with torch.autocast(device.type, torch.bfloat16, self._bfloat16):
            separated = drawn(sampling.separation_guidance, sampling.separation_steps)
            generated = drawn(
                0.0, sampling.generation_steps, sampling.noise_offset, sampling.timestep_shift
            )
        examples = {}
        for index, crop in enumerate(crops):
            examples[f"mixture_{index}"] = Example(crop.sum(0), mixture[index], True)
            examples[f"true_{index}"] = Example(None, true[index], True)
            examples[f"separated_{index}"] = Example(None, separated[index])
            waveforms = synthesised(self.log_mel, separated[index], self.vocoder)
            for stem, waveform, picture in zip(
                self.run.stems, waveforms, separated[index], strict=True
            ):
                examples[f"separated_{index}/{stem}"] = Example(waveform, picture)
            sounds = synthesised(self.log_mel, generated[index], self.vocoder)
            examples[f"generated_{index}"] = Example(sounds.sum(0), generated[index])
        return examples

    @property
    def _bfloat16(self) -> bool:
        return self.run.mixed_precision == "bf16"

    @torch.inference_mode()
    def _max_log_mels(self) -> list[float]:
        """The largest log-mel of each stem in the first crops of training."""
        device = next(self.vae.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, self._bfloat16):
            loudest = [
                self._decode(crop.float().to(device)).flatten(1).amax(dim=1)
                for crop in self.shards.stem_means(0)[:LOUDEST_OF]
            ]
        return [round(value, 2) for value in torch.stack(loudest).amax(dim=0).tolist()]

    def export(self, network: Any, folder: Path) -> None:
        if network.config.get("max_log_mels", 0.0) is None:  # a kind that has it, and not yet
            network.register_to_config(max_log_mels=self._max_log_mels())
        save_network(network, folder)
        self.scheduler.save_pretrained(folder.parent / (folder.name + ".scheduler"))
