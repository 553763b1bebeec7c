"""Training of the mask sharpener: SI-SDR of the separated waveforms, given the refiner's masks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemweave.data.band_masks import BandMaskShards, factors_of
from stemweave.data.mask_targets import explained_db
from stemweave.data.shards import Arrays
from stemweave.data.tar_songs import Songs
from stemweave.errors import InputError
from stemweave.models.log_mel import LogMel
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import MaskSharpener
from stemweave.training.checkpoint import CHECKPOINT
from stemweave.training.crops import train_and_validation
from stemweave.training.lora import save_network
from stemweave.training.losses import separation_error_db
from stemweave.training.networks import load_component, make_sharpener
from stemweave.training.placement import to_channels_last
from stemweave.training.settings import RunSettings
from stemweave.training.stage_refiner import EVALUATED_DB, beside

FIRST_PASS_FOLDER = "first_pass"
"""In a run's folder: what made the factors of its second pass."""


def kept_first_pass(folder: Path) -> MaskSharpener | None:
    """The first pass of the run that goes on in ``folder``; None of a new one.

    A run that began from given weights goes on without them, and would get other crops.

    Raises ``InputError`` if it cannot be read.
    """
    kept = folder / FIRST_PASS_FOLDER
    if not (folder / CHECKPOINT).exists() or not kept.exists():
        return None
    network: MaskSharpener = load_component("sharpener", kept)
    return network


