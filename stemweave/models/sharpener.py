"""Masks of mel bands, sharpened to masks of single bins of the mixture's spectrum.

A band holds up to twenty bins: harmonics of one instrument, and between them what another one
plays. Which is which can be seen close by, in peaks and valleys, in what lasts and what begins.
This network sees the spectrum that the masks are applied to, moduli and phase differences, and adds
to the logits of the bands' masks. It may also be told what a stem plays elsewhere in the window
(``audio.factorisation``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from stemweave.acceleration import mask_dtype, mask_precision
from stemweave.audio.factorisation import Factors, factorise
from stemweave.audio.log_mel import front_end_misfits
from stemweave.audio.masking import HOPS_PER_WINDOW

MIN_MAGNITUDE = 1e-3
"""Of bins, at the model's level: below it nothing is heard."""
MIN_MASK = 1e-6
NEIGHBOURHOOD = 31
"""Bins whose mean a bin's level is compared with: 240 Hz."""
SPECTRUM = ("sample_rate", "n_fft")
"""What it must have in common with the log-mel."""
SPECTRUM_CHANNELS = 6
"""Level, level over its neighbourhood's, cosine and sine of two phase differences."""
POOLED_BINS = 8
"""Bins above ``num_bins`` that are one row of what is factorised."""
MIN_FOUND = 1e-4
"""Of factors' masks."""
FIRST_LOOK: dict[str, Any] = {"starts": 4, "joint_iterations": 3, "seed": 0}
"""How the first look's parts are factorised."""
LATER_LOOK: dict[str, Any] = {"starts": 1, "joint_iterations": 6, "seed": 1}
"""The same of the second, whose masks and many spectra leave less to chance."""
REASSIGNED_SHARE = 0.4
"""How much it counts in the end to whom the spectra of a window belong."""


