"""The bundled model's denoiser: a 2-D U-Net over time × frequency of all stems' latents at once.

Stems and latent channels are input channels, beside the mixture's latents and a map of the given
positions (``known``). Every stem has its own timestep (MGE-LDM, arXiv 2505.23305, Section 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stemweave.models.conditions import ConditionNetwork, Conditions, Embedded, nothing_known
from stemweave.models.convolution import Convolution
from stemweave.models.part import Part

LONGEST_PERIOD = 1000.0
"""In positions, of what attention along time turns by."""


class CompactUNet(Part):
    """Joint denoiser of S stems that knows mixtures, given stems and given time ranges.

    Args:
        stems: names of the stems, in the order of the S axis.
        latent_channels: C of the autoencoder's latents.
        latent_bands: W, the latent positions along frequency.
        block_channels: width of each level; every level halves H and W.
        blocks_per_level: residual blocks on the way down and on the way up, each.
        attention_levels: levels whose blocks are followed by self-attention.
        time_attention_levels: levels whose ways down and up end with attention along time, which
            knows how far apart two positions are: bars are what lies a period away.
        max_log_mels: the largest log-mel of each stem in training: what is drawn is held below.
        head_channels: channels of one attention head.
        embedding_channels: width of the timestep embedding.
        dropout: inside residual blocks.
        known_stems: always True; says that ``known`` is understood.
        vocabulary: names and size of a ``ConditionNetwork``; None: no conditions are understood.
    """

    _no_split_modules: ClassVar[list[str]] = ["Block"]  # FSDP's units

    def __init__(
        self,
        stems: Sequence[str] = ("bass", "drums", "guitar", "piano"),
        latent_channels: int = 8,
        latent_bands: int = 32,
        block_channels: Sequence[int] = (128, 256, 256),
        blocks_per_level: int = 2,
        attention_levels: Sequence[int] = (2,),
        head_channels: int = 32,
        embedding_channels: int = 256,
        dropout: float = 0.0,
        known_stems: bool = True,
        time_attention_levels: Sequence[int] = (),
        max_log_mels: Sequence[float] | None = None,
        vocabulary: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        num_stems = len(stems)
        self.timestep_embedding = TimestepEmbedding(num_stems, embedding_channels)
        in_channels = (num_stems + 1) * latent_channels + num_stems + 1
        self.conv_in = nn.Conv2d(in_channels, block_channels[0], 3, padding=1)
        self.band_embedding = nn.Parameter(torch.zeros(block_channels[0], 1, latent_bands))

        def make_block(level: int) -> Block:
            return Block(
                block_channels[level],
                embedding_channels,
                head_channels if level in attention_levels else None,
                dropout,
            )

        def make_blocks(level: int) -> nn.ModuleList:
            blocks = nn.ModuleList(make_block(level) for _ in range(blocks_per_level))
            if level in time_attention_levels:
                blocks.append(TimeAttention(block_channels[level], head_channels))
            return blocks

        levels = range(len(block_channels))
        self.down_blocks = nn.ModuleList(make_blocks(level) for level in levels)
        self.downsamplers = nn.ModuleList(
            nn.Conv2d(block_channels[i], block_channels[i + 1], 3, stride=2, padding=1)
            for i in levels[:-1]
        )
        self.middle_block = make_block(len(block_channels) - 1)
        self.up_blocks = nn.ModuleList(make_blocks(level) for level in levels)
        self.upsamplers = nn.ModuleList(
            nn.Conv2d(block_channels[i + 1], 4 * block_channels[i], 1) for i in levels[:-1]
        )
        self.norm_out = nn.GroupNorm(16, block_channels[0])
        self.conv_out = nn.Conv2d(block_channels[0], num_stems * latent_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        self.conditions = None
        if vocabulary is not None:
            self.conditions = ConditionNetwork(
                stems, latent_bands, block_channels[0], embedding_channels, **vocabulary
            )

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        mixture: Tensor | None = None,
        known: Tensor | None = None,
        conditions: Conditions | Embedded | None = None,
    ) -> Tensor:
        """Prediction (B, S, C, H, W) of the scheduler's ``prediction_type``.

        Args:
            latents: (B, S, C, H, W), noisy, clean where ``known``.
            timestep: (B,) or one per stem (B, S), integers of the training schedule.
            mixture: latents of the mixture (B, C, H, W); None is the unconditional model. A
                sample whose mixture is all zeros counts as unconditional too.
            known: (B, S, H) bool, True where ``latents`` are given and clean.
            conditions: those of the B samples, or what ``self.conditions`` made of them; None:
                nothing is known.

        Raises:
            ValueError: if H or W is not a multiple of the coarsest level's stride.
        """
        batch, num_stems, channels, height, width = latents.shape
        stride = 2 ** len(self.downsamplers)
        if height % stride or width % stride:
            raise ValueError(f"latent grid {height} × {width} must be a multiple of {stride}")
        if timestep.ndim == 1:
            timestep = timestep[:, None].expand(batch, num_stems)
        if known is None:
            known = latents.new_zeros(batch, num_stems, height, dtype=torch.bool)
        known_map = known.to(latents.dtype)[..., None].expand(-1, -1, -1, width)
        if mixture is None:
            mixture = latents.new_zeros(batch, channels, height, width)
        has_mixture = (mixture != 0).flatten(1).any(1).to(latents.dtype)
        has_mixture = has_mixture[:, None, None, None].expand(-1, -1, height, width)
        hidden = torch.cat([latents.flatten(1, 2), mixture, known_map, has_mixture], dim=1)
        hidden = hidden.contiguous(memory_format=torch.channels_last)

        embedding = self.timestep_embedding(timestep)
        hidden = self.conv_in(hidden)
        hidden = hidden + self.band_embedding.to(hidden.dtype)
        if self.conditions is not None:
            if conditions is None:
                conditions = nothing_known(batch, num_stems, height).to(latents.device)
            if isinstance(conditions, Conditions):
                conditions = cast(Embedded, self.conditions(conditions))
            hidden = hidden + conditions[0].to(hidden.dtype)
            embedding = embedding + conditions[1].to(embedding.dtype)
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            for block in cast(nn.ModuleList, blocks):
                hidden = self._run(block, hidden, embedding)
            skips.append(hidden)
            if level < len(self.downsamplers):
                hidden = self.downsamplers[level](hidden)
        hidden = self._run(self.middle_block, hidden, embedding)
        for level in reversed(range(len(self.up_blocks))):
            if level < len(self.upsamplers):
                hidden = functional.pixel_shuffle(self.upsamplers[level](hidden), 2)
            hidden = (hidden + skips.pop()) * math.sqrt(0.5)
            for block in cast(nn.ModuleList, self.up_blocks[level]):
                hidden = self._run(block, hidden, embedding)
        out = self.conv_out(functional.silu(self.norm_out(hidden)))
        return out.float().reshape(batch, num_stems, channels, height, width)

    def _run(self, block: nn.Module, hidden: Tensor, embedding: Tensor) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, hidden, embedding, use_reentrant=False)
        return block(hidden, embedding)


class TimestepEmbedding(nn.Module):
    """Sinusoids of each stem's timestep (B, S), concatenated → embedding (B, E)."""

    NUM_FREQUENCIES = 64

    def __init__(self, num_stems: int, embedding_channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(num_stems * 2 * self.NUM_FREQUENCIES, embedding_channels),
            nn.SiLU(),
            nn.Linear(embedding_channels, embedding_channels),
            nn.SiLU(),
        )

    def forward(self, timestep: Tensor) -> Tensor:
        exponents = torch.arange(self.NUM_FREQUENCIES, device=timestep.device)
        frequencies = torch.exp(-math.log(10_000.0) * exponents / self.NUM_FREQUENCIES)
        phases = timestep.float()[..., None] * frequencies
        sinusoids = torch.cat([phases.sin(), phases.cos()], dim=-1)  # (B, S, 2 · frequencies)
        dtype = next(self.project.parameters()).dtype
        return self.project(sinusoids.flatten(1).to(dtype))