class SharpenerStage:
    """Negative SI-SDR of the stems that sound; what is left of those that are silent.

    To either the squared error of the estimates' log-mels may be added, as in the refiner's stage:
    SI-SDR alone lets doubtful sound leak into quiet stems.

    A sharpener of two passes is trained in both. ``first_pass``, the weights that training begins
    with, makes the factors that the second one begins with, and stays as it is: the run keeps it.

    Raises ``InputError`` if the refiner is of other stems.
    """

    def __init__(
        self,
        settings: RunSettings,
        train: Songs,
        validation: Songs,
        refiner: MaskRefiner,
        first_pass: MaskSharpener | None = None,
    ) -> None:
        if refiner.config.num_stems != len(settings.stems):
            raise InputError(
                f"the refiner has {refiner.config.num_stems} stems, the settings "
                f"{len(settings.stems)}: name a refiner that was trained for them"
            )
        self.settings = settings.sharpener
        self.log_mel = LogMel(**settings.log_mel.model_dump())  # goes where the network is
        self.hop_length = settings.log_mel.hop_length
        to_channels_last(refiner.eval().requires_grad_(False))
        self.refiner = refiner
        self.network = make_sharpener(settings)
        self.first_pass = first_pass
        if first_pass is not None:
            first_pass.eval().requires_grad_(False)

        self.shards, self.validation_shards = train_and_validation(
            BandMaskShards,
            settings,
            self.settings,
            (train, validation),
            refiner=refiner,
            sharpener=self.network,
            first_pass=first_pass,
        )
        self.separator = self.shards.separator

    def loss(
        self, network: nn.Module, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        batch = self.shards.batch(step, self.settings.batch_size, rng)
        batch = beside(network, self._pieces(batch, rng))
        stems = batch["stems"]
        estimates, plain = self._separated(network, batch)
        sounding = _relative_energy(stems, stems) > self.settings.silence_energy
        reached_db = si_sdr_db(estimates, stems)
        loss = separation_error_db(
            reached_db,
            _relative_energy(estimates, stems),
            sounding,
            self.settings.silence_energy,
            self.settings.silence_weight,
        )
        with torch.no_grad():
            gained_db = reached_db - si_sdr_db(plain, stems)
        figures = {
            "si_sdr_db": reached_db[sounding].mean().item(),
            "gained_db": gained_db[sounding].mean().item(),
        }
        if self.settings.mel_weight > 0:
            self.log_mel.to(stems.device)
            mel_error = (self.log_mel(estimates) - self.log_mel(stems)).square().mean()
            loss = loss + self.settings.mel_weight * mel_error
            figures["log_mel_mse"] = mel_error.item()
        return loss, figures

    def validate(self, network: Any) -> dict[str, float]:
        """SI-SDR improvement over the mixture by sharpened masks, and by the bands' own."""
        batch = self.validation_shards.batch(0, 64, np.random.default_rng(1))
        sharpened, banded = [], []
        for index in range(len(batch["stems"])):
            one = beside(network, {n: tensor[index : index + 1] for n, tensor in batch.items()})
            stems = one["stems"]
            estimates, plain = self._separated(network, one)
            sounding = _relative_energy(stems, stems) > 10 ** (EVALUATED_DB / 10)
            before = si_sdr_db(stems.sum(dim=1, keepdim=True).expand_as(stems), stems)
            sharpened.append((si_sdr_db(estimates, stems) - before)[sounding])
            banded.append((si_sdr_db(plain, stems) - before)[sounding])
        return {
            "val_si_sdri_db": torch.cat(sharpened).mean().item(),
            "val_unsharpened_db": torch.cat(banded).mean().item(),
        }

    def export(self, network: Any, folder: Path) -> None:
        save_network(network, folder)

    def keep_start(self, folder: Path) -> None:
        """Keep the first pass in the folder of a run that begins: crops are made with it."""
        if self.first_pass is not None:
            self.first_pass.save_pretrained(folder / FIRST_PASS_FOLDER)

    def _pieces(self, batch: Arrays, rng: np.random.Generator) -> Arrays:
        """``piece_frames`` of every crop, from a frame that is drawn."""
        frames, hop_length = self.settings.piece_frames, self.hop_length
        spectral_hop = self.separator.hop_length
        samples = math.lcm(hop_length, spectral_hop)  # pieces begin with a frame of either grid
        step = samples // hop_length
        count = (batch["masks"].shape[2] - frames) // step + 1
        starts = rng.integers(0, count, len(batch["masks"])).tolist()
        cuts = {  # axis of a crop, entries from one possible start to the next, entries of a piece
            "stems": (1, samples, frames * hop_length),
            "masks": (1, step, frames),
            "activations": (3, samples // spectral_hop, frames * hop_length // spectral_hop + 1),
        }

        def cut(name: str) -> Tensor:
            axis, unit, length = cuts[name]
            crops = zip(batch[name], starts, strict=True)
            return torch.stack([crop.narrow(axis, start * unit, length) for crop, start in crops])

        return {name: cut(name) if name in cuts else batch[name] for name in batch}

    def _separated(self, network: nn.Module, batch: Arrays) -> tuple[Tensor, Tensor]:
        """Estimates (N, S, T) by sharpened masks, and by the bands' own, of the stems' sum."""
        stems, masks = batch["stems"], batch["masks"]
        num_samples = stems.shape[-1]
        spectrum = self.separator.spectrum(stems.sum(dim=1))
        banded = self.separator.bin_masks(masks, spectrum)
        plain = self.separator.waveform(spectrum[:, None] * banded, num_samples)
        sharp = network(spectrum, banded, factors_of(batch))
        return self.separator.waveform(spectrum[:, None] * sharp, num_samples), plain


def si_sdr_db(estimates: Tensor, stems: Tensor) -> Tensor:
    """Scale-invariant SDR (arXiv 1811.02508) of waveforms (..., T), with a gradient everywhere."""
    both = estimates.square().sum(dim=-1) * stems.square().sum(dim=-1)
    shared = (estimates * stems).sum(dim=-1).square()
    explained = (shared / both.clamp(min=1e-20)).clamp(max=1)
    return explained_db(explained)


def _relative_energy(waveforms: Tensor, stems: Tensor) -> Tensor:
    """Energy of waveforms (N, S, T) relative to that of the stems' sum."""
    mixture = stems.sum(dim=1, keepdim=True).square().sum(dim=-1)
    return waveforms.square().sum(dim=-1) / mixture.clamp(min=1e-9)
