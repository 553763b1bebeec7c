"""MSDM, the multi-source diffusion model (Mariani et al., arXiv 2302.02257): one waveform diffusion
model of all stems as channels, for generation, partial generation and separation.

Network inputs and outputs are stems (B, S, T). The U-Net is built of the ``a-unet`` package, by the
authors of the network that the paper took.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from baselines.baseline import Baseline
from baselines.multi_source_sampling import (
    Derivative,
    dirac_posterior,
    gaussian_posterior,
    karras_sigmas,
    prior,
    sample,
    with_sum,
)
from stemweave.errors import InputError

GAUSSIAN_WIDTH = 0.75 * math.sqrt(2)
SIGMA_MIN = 1e-4


class WaveformUNet(nn.Module):
    """1-D U-Net of ``a-unet``: residual blocks modulated by the noise level, attention below.

    Raises:
        InputError: if the ``a_unet`` package is not installed.
    """

    def __init__(
        self,
        num_stems: int,
        channels: Sequence[int],
        factors: Sequence[int],
        blocks: Sequence[int],
        attentions: Sequence[int],
        attention_heads: int,
        attention_features: int,
        modulation_features: int,
    ) -> None:
        super().__init__()
        try:
            from a_unet import NumberEmbedder
            from a_unet.apex import (
                AttentionItem,
                ModulationItem,
                ResnetItem,
                SkipModulate,
                XBlock,
                XUNet,
            )
        except ImportError as error:
            raise InputError(
                f"the msdm baseline needs the a-unet package ({error}): run 'make baselines'"
            ) from error
        self.embedding = nn.Sequential(
            NumberEmbedder(modulation_features),
            nn.GELU(),
            nn.Linear(modulation_features, modulation_features),
            nn.GELU(),
        )
        levels = zip(channels, factors, blocks, attentions, strict=True)
        self.network = XUNet(
            dim=1,
            in_channels=num_stems,
            blocks=[
                XBlock(
                    channels=width,
                    factor=factor,
                    items=[ResnetItem, ModulationItem, *[AttentionItem] * attention] * count,
                )
                for width, factor, count, attention in levels
            ],
            skip_t=SkipModulate,
            upsample_mode="transpose",
            attention_heads=attention_heads,
            attention_features=attention_features,
            modulation_features=modulation_features,
            resnet_groups=8,
        )

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, S, T) from x (B, S, T) and a number for each noise level (B,)."""
        return self.network(x, features=self.embedding(level))


