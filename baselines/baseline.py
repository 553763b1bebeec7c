"""What the baselines share: configuration, CPU time of training, how they are trained and asked.

Axis letters as in stemweave: B batch, S stems, T samples. Everything is mono at the model's rate.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers import ConfigMixin, ModelMixin
from torch import Tensor, nn

from stemweave.evaluation.signal_measures import is_mixed, si_sdr_db


class Baseline(ModelMixin, ConfigMixin):
    """A system that is trained on stems (B, S, T) and separates a mixture (T,).

    Subclasses register ``stems``, ``sample_rate`` (Hz) and ``reference_rms`` (level of mixtures in
    training; None: as they come) in their configuration.

    Attributes:
        title: name of the system in tables.
        methods: ways to separate, by what is added to ``title`` in tables.
        training_cpu_s: CPU seconds that went into the weights; saved with them.
    """

    title: ClassVar[str]
    methods: ClassVar[dict[str, str]] = {"": ""}
    training_cpu_s: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("training_cpu_s", torch.zeros((), dtype=torch.float64))

    def observe(self, stems: Tensor) -> None:
        """Take what is needed of the data's statistics from examples (B, S, T) before training."""

    def loss(self, network: nn.Module, stems: Tensor, generator: torch.Generator) -> Tensor:
        """Training loss of a batch (B, S, T); ``network`` is this model as it is to be called."""
        raise NotImplementedError

    def separate(self, mixture: Tensor, generator: torch.Generator, method: str = "") -> Tensor:
        """Stems (S, T) of ``mixture`` (T,), which is at the level of training."""
        raise NotImplementedError

    def validation_figures(self, stems: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Figures on held-out stems (B, S, T): SI-SDR improvement where they are mixed."""
        improvements = []
        for song in stems:
            mixture = song.sum(0)
            mixed = is_mixed(song, mixture)
            separated = self.separate(mixture, generator)
            before = si_sdr_db(mixture.expand_as(song)[mixed], song[mixed])
            improvements.append(si_sdr_db(separated[mixed], song[mixed]) - before)
        return {"val_si_sdri_db": torch.cat(improvements).mean().item()}

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems in the model's order."""
        return tuple(self.config.stems)

    @property
    def cpu_hours(self) -> float:
        """CPU-hours of training so far."""
        return float(self.training_cpu_s) / 3600
