"""Training crops for the mask sharpener: stems, and the refiner's masks of their mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.audio.factorisation import Factors
from stemweave.audio.masking import MaskSeparator
from stemweave.data.mixing import equalise
from stemweave.data.shards import Arrays, Shards
from stemweave.models.refiner import MaskRefiner, hidden_estimates
from stemweave.models.sharpener import MaskSharpener


class BandMaskShards(Shards):
    """``stems`` (N, S, T), mono, and the refiner's ``masks`` (N, S, F, M) without estimates.

    For a sharpener that is told ``Factors`` there are those of the crops, too, as ``templates`` and
    ``activations``. Arguments are those of ``Shards``, and the two networks.
    """

    def __init__(
        self, *arguments: Any, refiner: MaskRefiner, sharpener: MaskSharpener, **options: Any
    ) -> None:
        self.refiner, self.sharpener = refiner, sharpener
        super().__init__(*arguments, networks=[refiner], **options)
        self.separator = MaskSeparator(self.log_mel, self.log_mel.config.sample_rate)

    def _own_description(self) -> dict[str, Any]:
        config = self.sharpener.config
        if not config.num_components:
            return {}
        return {"num_components": config.num_components, "num_bins": config.num_bins}

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        stems = equalise(self.draw(count, rng).waveforms, self.settings, rng)
        if stems.ndim > 3:
            stems = stems.mean(dim=2)
        # one by one: the memory of larger spectra would be mapped and unmapped each time
        parts = [self._heard(mixture) for mixture in stems.sum(dim=1).split(1)]
        arrays = {name: torch.cat([part[name] for part in parts]).half() for name in parts[0]}
        return {"stems": stems.half(), **arrays}

    @torch.inference_mode()
    def _heard(self, mixture: Tensor) -> Arrays:
        log_mel = self.log_mel(mixture)
        hidden = hidden_estimates(log_mel, len(self.stems))
        masks: Tensor = self.refiner(log_mel, hidden, self.refiner.fine_of(mixture))
        if not self.sharpener.config.num_components:
            return {"masks": masks}
        spectrum = self.separator.spectrum(mixture)
        factors = self.sharpener.factors(spectrum, self.separator.bin_masks(masks, spectrum))
        return {"masks": masks, **factors.balanced()._asdict()}


def factors_of(batch: Arrays) -> Factors | None:
    """Factors of a batch of crops, if there are any."""
    if "templates" not in batch:
        return None
    return Factors(batch["templates"], batch["activations"])
