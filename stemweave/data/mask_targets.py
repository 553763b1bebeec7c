"""Training crops for the mask network: the mixture, and what masks of it are worth.

A mask m on the mixture's spectrum X estimates stem s as m·X. With m constant over a mel band, its
scale-invariant distortion needs only three numbers a band, Σ|X|², Σ Re(X̄·s) and Σ|s|²: no spectra
are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemweave.audio.masking import mel_to_bins
from stemweave.data.mixing import equalise
from stemweave.data.shards import Arrays, Shards
from stemweave.models.refiner import FineSpectra

RATIO_LIMIT = 4.0
"""Best masks beyond this are clamped: where stems cancel, a little energy wants a huge mask."""


@dataclass
class MaskTargets:
    """What the quality of masks (N, S, F, M) is computed from.

    Attributes:
        log_power: logarithm of the mixture's power per band (N, F, M).
        best_mask: the real mask with the least error (N, S, F, M).
        rest: squared error of the best masks relative to the mixture's energy (N, S).
    """

    log_power: Tensor
    best_mask: Tensor
    rest: Tensor

    def _weights(self) -> Tensor:
        """Share of the mixture's energy in every frame and band (N, 1, F, M)."""
        power = self.log_power.exp()[:, None]
        return power / power.sum(dim=(-2, -1), keepdim=True).clamp(min=1e-9)

    def stem_energy(self) -> Tensor:
        """Energy of the stems relative to the mixture's (N, S)."""
        return self.rest + (self._weights() * self.best_mask.square()).sum(dim=(-2, -1))

    def estimate_energy(self, masks: Tensor) -> Tensor:
        """Energy of the masked mixture relative to the whole mixture's (N, S)."""
        return (self._weights() * masks.square()).sum(dim=(-2, -1))

    def si_sdr_db(self, masks: Tensor) -> Tensor:
        """Scale-invariant signal-to-distortion ratio (arXiv 1811.02508) of the estimates (N, S).

        Without the window's overlap-add, which changes little. A mask of next to nothing is worth
        what its shape is worth: were it worth 0 dB, training would suppress every doubtful stem.
        """
        shared = (self._weights() * masks * self.best_mask).sum(dim=(-2, -1)).clamp(min=0)
        both = self.estimate_energy(masks) * self.stem_energy()
        explained = (shared.square() / both.clamp(min=1e-24)).clamp(max=1)
        return explained_db(explained)


def explained_db(explained: Tensor) -> Tensor:
    """Scale-invariant SDR in dB of estimates of whose energy the stem explains such shares."""
    return 10 * torch.log10((explained + 1e-9) / (1 - explained + 1e-9))


def mask_targets(stems: Tensor, to_bands: Tensor) -> MaskTargets:
    """Targets from complex spectra of the stems (N, S, F, bins) and bands' weights (bins, M).

    Every bin's weights add up to one.
    """
    parts = torch.view_as_real(stems)  # complex products and roots would take twice the time
    mixture = parts.sum(dim=1)
    power = mixture.square().sum(dim=-1) @ to_bands
    shared = (mixture[:, None] * parts).sum(dim=-1) @ to_bands
    best = (shared / power.clamp(min=1e-12)[:, None]).clamp(-RATIO_LIMIT, RATIO_LIMIT)
    energy = parts.square().sum(dim=(-3, -2, -1))
    explained = (best * (2 * shared - best * power[:, None])).sum(dim=(-2, -1))
    whole = power.sum(dim=(-2, -1)).clamp(min=1e-12)[:, None]
    rest = ((energy - explained) / whole).clamp(min=0)
    return MaskTargets(power.clamp(min=1e-12).log(), best, rest)


class MaskTargetShards(Shards):
    """Crops of mixtures, all in mono.

    ``mixture`` (N, F, M) and ``stem_mels`` (N, S, F, M) are log-mels, ``fine`` the mixture's
    ``FineSpectra`` if wanted; the others are those of ``MaskTargets``. Arguments are those of
    ``Shards``.
    """

    def __init__(
        self, *arguments: Any, fine_spectra: FineSpectra | None = None, **options: Any
    ) -> None:
        self.fine_spectra = fine_spectra
        super().__init__(*arguments, networks=[], **options)
        config = self.log_mel.config
        self.to_bands = mel_to_bins(self.log_mel, config.n_fft, config.sample_rate).T.contiguous()

    def _own_description(self) -> dict[str, Any]:
        fine = {"fine": True} if self.fine_spectra is not None else {}  # of the log-mel
        return {"stem_mels": True, **fine}

    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        crops = self.draw(count, rng)
        # one by one: the memory of larger spectra would be mapped and unmapped each time
        parts = [self._measure(stems, rng) for stems in crops.waveforms.split(1)]
        arrays = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return {
            name: tensor if name == "rest" else tensor.half() for name, tensor in arrays.items()
        }

    def _measure(self, stems: Tensor, rng: np.random.Generator) -> Arrays:
        """What ``make`` returns, of one crop."""
        stems = equalise(stems, self.settings, rng)
        spectra = self.log_mel.stft(stems)[..., :-1, :]
        if self.channels > 1:  # masks are those of the mono sum
            spectra = spectra.mean(dim=2)
        mixture = self.log_mel.mel_of_magnitude(spectra.sum(dim=1).abs())
        stem_mels = self.log_mel.mel_of_magnitude(spectra.abs())
        targets = mask_targets(spectra, self.to_bands)
        arrays = {"mixture": mixture, "stem_mels": stem_mels, **vars(targets)}
        if self.fine_spectra is not None:
            waveform = stems.sum(dim=1)
            arrays["fine"] = self.fine_spectra(waveform if waveform.ndim == 2 else waveform.mean(1))
        return arrays
