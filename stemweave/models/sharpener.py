"""Full-resolution refinement of masks: from mel bands to single bins of the mixture's spectrum.

A mel band holds up to twenty bins, which may belong to harmonics of different instruments. This
network adds to the logits of the mel masks what magnitudes, phase differences and a non-negative
matrix factorisation of the window (``audio.factorisation``) say of single bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.audio.factorisation import Factors, factorise
from stemweave.audio.masking import HOPS_PER_WINDOW
from stemweave.models.acceleration import mask_dtype, mask_precision
from stemweave.models.log_mel import front_end_misfits
from stemweave.models.part import Part

MIN_MAGNITUDE = 1e-3
"""Of bins, at the model's level; smaller ones count as this."""
MIN_MASK = 1e-6
NEIGHBOURHOOD = 31
"""Bins (240 Hz) whose mean a bin's level is compared with."""
SPECTRUM = ("sample_rate", "n_fft")
"""What it must have in common with the log-mel."""
SPECTRUM_CHANNELS = 6
"""Level, level over its neighbourhood's, cosine and sine of two phase differences."""
POOLED_BINS = 8
"""Bins above ``num_bins`` that are averaged to one row of what is factorised."""
MIN_NMF_MASK = 1e-4
"""Added to the factorisation's masks before their logarithm."""
FIRST_PASS: dict[str, Any] = {"starts": 4, "joint_iterations": 3, "seed": 0}
"""Arguments of ``factorise`` in the first pass."""
SECOND_PASS: dict[str, Any] = {"starts": 1, "joint_iterations": 6, "seed": 1}
"""The same of the second, whose better masks and many components leave less to chance."""
COMPONENT_SHARE = 0.4
"""Weight of the component-wise masks in the logits of the result."""


