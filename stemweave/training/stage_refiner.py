"""Training of the mask network: SI-SDR of the masked mixture."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemweave.data.mask_targets import MaskTargets, MaskTargetShards
from stemweave.data.shards import Arrays
from stemweave.data.tar_songs import Songs
from stemweave.training.crops import train_and_validation
from stemweave.training.lora import save_network
from stemweave.training.losses import MAX_SI_SDR_DB, separation_error_db
from stemweave.training.networks import make_refiner
from stemweave.training.settings import RunSettings

EVALUATED_DB = -35.0
"""Validation counts stems of at least this energy relative to the mixture."""


class RefinerStage:
    """Negative SI-SDR of the stems that sound; what is left of those that are silent.

    To either the squared error of the masked log-mels (the paper's measure) may be added: it counts
    what is quiet, too, which SI-SDR does not.
    """

    def __init__(self, settings: RunSettings, train: Songs, validation: Songs) -> None:
        self.settings = settings.refiner
        self.bfloat16 = settings.mixed_precision == "bf16"
        self.log_floor = math.log(settings.log_mel.log_floor)
        self.network = make_refiner(settings)
        self.shards, self.validation_shards = train_and_validation(
            MaskTargetShards,
            settings,
            self.settings,
            (train, validation),
            fine_spectra=copy.deepcopy(self.network.fine_spectra),  # stays where crops are made
            bfloat16=self.bfloat16,
        )

    def loss(
        self, network: nn.Module, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        batch = beside(network, self.shards.batch(step, self.settings.batch_size, rng))
        masks = network(batch["mixture"], batch.get("fine"))
        targets = _targets(batch)
        sounding = targets.stem_energy() > self.settings.silence_energy
        reached_db = targets.si_sdr_db(masks)
        loss = separation_error_db(
            reached_db,
            targets.estimate_energy(masks),
            sounding,
            self.settings.silence_energy,
            self.settings.silence_weight,
        )
        masked = (batch["mixture"][:, None] + masks.clamp(min=1e-6).log()).clamp(min=self.log_floor)
        mel_error = (masked - batch["stem_mels"]).square().mean()
        loss = loss + self.settings.mel_weight * mel_error
        return loss, {
            "si_sdr_db": reached_db[sounding].clamp(max=MAX_SI_SDR_DB).mean().item(),
            "log_mel_mse": mel_error.item(),
        }

    def validate(self, network: Any) -> dict[str, float]:
        """SI-SDR improvement over the mixture by our masks, and by the best."""
        batch = self.validation_shards.batch(0, 64, np.random.default_rng(1))
        batch = beside(network, batch)
        with torch.autocast(batch["mixture"].device.type, torch.bfloat16, self.bfloat16):
            masks = network(batch["mixture"], batch.get("fine"))
        targets = _targets(batch)
        sounding = targets.stem_energy() > 10 ** (EVALUATED_DB / 10)
        of_mixture = targets.si_sdr_db(torch.ones_like(masks))

        def improvement_db(some_masks: Tensor) -> float:
            return (targets.si_sdr_db(some_masks) - of_mixture)[sounding].mean().item()

        return {
            "val_si_sdri_db": improvement_db(masks),
            "val_best_db": improvement_db(batch["best_mask"].clamp(0, 1)),
        }

    def export(self, network: Any, folder: Path) -> None:
        save_network(network, folder)


def beside(network: nn.Module, batch: Arrays) -> Arrays:
    """``batch`` on the device of ``network``."""
    device = next(network.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _targets(batch: Arrays) -> MaskTargets:
    return MaskTargets(batch["log_power"], batch["best_mask"], batch["rest"])
