"""The paper's denoiser: a 3-D U-Net with stems as channels (Section 2.2; 305.17 M parameters).

The latent channel axis C is a third spatial axis: convolutions run over (C, H, W), resampling over
(H, W) only. The mixture's latents are added to the activations before every block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class UNet3D(ModelMixin, ConfigMixin):
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

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["ResidualBlock", "AttentionBlock"]  # FSDP's units

    @register_to_config
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
        hidden, skips = latents, []
        for layers in self.input_blocks:
            if conditions is not None:
                hidden = hidden + conditions.like(hidden)
            hidden = self._run(layers, hidden, embedding)
            skips.append(hidden)
        hidden = self._run(self.middle_block, hidden, embedding)
        for layers in self.output_blocks:
            hidden = torch.cat([hidden, skips.pop()], dim=1)
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
        self.norm1 = nn.GroupNorm(32, channels_in)
        self.conv1 = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.embed = nn.Linear(embedding_channels, channels_out)
        self.norm2 = nn.GroupNorm(32, channels_out)
        self.conv2 = nn.Conv3d(channels_out, channels_out, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        same = channels_in == channels_out
        self.skip = nn.Identity() if same else nn.Conv3d(channels_in, channels_out, 1)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        update = self.conv1(functional.silu(self.norm1(hidden)))
        update = update + self.embed(functional.silu(embedding))[:, :, None, None, None]
        update = self.conv2(functional.silu(self.norm2(update)))
        return cast(Tensor, self.skip(hidden) + update)


class AttentionBlock(nn.Module):
    """Self-attention over all C·H·W positions, around a skip connection.

    Each head's query, key and value channels lie side by side in the projection.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.num_heads = channels // head_channels
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.project = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, channels = hidden.shape[:2]
        qkv = self.qkv(self.norm(hidden).flatten(2))  # (B, 3 · channels, positions)
        qkv = qkv.reshape(batch, self.num_heads, 3, channels // self.num_heads, -1)
        # PyTorch's fused attention wants channels last: without the copy it is not taken, which
        # costs 13 times the time at 8192 positions and gigabytes for their pairs
        qkv = qkv.transpose(-1, -2).contiguous()
        query, key, value = qkv.unbind(dim=2)  # (B, heads, positions, channels)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(-1, -2).reshape(batch, channels, -1)
        return hidden + self.project(mixed).reshape(hidden.shape)


class Downsample(nn.Module):
    """Halves H and W by a strided convolution; C is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, stride=(1, 2, 2), padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.conv(hidden))


class Upsample(nn.Module):
    """Doubles H and W by repetition, then convolves; C is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        doubled = functional.interpolate(hidden, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
        return cast(Tensor, self.conv(doubled))


def sinusoidal_embedding(timestep: Tensor, channels: int) -> Tensor:
    """Cosines, then sines, of ``timestep`` (B,) at frequencies 1 … 1/10000: (B, channels)."""
    half = channels // 2
    frequencies = torch.exp(
        -math.log(10_000.0) * torch.arange(half, device=timestep.device).float() / half
    )
    phases = timestep.float()[:, None] * frequencies
    return torch.cat([phases.cos(), phases.sin()], dim=-1)