class Block(nn.Module):
    """Residual block with the timestep as scale and shift, then optional self-attention."""

    def __init__(
        self, channels: int, embedding_channels: int, head_channels: int | None, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(16, channels)
        self.conv1 = Convolution(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding_channels, 2 * channels)
        self.norm2 = nn.GroupNorm(16, channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = Convolution(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        self.attention = SelfAttention(channels, head_channels) if head_channels else None

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        update = self.conv1(functional.silu(self.norm1(hidden)))
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, dim=1)
        update = functional.silu(self.norm2(update) * (1 + scale) + shift)
        hidden = hidden + self.conv2(self.dropout(update))
        return hidden if self.attention is None else self.attention(hidden)


class Attention(nn.Module):
    """Layers of multi-head attention, and what tokens take from each other by them."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.norm = nn.GroupNorm(16, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def attend(self, tokens: Tensor, angles: Tensor | None = None) -> Tensor:
        """Update of ``tokens`` (N, L, channels); ``angles`` (L, head channels / 2): ``turned``."""
        count, length, channels = tokens.shape
        qkv = self.qkv(tokens).reshape(count, length, 3, -1, self.head_channels)
        qkv = qkv.permute(2, 0, 3, 1, 4)
        query, key = qkv[:2] if angles is None else turned(qkv[:2], angles)
        mixed = attention(query, key, qkv[2])
        return cast(Tensor, self.project(mixed.transpose(1, 2).reshape(count, length, channels)))


class SelfAttention(Attention):
    """Multi-head self-attention over all H·W positions, around a skip connection."""

    def forward(self, hidden: Tensor) -> Tensor:
        batch, channels, height, width = hidden.shape
        tokens = self.norm(hidden).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        update = self.attend(tokens)
        return hidden + update.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class TimeAttention(Attention):
    """Multi-head self-attention along time in every band, around a skip connection.

    Queries and keys are turned by their position (rotary embedding, arXiv 2104.09864). Takes a
    timestep embedding to stand among blocks, and does not use it.
    """

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        batch, _, height, width = hidden.shape
        tokens = self.norm(hidden).permute(0, 3, 2, 1).flatten(0, 1)  # (B·W, H, channels)
        update = self.attend(tokens, self.angles(height, hidden.device))
        return hidden + update.unflatten(0, (batch, width)).permute(0, 3, 2, 1)

    def angles(self, height: int, device: torch.device) -> Tensor:
        """Angles (H, head channels / 2); periods from 2 positions to the longest."""
        pairs = torch.arange(self.head_channels // 2, device=device) / (self.head_channels // 2)
        frequencies = math.pi * (2 / LONGEST_PERIOD) ** pairs
        return torch.arange(height, device=device)[:, None] * frequencies


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention of (N, heads, L, head channels).

    PyTorch's own takes four times as long in training in bfloat16 on CPUs.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or not query.requires_grad:
        return functional.scaled_dot_product_attention(query, key, value)
    weights = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-2, -1)).softmax(dim=-1)
    return torch.matmul(weights, value)


def turned(vectors: Tensor, angles: Tensor) -> Tensor:
    """``vectors`` (..., H, c), halves of which are points' coordinates, turned by ``angles``."""
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    exchanged = vectors.roll(vectors.shape[-1] // 2, dims=-1)
    return vectors * torch.cat([cos, cos], dim=-1) + exchanged * torch.cat([-sin, sin], dim=-1)
