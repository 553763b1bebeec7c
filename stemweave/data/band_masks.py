"""Training crops for the mask sharpener: stems, and the refiner's masks of their mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemweave.audio.factorisation import EXPONENT, ITERATIONS, Factors
from stemweave.audio.masking import MaskSeparator
from stemweave.data.mixing import equalise
from stemweave.data.shards import Arrays, Shards
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import FIRST_PASS, SECOND_PASS, MaskSharpener


class BandMaskShards(Shards):
    """``stems`` (N, S, T), mono, and the refiner's ``masks`` (N, S, F, M).

    For a sharpener with ``num_components`` there are the crops' ``Factors``, too, as ``templates``
    and ``activations``: of every other crop those of the second pass, if there is a sharpener
    ``first_pass`` to make the first one. Other arguments are those of ``Shards``.
    """

    def __init__(
        self,
        *arguments: Any,
        refiner: MaskRefiner,
        sharpener: MaskSharpener,
        first_pass: MaskSharpener | None = None,
        **options: Any,
    ) -> None:
        self.refiner, self.sharpener, self.first_pass = refiner, sharpener, first_pass
        networks: list[nn.Module] = [refiner, *filter(None, [first_pass])]
        super().__init__(*arguments, networks=networks, **options)
        self.separator = MaskSeparator(self.log_mel, self.log_mel.config.sample_rate)

    def _own_description(self) -> dict[str, Any]:
        config = self.sharpener.config
        described: dict[str, Any] = {"blind_shifts": self.refiner.config.shifts}
        if config.num_components:
            described |= {"num_components": config.num_components, "num_bins": config.num_bins}
            described["passes"] = FIRST_PASS, SECOND_PASS, ITERATIONS, EXPONENT
        if self.first_pass is not None:
            described["later_components"] = self.first_pass.config.later_components
        return described

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        stems = equalise(self.draw(count, rng).waveforms, self.settings, rng)
        if stems.ndim > 3:
            stems = stems.mean(dim=2)
        # one by one: the memory of larger spectra would be mapped and unmapped each time
        mixtures = stems.sum(dim=1).split(1)
        parts = [self._heard(mixture, index % 2 == 1) for index, mixture in enumerate(mixtures)]
        arrays = {name: torch.cat([part[name] for part in parts]).half() for name in parts[0]}
        return {"stems": stems.half(), **arrays}

    @torch.inference_mode()
    def _heard(self, mixture: Tensor, later: bool) -> Arrays:
        log_mel = self.log_mel(mixture)
        masks = self.refiner.separate(log_mel, mixture)
        if not self.sharpener.config.num_components:
            return {"masks": masks}
        spectrum = self.separator.spectrum(mixture)
        banded = self.separator.bin_masks(masks, spectrum)
        if self.first_pass is None:
            factors = self.sharpener.factors(spectrum, banded)
        else:
            config = self.first_pass.config
            make = self.first_pass.second_factors if later else self.first_pass.factors
            most = max(config.num_components, config.later_components)
            factors = make(spectrum, banded).padded(most, FIRST_PASS["starts"])
        return {"masks": masks, **factors.normalised()._asdict()}


def factors_of(batch: Arrays) -> Factors | None:
    """Factors of a batch of crops, if there are any."""
    if "templates" not in batch:
        return None
    return Factors(batch["templates"], batch["activations"])
