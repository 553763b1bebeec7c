"""The mask network: separation masks on the mel grid from the mixture's spectrum.

It is trained on the waveform error of the masks alone and needs no diffusion: the denoiser works on
latents that are coarser than the mel grid and is trained for other tasks, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.acceleration import mask_precision
from stemweave.models.compact import SelfAttention
from stemweave.models.convolution import Convolution
from stemweave.models.earlier_versions import PIXELS
from stemweave.models.fine_spectra import FINE_CHANNELS, FineSpectra
from stemweave.models.log_mel import front_end_misfits
from stemweave.models.part import Part

FRONT_END = ("num_mels", "sample_rate", "hop_length", "win_length", "log_floor")
"""What it must have in common with the log-mel."""


class MaskRefiner(Part):
    """U-Net over time × mel bands → soft masks of S stems that add up to one.

    Args:
        num_stems: S.
        num_mels: M.
        block_channels: width of each level. The first level has half the time and mel resolution
            of the spectra, every further one half of that.
        blocks_per_level: residual blocks on the way down and on the way up, each.
        attention_levels: levels whose last block is followed by self-attention.
        level_repeats: how often each level's blocks, with what follows them, come one after another
            on the way down and on the way up; None: once. A repetition changes nothing before it is
            trained, so weights of a network without it go on with it.
        head_channels: channels of one attention head.
        mel_mean, mel_std: of log-mels, to normalise the mixture.
        fine: take the mixture's ``FineSpectra`` beside its log-mel.
        sample_rate, hop_length, win_length, log_floor: of the log-mel, for ``FineSpectra``.
        band_mixers: add to every block a layer that is dense over its bands, for what harmonics
            far apart have in common.
        shifts: frames, even ones. ``separate`` gives the mean of the masks of the mixture that
            many frames later, which lies otherwise on the grids of the coarser levels.
        stems: names of the S masks; None: those of the model's denoiser.
    """

    exact = False
    """Computes in float32 everywhere, also where the CPU is faster in bfloat16 (0.001 in masks)."""

    def __init__(
        self,
        num_stems: int = 4,
        num_mels: int = 128,
        block_channels: Sequence[int] = (64, 96, 160, 256),
        blocks_per_level: int = 1,
        attention_levels: Sequence[int] = (3,),
        head_channels: int = 32,
        mel_mean: float = -4.7,
        mel_std: float = 2.1,
        shifts: Sequence[int] = (0,),
        fine: bool = False,
        band_mixers: bool = False,
        level_repeats: Sequence[int] | None = None,
        sample_rate: int = 16000,
        hop_length: int = 320,
        win_length: int = 2048,
        log_floor: float = 1e-3,
        stems: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if stems is not None and len(stems) != num_stems:
            raise ValueError(f"num_stems is {num_stems}, but stems names {len(stems)}")
        front_end = (sample_rate, hop_length, num_mels, win_length, log_floor)
        self.fine_spectra = FineSpectra(*front_end) if fine else None
        self.fine_in = nn.Conv2d(FINE_CHANNELS, block_channels[0], 3, padding=1) if fine else None
        levels = range(len(block_channels))
        if any(shift < 0 or shift % 2 for shift in shifts) or not shifts:
            raise ValueError(f"shifts must be even frames from 0 on, not {shifts}")
        repeats = level_repeats or [1] * len(block_channels)
        if len(repeats) != len(block_channels) or min(repeats) < 1:
            raise ValueError(f"level_repeats must be one number from 1 on a level, not {repeats}")
        self.conv_in = nn.Conv2d(PIXELS, block_channels[0], 3, padding=1)
        self.band_embedding = nn.Parameter(torch.zeros(block_channels[0], 1, num_mels // 2))

        def make_blocks(level: int) -> list[nn.Module]:
            blocks: list[nn.Module] = [
                ResidualBlock(block_channels[level]) for _ in range(blocks_per_level)
            ]
            if band_mixers:
                blocks.append(BandMixer(block_channels[level], num_mels // 2 ** (level + 1)))
            if level in attention_levels:
                blocks.append(SelfAttention(block_channels[level], head_channels))
            return blocks

        def make_level(level: int) -> nn.Sequential:
            repetitions = [Repetition(*make_blocks(level)) for _ in range(repeats[level] - 1)]
            return nn.Sequential(*make_blocks(level), *repetitions)

        self.down_blocks = nn.ModuleList(make_level(level) for level in levels)
        self.downsamplers = nn.ModuleList(
            nn.Conv2d(4 * block_channels[i], block_channels[i + 1], 1) for i in levels[:-1]
        )
        self.up_blocks = nn.ModuleList(make_level(level) for level in levels)
        self.upsamplers = nn.ModuleList(
            nn.Conv2d(block_channels[i + 1], 4 * block_channels[i], 1) for i in levels[:-1]
        )
        self.norm_out = nn.GroupNorm(16, block_channels[0])
        self.conv_out = nn.Conv2d(block_channels[0], 4 * num_stems, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(cast(Tensor, self.conv_out.bias))

    @staticmethod
    def misfits(config: Any, mel: Any) -> list[str]:
        """What keeps a network of ``config`` from log-mels of ``mel``; empty if nothing."""
        names = FRONT_END if config["fine"] else FRONT_END[:1]
        return front_end_misfits("refiner", config, mel, names)

    @property
    def frame_multiple(self) -> int:
        """F must be a multiple of this."""
        return 2 ** len(self.down_blocks)

    def forward(self, mixture: Tensor, fine: Tensor | None = None) -> Tensor:
        """Masks (B, S, F, M) from log-mels of the mixture (B, F, M).

        ``fine`` are ``fine_spectra`` of the mixture, for a network that takes them; it raises
        ``ValueError`` without.
        """
        frames = mixture.shape[-2]
        padding = -frames % self.frame_multiple
        if padding:
            mixture = functional.pad(mixture, (0, 0, 0, padding), mode="replicate")
        level = (mixture - self.config.mel_mean) / self.config.mel_std
        with mask_precision(self, mixture.device):
            logits = functional.pixel_shuffle(self._network(level[:, None], fine), 2).float()
        return torch.softmax(logits, dim=1)[..., :frames, :]

    def fine_of(self, waveform: Tensor) -> Tensor | None:
        """``fine`` for ``forward``, of mono mixtures (B, T); None if the network takes none."""
        return None if self.fine_spectra is None else self.fine_spectra(waveform)

    def separate(self, mixture: Tensor, waveform: Tensor) -> Tensor:
        """The mean of ``forward`` over all ``shifts``.

        ``waveform`` (B, T) is the mono mixture that ``mixture`` (B, F, M) is the log-mel of.
        """
        fine = self.fine_of(waveform)
        shifted = [self._shifted(mixture, fine, shift) for shift in self.config.shifts]
        return torch.stack(shifted).mean(dim=0)

    def _shifted(self, mixture: Tensor, fine: Tensor | None, shift: int) -> Tensor:
        """Masks of the mixture ``shift`` frames later."""
        mixture = functional.pad(mixture, (0, 0, shift, 0), mode="replicate")
        if fine is not None:
            fine = functional.pad(fine, (0, 0, shift // 2, 0), mode="replicate")
        masks: Tensor = self(mixture, fine)
        return masks[..., shift:, :]

    def _normalised(self, fine: Tensor | None, like: Tensor) -> Tensor:
        """``fine`` spectra as the network takes them, padded to as many frames as ``like`` has."""
        if fine is None:
            raise ValueError("this mask network takes fine spectra, too: give those of the mixture")
        fine = functional.pad(fine, (0, 0, 0, like.shape[2] - fine.shape[2]), mode="replicate")
        fine = (fine - self.config.mel_mean) / self.config.mel_std
        return fine.to(like.dtype).contiguous(memory_format=torch.channels_last)

    def _network(self, spectra: Tensor, fine: Tensor | None) -> Tensor:
        hidden = functional.pixel_unshuffle(spectra.to(self.dtype), 2)
        hidden = self.conv_in(hidden.contiguous(memory_format=torch.channels_last))
        if self.fine_in is not None:
            hidden = hidden + self.fine_in(self._normalised(fine, hidden))
        hidden = hidden + self.band_embedding.to(hidden.dtype)
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            hidden = blocks(hidden)
            if level < len(self.downsamplers):
                skips.append(hidden)
                hidden = self.downsamplers[level](functional.pixel_unshuffle(hidden, 2))
        for level in reversed(range(len(self.up_blocks))):
            if level < len(self.upsamplers):
                hidden = functional.pixel_shuffle(self.upsamplers[level](hidden), 2)
                hidden = (hidden + skips.pop()) * math.sqrt(0.5)
            hidden = self.up_blocks[level](hidden)
        return self.conv_out(functional.silu(self.norm_out(hidden)))


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(16, channels)
        self.conv1 = Convolution(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(16, channels)
        self.conv2 = Convolution(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(cast(Tensor, self.conv2.bias))

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.conv1(functional.silu(self.norm1(hidden)))
        return hidden + self.conv2(functional.silu(self.norm2(update)))


class Repetition(nn.Sequential):
    """A level's blocks once more; they change nothing before they are trained."""


class BandMixer(nn.Module):
    """What every band adds to every other, the same in all channels, beside a skip connection."""

    def __init__(self, channels: int, num_bands: int) -> None:
        super().__init__()
        inner = max(16, num_bands // 2)
        self.norm = nn.GroupNorm(16, channels)
        self.gather = nn.Linear(num_bands, inner)
        self.spread = nn.Linear(inner, num_bands)
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        update = functional.silu(self.norm(hidden)).permute(0, 2, 3, 1)  # bands × channels
        update = torch.matmul(self.gather.weight, update) + self.gather.bias[:, None]
        update = torch.matmul(self.spread.weight, functional.silu(update))
        update = update + self.spread.bias[:, None]
        return hidden + update.permute(0, 3, 1, 2)