class MSDM(Baseline):
    """Denoiser of all stems, in the parametrisation of Karras et al. (arXiv 2206.00364, table 1).

    Args:
        stems: names of the stems.
        sample_rate: Hz.
        reference_rms: level of mixtures in training.
        channels, factors, blocks, attentions: of each level: width, shortening in time before it,
            residual blocks each way, whether attention follows each of them.
        attention_heads, attention_features: heads and their width.
        modulation_features: width of the noise level's embedding.
        sigma_data: deviation of the stems' samples. Published: 0.2.
        sigma_log_mean, sigma_log_std: of the noise levels in training. Published: -3, 1.
        num_steps, corrections, churn: sampling; published 150 steps, one correction, 20.
        separation_sigma, generation_sigma: largest noise levels of sampling. Published: 1, 3.
    """

    title: ClassVar[str] = "MSDM"
    methods: ClassVar[dict[str, str]] = {", Dirac": "dirac", ", Gaussian": "gaussian"}

    @register_to_config
    def __init__(
        self,
        stems: Sequence[str],
        sample_rate: int = 16000,
        reference_rms: float | None = 0.1,
        channels: Sequence[int] = (96, 192, 256, 256),
        factors: Sequence[int] = (16, 4, 4, 2),
        blocks: Sequence[int] = (1, 2, 2, 2),
        attentions: Sequence[int] = (0, 0, 1, 1),
        attention_heads: int = 4,
        attention_features: int = 64,
        modulation_features: int = 256,
        sigma_data: float = 0.05,
        sigma_log_mean: float = -3.0,
        sigma_log_std: float = 1.0,
        num_steps: int = 50,
        corrections: int = 0,
        churn: float = 20.0,
        separation_sigma: float = 1.0,
        generation_sigma: float = 3.0,
    ) -> None:
        super().__init__()
        self.network = WaveformUNet(
            len(stems),
            channels,
            factors,
            blocks,
            attentions,
            attention_heads,
            attention_features,
            modulation_features,
        )
        self.num_steps = num_steps
        self.num_stems = len(stems)

    @property
    def sample_multiple(self) -> int:
        """The network takes a multiple of so many samples."""
        return math.prod(self.config.factors)

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Expected clean stems (B, S, T) of ``noisy`` ones with noise levels ``sigma`` (B,)."""
        data = self.config.sigma_data
        level = sigma[:, None, None]
        total = (level**2 + data**2).sqrt()
        estimate = self.network(noisy / total, sigma.log() / 4).float()
        return (data / total) ** 2 * noisy + level * data / total * estimate

    def loss(self, network: nn.Module, stems: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error of the denoised stems, weighted to be of equal size at all noise levels."""
        config = self.config
        log_sigma = torch.randn(len(stems), generator=generator) * config.sigma_log_std
        sigma = (log_sigma + config.sigma_log_mean).exp().to(stems.device)
        noise = torch.randn(stems.shape, generator=generator).to(stems.device)
        level = sigma[:, None, None]
        weight = (level**2 + config.sigma_data**2) / (level * config.sigma_data) ** 2
        error = network(stems + level * noise, sigma) - stems
        return (weight * error.square()).mean()

    def validation_figures(self, stems: Tensor, generator: torch.Generator) -> dict[str, float]:
        """The training loss on held-out stems: sampling would take too long."""
        return {"val_loss": self.loss(self, stems, generator).item()}

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """As ``forward`` with one noise level for the whole batch."""
        return self(x, sigma.expand(len(x)))

    def separate(
        self, mixture: Tensor, generator: torch.Generator, method: str = "dirac"
    ) -> Tensor:
        """Stems (S, T) that explain ``mixture`` (T,), by the posterior ``method``."""
        padded = nn.functional.pad(mixture, (0, -len(mixture) % self.sample_multiple))
        target = padded[None, None]
        if method == "dirac":
            derivative = dirac_posterior(self.denoise, target)
        elif method == "gaussian":
            derivative = gaussian_posterior(self.denoise, target, GAUSSIAN_WIDTH)
        else:
            raise ValueError(f"method must be dirac or gaussian, not {method}")
        stems = self._sample(derivative, target.shape[-1], self.config.separation_sigma, generator)
        if method == "dirac":
            stems = with_sum(stems, target, 0)
        return stems[0, :, : len(mixture)]

    def generate(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """New stems (S, T) of ``num_samples`` (total generation)."""
        return self._generate(num_samples, generator)[0, :, :num_samples]

    def arrange(self, stems: Tensor, given: Tensor, generator: torch.Generator) -> Tensor:
        """Stems (S, T) with those of the mask ``given`` (S,) as in ``stems`` (S, T), the rest new
        (partial generation)."""
        num_samples = stems.shape[-1]
        padded = nn.functional.pad(stems, (0, -num_samples % self.sample_multiple))
        return self._generate(num_samples, generator, (padded[None], given))[0, :, :num_samples]

    def _generate(
        self,
        num_samples: int,
        generator: torch.Generator,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        length = num_samples + -num_samples % self.sample_multiple
        sigma = self.config.generation_sigma
        return self._sample(prior(self.denoise), length, sigma, generator, known)

    def _sample(
        self,
        derivative: Derivative,
        num_samples: int,
        sigma_max: float,
        generator: torch.Generator,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        sigmas = karras_sigmas(self.num_steps, SIGMA_MIN, sigma_max)
        noise = torch.randn(1, self.num_stems, num_samples, generator=generator)
        return sample(
            derivative,
            sigma_max * noise,
            sigmas,
            generator,
            churn=self.config.churn,
            corrections=self.config.corrections,
            known=known,
        )
