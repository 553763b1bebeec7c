"""3×3 convolutions with a quarter of the multiplications, on CPUs, and a block of two of them.

Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308): 4×4 outputs of a tile come from the
6×6 inputs around them by 36 products in place of 144, gradients likewise. Numbers differ from the
plain convolution's by rounding, 3e-6 of the largest.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from stemweave.models.winograd import TILE, tile_matrices

PRODUCTS = (TILE + 2) ** 2
MIN_CHANNELS = 48
"""Below, transforms cost more than they save."""
MIN_TILES = 32
"""The same, of tiles in a batch; and transformed weights take memory and time at first."""
SCRATCH_BYTES = 4 * 2**20
"""Transformed inputs held at once in inference; they should stay in the processor's caches."""


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` that is fast in float32 on such a CPU if it is 3×3, of stride 1, zeros around.

    Other shapes are made by peft, of the layers that it adapts. In inference the transformed
    weights, four times as large as the weights, are kept from call to call.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._transformed = TransformedWeights()

    def is_filtered(self, inputs: Tensor) -> bool:
        """Whether minimal filtering convolves ``inputs`` (N, C_in, H, W)."""
        batch, _, height, width = inputs.shape
        tiles = batch * (height // TILE) * (width // TILE)
        return (
            inputs.device.type == "cpu"
            and self.bias is not None
            and (self.kernel_size, self.stride, self.padding) == ((3, 3), (1, 1), (1, 1))
            and (self.dilation, self.groups, self.padding_mode) == ((1, 1), 1, "zeros")
            and height % TILE == width % TILE == 0
            and tiles >= MIN_TILES
            and min(self.in_channels, self.out_channels) >= MIN_CHANNELS
            and inputs.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and gains_by_filtering()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C_out, H, W) of ``inputs`` (N, C_in, H, W)."""
        if not self.is_filtered(inputs):
            return super().forward(inputs)
        bias = cast(Tensor, self.bias)
        if torch.is_grad_enabled():
            return cast(Tensor, _Filtering.apply(inputs, self.weight, bias))
        weights = self._transformed.of(self.weight)
        return _filtered(inputs, weights, bias)

    def _apply(self, *arguments: Any, **options: Any) -> Any:
        self._transformed.kept = None  # to another device or type
        return super()._apply(*arguments, **options)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with group norm around a skip connection; shape (N, C, H, W) kept.

    ``begins_as_identity``: it changes nothing before it is trained.
    """

    def __init__(self, channels: int, num_groups: int, begins_as_identity: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, channels)
        self.conv1 = Convolution(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(num_groups, channels)
        self.conv2 = Convolution(channels, channels, 3, padding=1)
        if begins_as_identity:
            nn.init.zeros_(self.conv2.weight)
            nn.init.zeros_(cast(Tensor, self.conv2.bias))

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.conv1(functional.silu(self.norm1(hidden)))
        return hidden + self.conv2(functional.silu(self.norm2(update)))


@lru_cache(maxsize=1)
def gains_by_filtering() -> bool:
    """Whether the CPU is one whose plain convolutions are measured to be slower."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@lru_cache(maxsize=1)
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Of a tile's outputs (16, 36), weights (36, 9) and inputs (36, 36), rows before columns."""
    outputs, weights, inputs = (torch.kron(one, one).float() for one in tile_matrices())
    return outputs, weights, inputs


def _turned(matrix: Tensor, values: Tensor) -> Tensor:
    """(P, T, C): ``matrix`` (P, Q) times ``values``, whose axes are those of Q, of T and of C."""
    rows, columns = matrix.shape
    return (matrix @ values.reshape(columns, -1)).view(rows, -1, values.shape[-1])


class TransformedWeights:
    """Transformed weights of a layer, kept for as long as the weights are the same.

    That is: their place, their version, and, since ``weight.data`` can be changed unseen, a sample
    of their values. Copies and pickles of a layer start without.
    """

    def __init__(self) -> None:
        self.kept: tuple[tuple[object, ...], Tensor, Tensor] | None = None

    def of(self, weight: Tensor) -> Tensor:
        """``transform_weights`` of ``weight``."""
        weight = weight.detach()
        key = weight.data_ptr(), None if weight.is_inference() else weight._version
        as_in_memory = sorted(range(weight.ndim), key=weight.stride, reverse=True)
        values = weight.permute(as_in_memory).flatten()  # else a copy of all of them
        probe = values[:: max(1, weight.numel() // 64)].clone()
        if self.kept is None or self.kept[0] != key or not torch.equal(self.kept[1], probe):
            self.kept = None  # its memory is free for the next one
            self.kept = key, probe, transform_weights(weight)
        return self.kept[2]

    def __deepcopy__(self, memo: dict[int, Any]) -> TransformedWeights:
        return TransformedWeights()

    def __reduce__(self) -> tuple[type[TransformedWeights], tuple[()]]:
        return TransformedWeights, ()


def transform_weights(weight: Tensor) -> Tensor:
    """(36, C_in, C_out) of weights (C_out, C_in, 3, 3)."""
    _, taps, _ = _transforms()
    return _turned(taps, weight.permute(2, 3, 1, 0))


def _filtered(inputs: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """The convolution of ``inputs`` (N, C_in, H, W), a few rows of tiles at a time."""
    out_of, _, into = _transforms()
    batch, channels, height, width = inputs.shape
    tiles = _tiles_of(inputs)
    outputs = inputs.new_empty(batch, height // TILE, TILE, width // TILE, TILE, len(bias))
    row_bytes = 4 * PRODUCTS * (width // TILE) * channels
    step = max(1, SCRATCH_BYTES // row_bytes)
    for sample in range(batch):
        for start in range(0, height // TILE, step):
            rows = slice(start, start + step)
            some = tiles[:, :, sample, rows]
            values = _turned(out_of, torch.bmm(_turned(into, some), weights))
            values = values.view(TILE, TILE, *some.shape[2:4], len(bias))
            torch.add(values.permute(2, 0, 3, 1, 4), bias, out=outputs[sample, rows])
    return outputs.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _tiles_of(inputs: Tensor) -> Tensor:
    """View (6, 6, N, H / 4, W / 4, C) of the tiles of ``inputs`` (N, C, H, W), zeros around."""
    batch, channels, height, width = inputs.shape
    padded = inputs.new_zeros(batch, height + 2, width + 2, channels)
    padded[:, 1:-1, 1:-1] = inputs.permute(0, 2, 3, 1)
    sample, row, column, channel = padded.stride()
    return padded.as_strided(
        (TILE + 2, TILE + 2, batch, height // TILE, width // TILE, channels),
        (row, column, sample, TILE * row, TILE * column, channel),
    )


class _Filtering(torch.autograd.Function):
    """The convolution and its gradients, in transformed tiles."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out_of, _, into = _transforms()
        batch, _, height, width = inputs.shape
        tiles, weights = _turned(into, _tiles_of(inputs)), transform_weights(weight)
        values = _turned(out_of, torch.bmm(tiles, weights))
        grid = (batch, height // TILE, width // TILE)
        values = values.view(TILE, TILE, *grid, len(bias))
        outputs = values.permute(2, 3, 0, 4, 1, 5) + bias
        ctx.save_for_backward(tiles, weights)
        return outputs.reshape(batch, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        out_of, taps, into = _transforms()
        tiles, weights = ctx.saved_tensors
        batch, channels_out, height, width = gradient.shape
        grid = (batch, height // TILE, width // TILE)
        rows = gradient.permute(0, 2, 3, 1)
        of_bias = rows.sum((0, 1, 2)) if ctx.needs_input_grad[2] else None
        split = rows.reshape(grid[0], grid[1], TILE, grid[2], TILE, channels_out)
        products = _turned(out_of.T, split.permute(2, 4, 0, 1, 3, 5))
        of_weight = of_inputs = None
        if ctx.needs_input_grad[1]:
            of_taps = _turned(taps.T, torch.bmm(tiles.mT, products))
            of_weight = of_taps.view(3, 3, -1, channels_out).permute(3, 2, 0, 1)
        if ctx.needs_input_grad[0]:
            of_tiles = _turned(into.T, torch.bmm(products, weights.mT))
            of_inputs = _summed(of_tiles.view(TILE + 2, TILE + 2, *grid, -1))
        return of_inputs, of_weight, of_bias


def _summed(tiles: Tensor) -> Tensor:
    """(N, C, H, W), the sum of overlapping ``tiles``, which are as ``_tiles_of`` gives them."""
    _, _, batch, rows, columns, channels = tiles.shape
    tiles = tiles.permute(2, 3, 0, 4, 1, 5)
    total = tiles.new_zeros(batch, rows + 1, TILE, columns + 1, TILE, channels)
    total[:, :-1, :, :-1] = tiles[:, :, :TILE, :, :TILE]
    total[:, 1:, :2, :-1] += tiles[:, :, TILE:, :, :TILE]
    total[:, :-1, :, 1:, :2] += tiles[:, :, :TILE, :, TILE:]
    total[:, 1:, :2, 1:, :2] += tiles[:, :, TILE:, :, TILE:]
    whole = total.view(batch, TILE * (rows + 1), TILE * (columns + 1), channels)
    return whole[:, 1 : TILE * rows + 1, 1 : TILE * columns + 1].permute(0, 3, 1, 2)
