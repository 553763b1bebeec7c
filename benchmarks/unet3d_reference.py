"""The paper's network as its description has it, over the weights of a ``UNet3D``: the baseline.

Plain contiguous activations, the pooled mixture repeated over all channels before every block,
attention as two products with a softmax in float32 between them, guidance by a batch that holds
the input twice.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.unet3d import (
    AttentionBlock,
    Downsample,
    ResidualBlock,
    UNet3D,
    sinusoidal_embedding,
)


def predict(network: UNet3D, latents: Tensor, timestep: Tensor, mixture: Tensor) -> Tensor:
    """``network(latents, timestep, mixture)``; a mixture of zeros is none."""
    phases = sinusoidal_embedding(timestep, network.config.model_channels)
    embedding = network.time_embed(phases.to(latents.dtype))
    hidden, skips = latents, []
    for layers in network.input_blocks:
        hidden = hidden + repeated(mixture, hidden)
        hidden = _through(layers, hidden, embedding)
        skips.append(hidden)
    hidden = _through(network.middle_block, hidden, embedding)
    for layers in network.output_blocks:
        hidden = torch.cat([hidden, skips.pop()], dim=1)
        hidden = hidden + repeated(mixture, hidden)
        hidden = _through(layers, hidden, embedding)
    norm, _, last = network.out
    return convolved(last, functional.silu(normalised(norm, hidden)))


def guided(
    network: UNet3D, latents: Tensor, timestep: Tensor, mixture: Tensor, guidance: float
) -> Tensor:
    """Both branches in one batch of twice the size."""
    both = torch.cat([mixture, torch.zeros_like(mixture)])
    twice = predict(network, torch.cat([latents, latents]), torch.cat([timestep, timestep]), both)
    conditional, unconditional = twice.chunk(2)
    return guidance * conditional + (1 - guidance) * unconditional


def repeated(mixture: Tensor, hidden: Tensor) -> Tensor:
    """Latents (B, C, H, W) of the mixture pooled to the size of ``hidden`` and repeated."""
    pooled = mixture[:, None]
    while pooled.shape[-2] > hidden.shape[-2]:
        pooled = functional.avg_pool3d(pooled, (1, 2, 2))
    return pooled.repeat(1, hidden.shape[1], 1, 1, 1)


def _through(layers: nn.Module, hidden: Tensor, embedding: Tensor) -> Tensor:
    for layer in cast(nn.ModuleList, layers):
        if isinstance(layer, ResidualBlock):
            hidden = residual(layer, hidden, embedding)
        elif isinstance(layer, AttentionBlock):
            hidden = attended(layer, hidden)
        elif isinstance(layer, Downsample):
            hidden = convolved(layer.conv, hidden, (1, 2, 2))
        elif isinstance(layer, nn.Conv3d):
            hidden = convolved(layer, hidden)
        else:
            doubled = functional.interpolate(hidden, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
            hidden = convolved(layer.conv, doubled)
    return hidden


def residual(block: ResidualBlock, hidden: Tensor, embedding: Tensor) -> Tensor:
    """``ResidualBlock``, every result in new memory."""
    update = convolved(block.conv1, functional.silu(normalised(block.norm1, hidden)))
    update = update + block.embed(functional.silu(embedding))[:, :, None, None, None]
    update = convolved(block.conv2, functional.silu(normalised(block.norm2, update)))
    if isinstance(block.skip, nn.Conv3d):
        hidden = functional.conv3d(hidden, block.skip.weight, block.skip.bias)
    return hidden + update


def attended(block: AttentionBlock, hidden: Tensor) -> Tensor:
    """``AttentionBlock`` with all pairs of positions in memory at once."""
    batch, channels = hidden.shape[:2]
    width = channels // block.num_heads
    flat = normalised(block.norm, hidden).flatten(2)
    qkv = functional.conv1d(flat, block.qkv.weight, block.qkv.bias)
    query, key, value = qkv.reshape(batch * block.num_heads, 3 * width, -1).split(width, dim=1)
    scale = 1 / math.sqrt(math.sqrt(width))
    pairs = torch.einsum("bct,bcs->bts", query * scale, key * scale)
    weights = torch.softmax(pairs.float(), dim=-1).to(value.dtype)
    mixed = torch.einsum("bts,bcs->bct", weights, value)
    update = functional.conv1d(
        mixed.reshape(batch, channels, -1), block.project.weight, block.project.bias
    )
    return hidden + update.reshape(hidden.shape)


def normalised(norm: Any, hidden: Tensor) -> Tensor:
    """Group norm as PyTorch has it."""
    return functional.group_norm(hidden, norm.num_groups, norm.weight, norm.bias, norm.eps)


def convolved(conv: Any, hidden: Tensor, stride: tuple[int, int, int] = (1, 1, 1)) -> Tensor:
    """A 3×3×3 convolution as PyTorch has it."""
    return functional.conv3d(hidden, conv.weight, conv.bias, stride, padding=1)
