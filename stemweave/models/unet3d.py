"""The paper's denoiser: a 3-D U-Net with stems as channels (Section 2.2; 305.17 M parameters).

The latent channel axis C is a third spatial axis: convolutions run over (C, H, W), resampling over
(H, W) only. The mixture's latents are added before every block. For inference on a CPU activations
lie in memory as ``models.winograd`` wants them, at shapes (B, channels, C, H, W) all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stemweave.models.part import Part
from stemweave.models.winograd import Convolution, from_rows, is_cpu_inference, rows_of


class UNet3D(Part):
    """Joint denoiser of S stems; predicts epsilon.

    Args:
        stems: names of the stems, in the order of the S axis.
        latent_channels: C of the autoencoder's latents.
        model_channels: base width (128 in the paper).
        channel_mult: width of each level as a multiple of the base width.
        num_res_blocks: residual blocks a level.
        attention_resolutions: downsampling rates at which attention follows each block.
        num_head_channels: channels of one attention head.
        known_stems: always False; given stems are replaced while sampling (the paper's way).
    """

    _no_split_modules: ClassVar[list[str]] = ["ResidualBlock", "AttentionBlock"]  # FSDP's units

    def __init__(
        self,
        stems: Sequence[str] = ("bass", "drums", "guitar", "piano"),
        latent_channels: int = 8,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 3, 5),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (8, 4, 2),
        num_head_channels: int = 32,
        known_stems: bool = False,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        num_stems, embedding = len(stems), 4 * model_channels
        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )

        def block(channels_in: int, channels_out: int, rate: int) -> list[nn.Module]:
            layers: list[nn.Module] = [ResidualBlock(channels_in, channels_out, embedding)]
            if rate in attention_resolutions:
                layers.append(AttentionBlock(channels_out, num_head_channels))
            return layers

        channels, rate = model_channels, 1
        self.input_blocks = nn.ModuleList(
            [nn.ModuleList([nn.Conv3d(num_stems, channels, 3, padding=1)])]
        )
        skip_channels = [channels]
        for level, multiple in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                width = multiple * model_channels
                self.input_blocks.append(nn.ModuleList(block(channels, width, rate)))
                channels = width
                skip_channels.append(channels)
            if level < len(channel_mult) - 1:
                self.input_blocks.append(nn.ModuleList([Downsample(channels)]))
                skip_channels.append(channels)
                rate *= 2
        self.middle_block = nn.ModuleList(
            [
                ResidualBlock(channels, channels, embedding),
                AttentionBlock(channels, num_head_channels),
                ResidualBlock(channels, channels, embedding),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(channel_mult))):
            for number in range(num_res_blocks + 1):
                width = multiple * model_channels
                layers = block(channels + skip_channels.pop(), width, rate)
                channels = width
                if level > 0 and number == num_res_blocks:
                    layers.append(Upsample(channels))
                    rate //= 2
                self.output_blocks.append(nn.ModuleList(layers))
        self.out = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv3d(channels, num_stems, 3, padding=1)
        )
        nn.init.zeros_(cast(nn.Conv3d, self.out[2]).weight)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        mixture: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Predicted noise (B, S, C, H, W).

        Args:
            latents: (B, S, C, H, W); H and W multiples of the coarsest level's stride.
            timestep: (B,) integers.
            mixture: latents of the mixture (B, C, H, W); None is the unconditional model.
            known: not understood by this network; must be None.

        Raises:
            ValueError: for ``known``, or one timestep per stem.
        """
        if known is not None or timestep.ndim != 1:
            raise ValueError(
                "UNet3D takes one timestep a sample and no known positions: hold given stems by "
                "replacement (diffusion.constraints.Replacement)"
            )
        embedding = self.time_embed(
            sinusoidal_embedding(timestep, self.config.model_channels).to(latents.dtype)
        )
        conditions = None if mixture is None else _Conditions(mixture)
        hidden, skips = laid_out(latents), []
        for layers in self.input_blocks:
            if conditions is not None:
                hidden = hidden + conditions.like(hidden)
            hidden = self._run(layers, hidden, embedding)
            skips.append(hidden)
        hidden = self._run(self.middle_block, hidden, embedding)
        for layers in self.output_blocks:
            hidden = joined(hidden, skips.pop())
            if conditions is not None:
                # the concatenation is new memory: nothing else sees the sum
                condition = conditions.like(hidden)
                hidden = hidden + condition if hidden.requires_grad else hidden.add_(condition)
            hidden = self._run(layers, hidden, embedding)
        return cast(Tensor, self.out(hidden))

    def _run(self, layers: nn.Module, hidden: Tensor, embedding: Tensor) -> Tensor:
        for layer in cast(nn.ModuleList, layers):
            arguments = (hidden, embedding) if isinstance(layer, ResidualBlock) else (hidden,)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                hidden = layer(*arguments)
        return hidden


class _Conditions:
    """The mixture's latents (B, 1, C, H, W) at the resolution of any activation, pooled once."""

    def __init__(self, mixture: Tensor) -> None:
        self._by_height = {mixture.shape[-2]: mixture[:, None]}
        self._coarsest = mixture[:, None]

    def like(self, hidden: Tensor) -> Tensor:
        """(B, 1, C, h, w), to be broadcast over all channels of ``hidden``."""
        height = hidden.shape[-2]
        while height not in self._by_height:
            self._coarsest = functional.avg_pool3d(self._coarsest, (1, 2, 2))
            self._by_height[self._coarsest.shape[-2]] = self._coarsest
        return self._by_height[height]


class ResidualBlock(nn.Module):
    """Two 3×3×3 convolutions with group norm; the timestep is added between them."""

    def __init__(self, channels_in: int, channels_out: int, embedding_channels: int) -> None:
        super().__init__()
        self.norm1 = Normalisation(32, channels_in)
        self.conv1 = Convolution(channels_in, channels_out, 3, padding=1)
        self.embed = nn.Linear(embedding_channels, channels_out)
        self.norm2 = Normalisation(32, channels_out)
        self.conv2 = Convolution(channels_out, channels_out, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        same = channels_in == channels_out
        self.skip = nn.Identity() if same else Pointwise(channels_in, channels_out, 1)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        update = _silu(self.norm1(hidden))
        update = self.conv1(update, self.embed(functional.silu(embedding)))
        update = self.conv2(_silu(self.norm2(update)))
        return _sum(update, self.skip(hidden))


class AttentionBlock(nn.Module):
    """Self-attention over all C·H·W positions, around a skip connection."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.num_heads = channels // head_channels
        self.norm = Normalisation(32, channels)
        self.qkv = PointwiseSequence(channels, 3 * channels, 1)
        self.project = PointwiseSequence(channels, channels, 1)
        nn.init.zeros_(self.project.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        return _sum(as_it_lies(self._update, hidden), hidden)

    def _update(self, hidden: Tensor) -> Tensor:
        batch, channels = hidden.shape[:2]
        qkv = self.qkv(self.norm(hidden).flatten(2))  # (B, 3 · channels, positions)
        qkv = qkv.reshape(batch, self.num_heads, 3, channels // self.num_heads, -1)
        # PyTorch's fused attention wants channels last: without the copy it is not taken, which
        # costs 13 times the time at 8192 positions and gigabytes for their pairs
        qkv = qkv.transpose(-1, -2).contiguous()
        query, key, value = qkv.unbind(dim=2)  # (B, heads, positions, channels)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(-1, -2).reshape(batch, channels, -1)
        return cast(Tensor, self.project(mixed)).reshape(hidden.shape)


class Downsample(nn.Module):
    """Halves H and W by a strided convolution; C is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, stride=(1, 2, 2), padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        return laid_out(self.conv(hidden))


class Upsample(nn.Module):
    """Doubles H and W by repetition, then convolves; C is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Convolution(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        doubled = partial(functional.interpolate, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
        return cast(Tensor, self.conv(as_it_lies(doubled, hidden)))


class Normalisation(nn.GroupNorm):
    """Group norm that leaves activations as they lie."""

    def forward(self, hidden: Tensor) -> Tensor:
        return as_it_lies(super().forward, hidden)


class Pointwise(nn.Conv3d):
    """A 1×1×1 convolution; on a CPU in inference a product of matrices, wherever channels lie."""

    def forward(self, hidden: Tensor) -> Tensor:
        if not is_cpu_inference(hidden):
            return super().forward(hidden)
        weight = self.weight[:, :, 0, 0, 0]
        return from_rows(functional.linear(rows_of(hidden), weight, self.bias))


class PointwiseSequence(nn.Conv1d):
    """A convolution of width 1 over (B, channels, positions), likewise."""

    def forward(self, sequence: Tensor) -> Tensor:
        if not is_cpu_inference(sequence):
            return super().forward(sequence)
        last = functional.linear(sequence.transpose(1, 2), self.weight[:, :, 0], self.bias)
        return last.transpose(1, 2)


def laid_out(activations: Tensor) -> Tensor:
    """``activations`` (B, channels, C, H, W) as they should lie in memory."""
    return from_rows(rows_of(activations)) if is_cpu_inference(activations) else activations


def as_it_lies(function: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
    """``function`` (the same for H and W) of ``hidden``, with the axes in the order in memory.

    PyTorch's own layers know "channels last" for that order alone, and copy anything else.
    """
    if hidden.stride(-2) >= hidden.stride(-1):
        return function(hidden)
    return function(hidden.transpose(-1, -2)).transpose(-1, -2)


def joined(hidden: Tensor, skip: Tensor) -> Tensor:
    """Both along the channels; new memory."""
    if is_cpu_inference(hidden):
        return from_rows(torch.cat([rows_of(hidden), rows_of(skip)], dim=-1))
    return torch.cat([hidden, skip], dim=1)


def _silu(fresh: Tensor) -> Tensor:
    """SiLU, in the memory of ``fresh`` if no gradient will ask for it."""
    return functional.silu(fresh, inplace=not torch.is_grad_enabled())


def _sum(fresh: Tensor, other: Tensor) -> Tensor:
    """Their sum, in the memory of ``fresh`` if no gradient will ask for it."""
    if torch.is_grad_enabled() or fresh.dtype != other.dtype:
        return fresh + other
    return fresh.add_(other)


def sinusoidal_embedding(timestep: Tensor, channels: int) -> Tensor:
    """Cosines, then sines, of ``timestep`` (B,) at frequencies 1 … 1/10000: (B, channels)."""
    half = channels // 2
    frequencies = torch.exp(
        -math.log(10_000.0) * torch.arange(half, device=timestep.device).float() / half
    )
    phases = timestep.float()[:, None] * frequencies
    return torch.cat([phases.cos(), phases.sin()], dim=-1)