class MaskSharpener(ModelMixin, ConfigMixin):
    """Convolutions at the spectrum's resolution → soft masks of S stems that add up to one.

    Args:
        num_stems: S.
        num_bins: those sharpened, from 0 Hz on, without the one at half of the sampling rate.
        channels: width of all layers.
        dilations: of each residual block's first convolution, in bins and frames.
        num_components: spectra by which every stem's part of a window is explained; 0 does without.
        later_components: the same of a second look, in which what the first one made is explained
            and the bands' masks are sharpened once more; the two looks' mean is taken. 0 takes one.
        sample_rate, n_fft: of the spectra it is trained with. Others must have bins as wide.
    """

    exact = False
    """Computes in float32 everywhere, also where the CPU is faster in bfloat16."""

    @register_to_config
    def __init__(
        self,
        num_stems: int = 4,
        num_bins: int = 1024,
        channels: int = 24,
        dilations: Sequence[int] = (1, 2, 4),
        num_components: int = 0,
        later_components: int = 0,
        sample_rate: int = 16000,
        n_fft: int = 2048,
    ) -> None:
        super().__init__()
        if later_components and not num_components:
            raise ValueError("later_components need num_components, too")
        told = 2 * num_stems if num_components else num_stems
        self.conv_in = nn.Conv2d(SPECTRUM_CHANNELS + told, channels, 3, padding=1)
        self.bin_embedding = nn.Parameter(torch.zeros(channels, num_bins, 1))
        self.blocks = nn.Sequential(*(DilatedBlock(channels, one) for one in dilations))
        self.conv_out = nn.Conv2d(channels, num_stems, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(cast(Tensor, self.conv_out.bias))

    @staticmethod
    def misfits(config: Any, mel: Any) -> list[str]:
        """What keeps a network of ``config`` from spectra of log-mels of ``mel``, if anything."""
        return front_end_misfits("sharpener", config, mel, SPECTRUM)

    def forward(self, spectrum: Tensor, masks: Tensor, factors: Factors | None = None) -> Tensor:
        """Masks (B, S, bins, frames) from the mixture's spectrum (B, bins, frames) and such masks.

        ``spectrum`` is complex, of overlapping windows four hops long, and of the level and the
        scale of the model's. Bins from ``num_bins`` on keep their masks; there may be fewer.
        ``factors`` are those of a longer window, where this is a piece of it.

        Trained in float32, with autocast or without: oneDNN's gradients of dilated convolutions in
        bfloat16 are NaN, or crash, on some CPUs.
        """
        with torch.autocast(spectrum.device.type, enabled=False):
            return self._masks(spectrum, masks.float(), factors)

    def _masks(self, spectrum: Tensor, masks: Tensor, factors: Factors | None) -> Tensor:
        num_bins = min(self.config.num_bins, spectrum.shape[-2])
        prior = masks[..., :num_bins, :].clamp(min=MIN_MASK).log()
        told = []
        if self.config.num_components:
            found = (factors or self.factors(spectrum, masks)).of_rows(num_bins).masks()
            more = (found + MIN_FOUND).log() - prior
            prior = torch.log_softmax(prior + more / 2, dim=1)
            told = [more.clamp(-4, 4) / 2]
        share = (prior + math.log(self.config.num_stems)).clamp(min=-6) / 2
        heard = spectrum_features(spectrum[:, :num_bins])
        hidden = torch.cat([heard, share, *told], dim=1).to(self.dtype)
        with mask_precision(self, spectrum.device):
            hidden = self.conv_in(hidden.contiguous(memory_format=torch.channels_last))
            hidden = self.blocks(hidden.add_(self.bin_embedding[:, :num_bins].to(hidden.dtype)))
            change = self.conv_out(functional.silu(hidden, inplace=True))
        sharp = torch.softmax(prior + change.float(), dim=1)
        return torch.cat([sharp, masks[..., num_bins:, :]], dim=2)

    def sharpen(self, spectrum: Tensor, masks: Tensor) -> Tensor:
        """``forward`` of a whole window, whose moments then judge together once more.

        Sharp masks know better than those of bands to whom a spectrum of the ``Factors`` belongs,
        and have better factors, which a second look is told.
        """
        if not self.config.num_components:
            return cast(Tensor, self(spectrum, masks))
        sharp, settled = self._look(spectrum, masks, self.factors(spectrum, masks))
        if self.config.later_components:
            later = self._later_factors(spectrum, masks, settled)
            settled = self._look(spectrum, masks, later, sharp)[1]
        return self._with_upper(settled, masks)

    def later_factors(self, spectrum: Tensor, masks: Tensor) -> Factors:
        """What a second look is told of a window, given as to ``forward``."""
        _, settled = self._look(spectrum, masks, self.factors(spectrum, masks))
        return self._later_factors(spectrum, masks, settled)

    def _later_factors(self, spectrum: Tensor, masks: Tensor, settled: Tensor) -> Factors:
        heard = masks[..., : self._highest, :]
        return self.factors(spectrum, self._with_upper(settled, heard), later=True)

    def _with_upper(self, sharp: Tensor, masks: Tensor) -> Tensor:
        """Masks of bins that are sharpened, and above them those of the bands."""
        return torch.cat([sharp, masks[..., sharp.shape[-2] :, :]], dim=2)

    def _look(
        self, spectrum: Tensor, masks: Tensor, factors: Factors, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Sharp masks, their mean with those ``before`` it, and these by whom spectra belong to.

        Of the bins that are sharpened, no others.
        """
        num_bins = min(self.config.num_bins, spectrum.shape[-2])
        heard = spectrum[:, :num_bins]
        sharp: Tensor = self(heard, masks[..., :num_bins, :], factors)
        sharp = sharp.to(spectrum.device)  # a model that is offloaded answers from elsewhere
        if before is not None:
            sharp = torch.lerp(before, sharp, 0.5)
        found = factors.of_rows(num_bins).reassigned(sharp * heard[:, None].abs())
        logits = torch.lerp((sharp + MIN_FOUND).log(), (found + MIN_FOUND).log(), REASSIGNED_SHARE)
        return sharp, torch.softmax(logits, dim=1)

    @property
    def _highest(self) -> int:
        """Bins that are factorised."""
        return max(self.config.num_bins, self.config.n_fft // 2)

    def factors(self, spectrum: Tensor, masks: Tensor, *, later: bool = False) -> Factors:
        """What explains the stems of a window, given as to ``forward``, in its first or later look.

        Its rows are bins, above ``num_bins`` and up to the model's highest one pooled.
        """
        num_bins = self.config.num_bins
        heard = masks[..., : self._highest, :] * spectrum[:, None, : self._highest].abs()
        rows = [heard[..., :num_bins, :]]
        pooled = (heard.shape[-2] - num_bins) // POOLED_BINS
        if pooled > 0:
            high = heard[..., num_bins : num_bins + pooled * POOLED_BINS, :]
            rows.append(high.unflatten(-2, (pooled, POOLED_BINS)).mean(dim=-2))
        parts, dtype = torch.cat(rows, dim=-2), mask_dtype(self, spectrum.device)
        if later:
            return factorise(parts, self.config.later_components, **LATER_LOOK, dtype=dtype)
        return factorise(parts, self.config.num_components, **FIRST_LOOK, dtype=dtype)


def spectrum_features(spectrum: Tensor) -> Tensor:
    """What is heard of a complex spectrum (B, bins, frames): (B, 6, bins, frames).

    A phase difference of neighbouring bins tells when in a window a sound is, that of neighbouring
    frames which frequency in a bin it has.
    """
    magnitude = spectrum.abs()
    level = magnitude.clamp(min=MIN_MAGNITUDE).log()[:, None]
    around = functional.avg_pool2d(
        level, (NEIGHBOURHOOD, 1), 1, (NEIGHBOURHOOD // 2, 0), count_include_pad=False
    )
    phase = spectrum / magnitude.clamp(min=1e-6)
    across_bins = phase[:, 1:] * phase[:, :-1].conj()
    bins = torch.arange(spectrum.shape[1], device=spectrum.device)
    turn = torch.polar(
        torch.ones_like(bins, dtype=torch.float32), -2 * math.pi / HOPS_PER_WINDOW * bins
    )
    over_time = phase[..., 1:] * phase[..., :-1].conj() * turn[:, None]
    differences = [
        functional.pad(torch.view_as_real(across_bins).permute(0, 3, 1, 2), (0, 0, 1, 0)),
        functional.pad(torch.view_as_real(over_time).permute(0, 3, 1, 2), (1, 0)),
    ]
    return torch.cat([(level + 1) / 2, level - around, *differences], dim=1)


class DilatedBlock(nn.Module):
    """Two 3 × 3 convolutions, the first of them dilated, beside a skip connection."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(cast(Tensor, self.conv2.bias))

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.conv1(functional.silu(hidden))
        update = self.conv2(functional.silu(update, inplace=True))  # tensors here are large
        return cast(Tensor, update.add_(hidden))
