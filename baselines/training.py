"""Training of a baseline as a stage of ``stemweave.training.loop``, for a budget of CPU time."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.baseline import Baseline
from baselines.htdemucs import SmallHTDemucs
from baselines.msdm import MSDM
from baselines.open_unmix import OpenUnmix
from baselines.settings import BaselineSettings
from stemweave.data.mixing import PLAIN, MixSettings, draw_crops, equalise
from stemweave.data.tar_songs import Songs, songs_at_step
from stemweave.errors import InputError

BASELINES: dict[str, type[Baseline]] = {
    "open_unmix": OpenUnmix,
    "htdemucs": SmallHTDemucs,
    "msdm": MSDM,
}
OBSERVED_CROPS = 64


def build(name: str, settings: BaselineSettings, crop_samples: int) -> Baseline:
    """The untrained baseline; raises ``InputError`` for arguments that its class does not have."""
    arguments = dict(settings.section(name).model)
    if name == "htdemucs":
        arguments.setdefault("segment_s", crop_samples / settings.log_mel.sample_rate)
    kind: Any = BASELINES[name]
    try:
        model: Baseline = kind(
            stems=settings.stems,
            sample_rate=settings.log_mel.sample_rate,
            reference_rms=settings.mixing.reference_rms,
            **arguments,
        )
    except TypeError as error:
        raise InputError(f"{name}.model: {error}") from error
    return model


class BaselineStage:
    """A baseline's own loss on random crops of the songs that our model is trained on.

    The CPU time of the whole process counts, with data, validation and checkpoints. It is a buffer
    of the network, so that checkpoints and exports know it. When it reaches ``cpu_hours``, the run
    ends after the step, with a checkpoint and an export.
    """

    def __init__(
        self,
        name: str,
        settings: BaselineSettings,
        train: Songs,
        validation: Songs,
        cpu_hours: float = math.inf,
    ) -> None:
        self._cpu_s = time.process_time()
        self.run, self.settings, self.cpu_hours = settings, settings.section(name), cpu_hours
        self.is_spent = False
        self.train, self.validation = train, validation
        self.mixing = MixSettings(**settings.mixing.model_dump())
        self.crop_samples = self.settings.crop_frames * settings.log_mel.hop_length
        self.network: Any = build(name, settings, self.crop_samples)
        rng = np.random.default_rng(settings.seed)
        with torch.inference_mode():
            self.network.observe(self.crops(train, OBSERVED_CROPS, self.mixing, rng))

    def crops(
        self, songs: Songs, count: int, mixing: MixSettings, rng: np.random.Generator
    ) -> Tensor:
        """Stems (count, S, T), mixed and filtered like those of our model."""
        sample_rate = self.run.log_mel.sample_rate
        drawn = draw_crops(
            songs, self.run.stems, count, self.crop_samples, sample_rate, mixing, rng
        )
        return equalise(drawn.waveforms, mixing, rng)

    def loss(
        self, network: Any, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        self._count_cpu_time()
        songs = songs_at_step(self.train, step)
        stems = self.crops(songs, self.settings.batch_size, self.mixing, rng)
        torch.manual_seed(generator.initial_seed())  # for dropout
        loss = self.network.loss(network, stems.to(self.network.device), generator)
        return loss, {"cpu_hours": self.network.cpu_hours}

    def _count_cpu_time(self) -> None:
        now = time.process_time()
        self.network.training_cpu_s += now - self._cpu_s
        self._cpu_s = now
        if self.network.cpu_hours >= self.cpu_hours:
            self.is_spent = True

    def validate(self, network: Any) -> dict[str, float]:
        mixing = replace(PLAIN, reference_rms=self.mixing.reference_rms)
        rng = np.random.default_rng(1)
        stems = self.crops(self.validation, self.settings.validation_crops, mixing, rng)
        generator = torch.Generator().manual_seed(1)
        figures: dict[str, float] = network.validation_figures(stems, generator)
        return figures

    def export(self, network: Any, folder: Path) -> None:
        network.save_pretrained(folder)
