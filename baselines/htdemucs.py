"""Hybrid Transformer Demucs (Rouard et al., "Hybrid Transformers for Music Source Separation",
ICASSP 2023, arXiv 2211.08553): the network of the ``demucs`` package at a small size.

The network has two U-Nets, over samples and over the complex spectrum, that a transformer joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from baselines.baseline import Baseline
from stemweave.errors import InputError


class SmallHTDemucs(Baseline):
    """``demucs.htdemucs.HTDemucs`` for mono, trained by its own L1 loss on waveforms.

    Args:
        stems: names of the stems.
        sample_rate: Hz.
        reference_rms: level of mixtures in training. The network is blind to it.
        segment_s: length of training crops; longer input is taken in such pieces that overlap by a
            quarter. Published: 7.8 s.
        n_fft: samples, above 1024. Published: 4096 at 44.1 kHz (93 ms). 1536 at 16 kHz is 96 ms.
        channels: of the first level, doubled at each of four. Published: 48.
        transformer_channels: width of the transformer; 0 for that of the last level. Published
            network: 512.
        transformer_layers: published: 5.
        transformer_heads: published: 8.

    Raises:
        InputError: if the ``demucs`` package is not installed.
    """

    title: ClassVar[str] = "HTDemucs, small"

    @register_to_config
    def __init__(
        self,
        stems: Sequence[str],
        sample_rate: int = 16000,
        reference_rms: float | None = 0.1,
        segment_s: float = 5.12,
        n_fft: int = 1536,
        channels: int = 24,
        transformer_channels: int = 0,
        transformer_layers: int = 3,
        transformer_heads: int = 4,
    ) -> None:
        super().__init__()
        try:
            from demucs.htdemucs import HTDemucs
        except ImportError as error:
            raise InputError(
                f"the htdemucs baseline needs the demucs package ({error}): run 'make baselines'"
            ) from error
        self.network = HTDemucs(
            list(stems),
            audio_channels=1,
            channels=channels,
            nfft=n_fft,
            bottom_channels=transformer_channels,
            t_layers=transformer_layers,
            t_heads=transformer_heads,
            samplerate=sample_rate,
            segment=segment_s,
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Stems (B, S, T) of mixtures (B, T)."""
        return self.network(mixture[:, None])[:, :, 0]

    def loss(self, network: nn.Module, stems: Tensor, generator: torch.Generator) -> Tensor:
        """Mean absolute error of the samples, as published."""
        return functional.l1_loss(network(stems.sum(1)), stems)

    def separate(self, mixture: Tensor, generator: torch.Generator, method: str = "") -> Tensor:
        """As the package does it: pieces of ``segment_s``, cross-faded; no random shifts."""
        from demucs.apply import apply_model

        segment_s = self.config.segment_s  # training leaves its own in the network
        stems = apply_model(self.network, mixture[None, None], shifts=0, segment=segment_s)
        return stems[0, :, 0]
