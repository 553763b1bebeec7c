"""Training of the denoiser on cached latents: separation, generation, arrangement in one batch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemweave.data.crop_pack import PackedShards, PackedSongs, require_means
from stemweave.data.latents import LatentBatch, LatentShards, PosteriorShards, encode_mels
from stemweave.data.tar_songs import Songs
from stemweave.diffusion import sampler
from stemweave.diffusion.guidance import guided
from stemweave.diffusion.objective import denoising_loss
from stemweave.diffusion.schedulers import with_sampler
from stemweave.errors import InputError
from stemweave.io.own_code import imported
from stemweave.models.conditions import Conditions
from stemweave.models.log_mel import LogMel, mono_log_mel
from stemweave.training.crops import train_and_validation
from stemweave.training.examples import Example, example_crops, synthesised
from stemweave.training.lora import save_network
from stemweave.training.networks import make_denoiser
from stemweave.training.part_settings import DenoiserSettings
from stemweave.training.placement import to_channels_last
from stemweave.training.settings import RunSettings
from stemweave.training.situations import Situation, draw_situation, hide

LOUDEST_OF = 128
"""Crops of training that what is drawn is held against (``max_log_mels``)."""


def _kind_of_shards(settings: DenoiserSettings, songs: Songs) -> type[LatentShards]:
    """What holds crops of ``songs``; raises ``InputError`` for what a pack cannot give."""
    if not isinstance(songs, PackedSongs):
        return LatentShards if settings.latents == "mean" else PosteriorShards
    require_means(settings.latents)
    if settings.examples:
        raise InputError("a pack has no songs to make examples of: set denoiser.examples to 0")
    return PackedShards


class DenoiserStage:
    """The diffusion model's training on latents from ``LatentShards`` or ``PosteriorShards``.

    ``vocoder`` makes the logged examples audible; without one they go through Griffin and Lim's
    iteration.
    """

    def __init__(
        self, settings: RunSettings, train: Songs, validation: Songs, vae: Any, vocoder: Any = None
    ) -> None:
        self.settings, self.run = settings.denoiser, settings
        self.validation, self.vocoder = validation, vocoder
        to_channels_last(vae.eval().requires_grad_(False))
        self.vae, self.log_mel = vae, LogMel(**settings.log_mel.model_dump())
        self.scheduler = self.settings.scheduler.make()
        self.network = make_denoiser(settings, vae, train)

        self.shards, self.validation_shards = train_and_validation(
            _kind_of_shards(self.settings, train),
            settings,
            self.settings,
            (train, validation),
            vae=vae,
            bfloat16=self._bfloat16,
            denoiser_config=self.network.config if self.settings.conditions else None,
            extra={n: imported(one) for n, one in self.settings.extra_conditions.items()},
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
        if batch.conditions is not None and self.settings.conditions is not None:
            batch.conditions = hide(batch.conditions, self.settings.conditions, rng)
        losses = self._losses(network, batch, situation, noise)
        separating = situation.has_mixture & ~situation.known.flatten(1).any(1)
        figures = {}
        if separating.any():
            figures["separation"] = losses[separating].mean().item()
        if not separating.all():
            figures["other"] = losses[~separating].mean().item()
        return losses.mean(), figures

    def _decode(self, latents: Tensor) -> Tensor:
        """Log-mels (N, F, M) of scaled latents (N, C, H, W), mono ones in stereo."""
        channels = latents.unflatten(1, (self.run.channels, -1)).flatten(0, 1)
        mel = self.vae.decode(channels / self.vae.config.scaling_factor).sample[:, 0].float()
        return mono_log_mel(mel.unflatten(0, (-1, self.run.channels)), dim=1)

    def _move_to_device_of(self, network: nn.Module) -> torch.device:
        """The autoencoder follows the network, whose device is returned."""
        device = next(network.parameters()).device
        self.vae.to(device)
        return device

    def _losses(
        self, network: nn.Module, batch: LatentBatch, situation: Situation, noise: Tensor
    ) -> Tensor:
        """Loss (B,) of each sample."""
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
            batch.conditions.to(device) if batch.conditions is not None else None,
            batch.extra,
        )

    def validate(self, network: Any) -> dict[str, float]:
        """Losses on unseen songs: of separation in one step, of generation at spread timesteps.

        An epsilon model's separation is measured at spread timesteps, too: from pure noise it says
        nothing. Neither gets conditions; those are compared by ``_validate_conditions``.
        """
        figures = {}
        rng = np.random.default_rng(1)
        device, samples = self._move_to_device_of(network), self.settings.validation_samples
        batch = self.validation_shards.latents(0, samples, rng).to(device)
        conditions, batch.conditions = batch.conditions, None
        num_timesteps = self.scheduler.config.num_train_timesteps
        count, num_stems = batch.stems.shape[:2]
        spread = torch.linspace(0, num_timesteps - 1, count).long()[:, None].repeat(1, num_stems)
        one_step = self.scheduler.config.prediction_type == "v_prediction"
        last = torch.full_like(spread, num_timesteps - 1)
        for name, timestep, has_mixture in (
            ("val_separation", last if one_step else spread, True),
            ("val_generation", spread, False),
        ):
            figures[name] = self._validate_at(network, batch, timestep, has_mixture)
        if conditions is not None:
            figures |= self._validate_conditions(network, batch, conditions)
        return figures

    def _validate_conditions(
        self, network: Any, batch: LatentBatch, conditions: Conditions
    ) -> dict[str, float]:
        """Loss of generation at some timesteps with a crop's own, with another's, with none."""
        assert self.settings.conditions is not None
        count, num_stems = batch.stems.shape[:2]
        others = conditions.part(torch.arange(count).roll(1))
        figures = {}
        for timestep in self.settings.conditions.validation_timesteps:
            everywhere = torch.full((count, num_stems), timestep)
            for name, given in (("own", conditions), ("other", others), ("none", None)):
                batch.conditions = given
                loss = self._validate_at(network, batch, everywhere, False)
                figures[f"val_{name}_{timestep}"] = loss
        return figures

    def _validate_at(
        self, network: Any, batch: LatentBatch, timestep: Tensor, mixture: bool
    ) -> float:
        """Mean loss at ``timestep`` (N, S) with or without the mixture."""
        count, num_stems, _, height, _ = batch.stems.shape
        nothing_given = torch.zeros(count, num_stems, height, dtype=torch.bool)
        situation = Situation(timestep, torch.full((count,), mixture), nothing_given)
        noise = torch.randn(batch.stems.shape, generator=torch.Generator().manual_seed(0))
        losses = []
        for start in range(0, count, self.settings.batch_size):
            part = slice(start, start + self.settings.batch_size)
            some = batch.part(part)
            with torch.autocast(batch.stems.device.type, torch.bfloat16, self._bfloat16):
                losses.append(self._losses(network, some, situation.part(part), noise[part]))
        return torch.cat(losses).mean().item()

    def examples(self, network: Any) -> dict[str, Example]:
        """Mixtures separated, and pieces made from nothing (or from the conditions of those),
        with the model's default sampling.
        """
        device, sampling = self._move_to_device_of(network), self.run.sampling
        drawn_crops = example_crops(self.run, self.validation, self.log_mel, self.settings.examples)
        crops = drawn_crops.waveforms
        true, mixture = self.log_mel(crops), self.log_mel(crops.sum(dim=1))
        generator = torch.Generator().manual_seed(0)
        condition = encode_mels(self.vae, mixture, self._bfloat16).to(device)
        condition = condition.repeat(1, self.run.channels, 1, 1)  # the same on both sides
        shape = (len(crops), len(self.run.stems), *condition.shape[1:])

        conditions = self.shards.conditions(drawn_crops, condition.shape[-2])
        conditioned = network
        if conditions is not None:
            conditioned = partial(network, conditions=conditions.to(device))

        def drawn(denoiser: Any, guidance: float, steps: int, **noise: float) -> Tensor:
            """Log-mels (N, S, F, M)."""
            start = sampler.draw_noise(shape, noise.get("offset", 0.0), generator=generator)
            latents = sampler.sample(
                guided(denoiser, condition, guidance),
                with_sampler(self.scheduler, sampling.sampler),
                start.to(device),
                steps,
                generator=generator,
                eta=sampling.eta,
                timestep_shift=noise.get("shift", 1.0),
            )
            return self._decode(latents.flatten(0, 1)).unflatten(0, shape[:2]).cpu()

        new = {"offset": sampling.noise_offset, "shift": sampling.timestep_shift}
        with torch.autocast(device.type, torch.bfloat16, self._bfloat16):
            separated = drawn(network, sampling.separation_guidance, sampling.separation_steps)
            generated = drawn(conditioned, 0.0, sampling.generation_steps, **new)
        examples = {}
        for index, crop in enumerate(crops):
            examples[f"mixture_{index}"] = Example(crop.sum(0), mixture[index], True)
            examples[f"true_{index}"] = Example(None, true[index], True)
            examples[f"separated_{index}"] = Example(None, separated[index])
            waveforms = synthesised(self.log_mel, separated[index], self.vocoder)
            for number, stem in enumerate(self.run.stems):
                sound = waveforms[number]
                examples[f"separated_{index}/{stem}"] = Example(sound, separated[index, number])
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
                for crop in self.shards.stem_means()[:LOUDEST_OF]
            ]
        return [round(value, 2) for value in torch.stack(loudest).amax(dim=0).tolist()]

    def export(self, network: Any, folder: Path) -> None:
        if network.config.get("max_log_mels", 0.0) is None:  # a kind that has it, and not yet
            network.register_to_config(max_log_mels=self._max_log_mels())
        save_network(network, folder)