class MaskSharpener(Part):
    """Convolutions at the spectrum's resolution → soft masks of S stems that add up to one.

    Args:
        num_stems: S.
        num_bins: those sharpened, from 0 Hz on, without the one at half of the sampling rate.
        channels: width of all layers.
        dilations: of each residual block's first convolution, in bins and frames.
        num_components: spectra of each stem in the factorisation of a window; 0 does without.
        later_components: the same of a second pass, which factorises what the first one made and
            refines the mel masks once more; the mean of both is taken. 0: one pass.
        sample_rate, n_fft: of the spectra it is trained with. Others must have bins as wide.
    """

    exact = False
    """Computes in float32 everywhere, also where the CPU is faster in bfloat16."""

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
        mask_channels = 2 * num_stems if num_components else num_stems
        self.conv_in = nn.Conv2d(SPECTRUM_CHANNELS + mask_channels, channels, 3, padding=1)
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
        """Refined masks (B, S, bins, frames) for the mixture's spectrum (B, bins, frames).

        Args:
            spectrum: complex, of windows four hops long, at the model's level and scale.
            masks: mel masks on the spectrum's grid (B, S, bins, frames). Bins from ``num_bins`` on
                keep them; there may be fewer.
            factors: those of a longer window of which this is a piece; by default the window's own.
        """
        masks, num_bins = masks.float(), min(self.config.num_bins, spectrum.shape[-2])
        # oneDNN's gradients of dilated convolutions in bfloat16 are NaN, or crash, on some CPUs
        with torch.autocast(spectrum.device.type, enabled=False):
            prior = masks[..., :num_bins, :].clamp(min=MIN_MASK).log()
            difference = []
            if self.config.num_components:
                nmf_masks = (factors or self.factors(spectrum, masks)).truncated(num_bins).masks()
                log_ratio = (nmf_masks + MIN_NMF_MASK).log() - prior
                prior = torch.log_softmax(prior + log_ratio / 2, dim=1)  # geometric mean of both
                difference = [log_ratio.clamp(-4, 4) / 2]
            log_masks = (prior + math.log(self.config.num_stems)).clamp(min=-6) / 2
            features = spectrum_features(spectrum[:, :num_bins])
            hidden = torch.cat([features, log_masks, *difference], dim=1).to(self.dtype)
            with mask_precision(self, spectrum.device):
                hidden = self.conv_in(hidden.contiguous(memory_format=torch.channels_last))
                hidden = self.blocks(hidden.add_(self.bin_embedding[:, :num_bins].to(hidden.dtype)))
                change = self.conv_out(functional.silu(hidden, inplace=True))
            refined = torch.softmax(prior + change.float(), dim=1)
            return self._with_upper_bins(refined, masks)

    def sharpen(self, spectrum: Tensor, masks: Tensor) -> Tensor:
        """``forward`` of a whole window and component-wise masks of the result, in two passes.

        Refined masks show better which stem a component of the factorisation belongs to, and give a
        better factorisation, with which the second pass begins. Inputs may be on any device; the
        result is on that of ``masks``.
        """
        device, wanted = next(self.parameters()).device, masks.device
        spectrum, masks = spectrum.to(device), masks.to(device)
        if not self.config.num_components:
            return cast(Tensor, self(spectrum, masks)).to(wanted)
        refined, result = self._pass(spectrum, masks, self.factors(spectrum, masks))
        if self.config.later_components:
            second = self._second_factors(spectrum, masks, result)
            result = self._pass(spectrum, masks, second, refined)[1]
        return self._with_upper_bins(result, masks).to(wanted)

    def second_factors(self, spectrum: Tensor, masks: Tensor) -> Factors:
        """The factors that the second pass of a window begins with; inputs as for ``forward``."""
        _, result = self._pass(spectrum, masks, self.factors(spectrum, masks))
        return self._second_factors(spectrum, masks, result)

    def _second_factors(self, spectrum: Tensor, masks: Tensor, result: Tensor) -> Factors:
        factorised = masks[..., : self._num_factorised_bins, :]
        result = self._with_upper_bins(result, factorised)
        return self.factors(spectrum, result, is_second=True)

    def _with_upper_bins(self, refined: Tensor, masks: Tensor) -> Tensor:
        """``refined`` masks, and above them the mel masks."""
        return torch.cat([refined, masks[..., refined.shape[-2] :, :]], dim=2)

    def _pass(
        self, spectrum: Tensor, masks: Tensor, factors: Factors, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Masks of one pass (the mean with those ``before`` it), and the same with components.

        Both are of the refined bins only. The second ones mix the logits of component-wise masks
        in, so that all frames in which a spectrum sounds decide together.
        """
        num_bins = min(self.config.num_bins, spectrum.shape[-2])
        spectrum = spectrum[:, :num_bins]
        refined: Tensor = self(spectrum, masks[..., :num_bins, :], factors)
        refined = refined.to(spectrum.device)  # an offloaded model answers from elsewhere
        if before is not None:
            refined = torch.lerp(before, refined, 0.5)
        magnitudes = refined * spectrum[:, None].abs()
        by_component = factors.truncated(num_bins).component_masks(magnitudes)
        logits = torch.lerp(
            (refined + MIN_NMF_MASK).log(), (by_component + MIN_NMF_MASK).log(), COMPONENT_SHARE
        )
        return refined, torch.softmax(logits, dim=1)

    @property
    def _num_factorised_bins(self) -> int:
        return max(self.config.num_bins, self.config.n_fft // 2)

    def factors(self, spectrum: Tensor, masks: Tensor, *, is_second: bool = False) -> Factors:
        """The factorisation of a window's masked magnitudes, for its first or second pass.

        Inputs are as for ``forward``. Rows are bins; bins from ``num_bins`` on are pooled.
        """
        num_bins, highest = self.config.num_bins, self._num_factorised_bins
        magnitudes = masks[..., :highest, :] * spectrum[:, None, :highest].abs()
        rows = [magnitudes[..., :num_bins, :]]
        pooled = (magnitudes.shape[-2] - num_bins) // POOLED_BINS
        if pooled > 0:
            high = magnitudes[..., num_bins : num_bins + pooled * POOLED_BINS, :]
            rows.append(high.unflatten(-2, (pooled, POOLED_BINS)).mean(dim=-2))
        parts, dtype = torch.cat(rows, dim=-2), mask_dtype(self, spectrum.device)
        if is_second:
            return factorise(parts, self.config.later_components, **SECOND_PASS, dtype=dtype)
        return factorise(parts, self.config.num_components, **FIRST_PASS, dtype=dtype)


def spectrum_features(spectrum: Tensor) -> Tensor:
    """Features (B, 6, bins, frames) of a complex spectrum (B, bins, frames).

    Log-magnitude, the same relative to neighbouring bins, and phase differences: those of bins tell
    where in the window a sound is, those of frames its frequency within the bin.
    """
    magnitude = spectrum.abs()
    level = magnitude.clamp(min=MIN_MAGNITUDE).log()[:, None]
    neighbours = functional.avg_pool2d(
        level, (NEIGHBOURHOOD, 1), 1, (NEIGHBOURHOOD // 2, 0), count_include_pad=False
    )
    phase = spectrum / magnitude.clamp(min=1e-6)
    across_bins = phase[:, 1:] * phase[:, :-1].conj()
    bins = torch.arange(spectrum.shape[1], device=spectrum.device)
    # a bin's centre frequency turns the phase by this much from frame to frame
    advance = torch.polar(
        torch.ones_like(bins, dtype=torch.float32), -2 * math.pi / HOPS_PER_WINDOW * bins
    )
    over_time = phase[..., 1:] * phase[..., :-1].conj() * advance[:, None]
    differences = [
        functional.pad(torch.view_as_real(across_bins).permute(0, 3, 1, 2), (0, 0, 1, 0)),
        functional.pad(torch.view_as_real(over_time).permute(0, 3, 1, 2), (1, 0)),
    ]
    return torch.cat([(level + 1) / 2, level - neighbours, *differences], dim=1)


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
