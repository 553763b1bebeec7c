"""Training crops for the mask sharpener: stems, and the refiner's masks of their mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.data.mixing import equalise
from stemweave.data.shards import Arrays, Shards
from stemweave.models.refiner import MaskRefiner, hidden_estimates


class BandMaskShards(Shards):
    """``stems`` (N, S, T), mono, and the refiner's ``masks`` (N, S, F, M) without estimates.

    Arguments are those of ``Shards`` and ``refiner``.
    """

    def __init__(self, *arguments: Any, refiner: MaskRefiner, **options: Any) -> None:
        super().__init__(*arguments, networks=[refiner], **options)
        self.refiner = refiner

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        stems = equalise(self.draw(count, rng).waveforms, self.settings, rng)
        if stems.ndim > 3:
            stems = stems.mean(dim=2)
        # one by one: the memory of larger spectra would be mapped and unmapped each time
        masks = [self._masks(mixture) for mixture in stems.sum(dim=1).split(1)]
        return {"stems": stems.half(), "masks": torch.cat(masks).half()}

    @torch.inference_mode()
    def _masks(self, mixture: Tensor) -> Tensor:
        log_mel = self.log_mel(mixture)
        hidden = hidden_estimates(log_mel, len(self.stems))
        masks: Tensor = self.refiner(log_mel, hidden, self.refiner.fine_of(mixture))
        return masks
