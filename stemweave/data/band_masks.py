"""Training crops for the mask sharpener: stems, and the refiner's masks of their mixture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stemweave.audio.log_mel import LogMel
from stemweave.data.mixing import MixSettings, equalise
from stemweave.data.shards import Arrays, ShardPlan, Shards
from stemweave.data.tar_songs import Songs
from stemweave.models.refiner import MaskRefiner, hidden_estimates


class BandMaskShards(Shards):
    """``stems`` (N, S, T), mono, and the refiner's ``masks`` (N, S, F, M) without estimates."""

    def __init__(
        self,
        folder: Path,
        songs: Songs,
        log_mel: LogMel,
        refiner: MaskRefiner,
        stems: Sequence[str],
        settings: MixSettings,
        plan: ShardPlan,
        *,
        seed: int = 0,
        channels: int = 1,
    ) -> None:
        super().__init__(
            folder,
            songs,
            log_mel,
            stems,
            settings,
            plan,
            seed=seed,
            networks=[refiner],
            channels=channels,
        )
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
