"""3×3×3 convolutions with a quarter of the multiplications, for inference on a CPU.

Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308) over the two short axes, C and W of
the latents; oneDNN convolves the long one, H. Along a short axis the outputs are ``output @
((weight @ w) * (input @ x))``: six products give four outputs of a filter with three taps, three
give both outputs of an axis of two. The points 0, ±1, 1/2, -2 and infinity keep rounding small
(Barabasz et al., arXiv 1803.10986). Activations lie in memory as (B, C, W, H, channels).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2))
TILE = len(POINTS) - 1
"""Outputs of one tile: one less than there are points, infinity not counted."""
SCRATCH_BYTES = 24 * 2**20
"""Transformed activations held at once: below the size at which the C library asks the system for
fresh pages every time (32 MB), which costs more than the arithmetic."""
TRANSFORMED_AT_ONCE = 4
"""Output channels."""
MIN_CHANNELS = 16
"""Below, transforms cost more than they save."""


class Filtering(NamedTuple):
    """Minimal filtering of one axis of n positions in T tiles of P products, zeros around it."""

    weight: Tensor
    """(P, 3)."""
    input: Tensor
    """(P · T, n), products first."""
    output: Tensor
    """(n, P · T), products first."""
    tiles: int
    unit: int
    """The product whose factor is 1 in all of its tile's outputs: constants are added to it."""


def can_filter(length: int) -> bool:
    """Whether an axis of so many positions can be filtered."""
    return length == 2 or length % TILE == 0


@lru_cache
def filtering(length: int) -> Filtering:
    """Matrices for an axis of ``length`` positions (``can_filter``), in float64."""
    if length == 2:
        # (w1 x0 + w2 x1, w0 x0 + w1 x1) with the product w1 (x0 + x1) shared
        rows = [[0, 1, 0], [0, -1, 1], [1, -1, 0]], [[1, 1], [0, 1], [1, 0]], [[1, 1, 0], [1, 0, 1]]
        weight, inputs, outputs = (torch.tensor(row, dtype=torch.float64) for row in rows)
        return Filtering(weight, inputs, outputs, 1, 0)
    tile_output, weight, tile_input = tile_matrices()
    products, tiles = len(weight), length // TILE
    inputs = torch.zeros(products, tiles, length + 2, dtype=torch.float64)
    outputs = torch.zeros(length, products, tiles, dtype=torch.float64)
    for tile in range(tiles):
        start = tile * TILE
        inputs[:, tile, start : start + TILE + 2] = tile_input
        outputs[start : start + TILE, :, tile] = tile_output
    inputs = inputs[:, :, 1:-1].reshape(products * tiles, length)
    return Filtering(weight, inputs, outputs.flatten(1), tiles, POINTS.index(Fraction(1)))


def tile_matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Output (4, 6), weight (6, 3) and input (6, 6) matrices of one tile.

    Polynomials are multiplied by their values at points and at infinity; filtering is the transpose
    of multiplying.
    """

    def values(coefficients: int) -> list[list[Fraction]]:
        at_infinity = [Fraction(0)] * (coefficients - 1) + [Fraction(1)]
        return [[point**power for power in range(coefficients)] for point in POINTS] + [at_infinity]

    def matrix(rows: list[list[Fraction]]) -> Tensor:
        return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)

    interpolation = torch.linalg.inv(matrix(values(TILE + 2)))
    return matrix(values(TILE)).T, matrix(values(3)), interpolation.T


class Convolution(nn.Conv3d):
    """nn.Conv3d that is fast in inference on a CPU if it is 3×3×3, of stride 1, zeros around.

    Weights are transformed at every call, a tenth of the time: kept, they would be four times as
    large as the weights, 3 GB of the paper's network.
    """

    def is_fast(self, inputs: Tensor) -> bool:
        """Whether ``filtered`` may stand for this convolution of ``inputs`` (B, C_in, C, H, W)."""
        shape = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups)
        return (
            is_cpu_inference(inputs)
            and shape == ((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1)
            and self.padding_mode == "zeros"
            and self.weight.device.type == "cpu"
            and self.weight.dtype == torch.float32
            and min(self.in_channels, self.out_channels) >= MIN_CHANNELS
            and can_filter(inputs.shape[2])
            and can_filter(inputs.shape[4])
        )

    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """(B, C_in, C, H, W) → (B, C_out, C, H, W), plus the constants ``added`` (B, C_out)."""
        if self.is_fast(inputs):
            return self.filtered(inputs, added)
        outputs = super().forward(inputs)
        return outputs if added is None else outputs + added[:, :, None, None, None]

    def filtered(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """``forward`` by minimal filtering; best for inputs that lie as ``rows_of`` wants them."""
        rows = rows_of(inputs)
        outputs = rows.new_empty(*rows.shape[:-1], self.out_channels)
        weights = transform_weights(self.weight.detach(), *rows.shape[1:3])
        for sample, out in enumerate(outputs):
            constants = self.bias
            if added is not None:
                constants = added[sample] if constants is None else constants + added[sample]
            _filter(rows[sample], weights, constants, out)
        return from_rows(outputs)


def transform_weights(weight: Tensor, depth: int, width: int) -> Tensor:
    """Weights (C_out, C_in, 3, 3, 3) as (P_W, P_C, C_out, C_in, 3), for products of both axes.

    A few outputs at a time: what is sorted anew then stays in the processor's caches.
    """
    along_c, along_w = filtering(depth).weight.float(), filtering(width).weight.float()
    both = torch.kron(along_w, along_c)  # (P_W · P_C, 9)
    channels_out, channels_in = weight.shape[:2]
    transformed = weight.new_empty(len(both), channels_out, 3, channels_in)
    for start in range(0, channels_out, TRANSFORMED_AT_ONCE):
        rows = slice(start, start + TRANSFORMED_AT_ONCE)
        taps = weight[rows].permute(4, 2, 0, 3, 1).reshape(9, -1)
        transformed[:, rows] = (both @ taps).view(len(both), -1, 3, channels_in)
    return transformed.view(len(along_w), len(along_c), *transformed.shape[1:]).transpose(-1, -2)


def is_cpu_inference(inputs: Tensor) -> bool:
    """Whether float32 ``inputs`` are on a CPU and no gradient, trace or other type is wanted."""
    return (
        inputs.device.type == "cpu"
        and inputs.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def rows_of(activations: Tensor) -> Tensor:
    """(B, channels, C, H, W) as (B, C, W, H, channels), copied only if it lies differently."""
    return activations.permute(0, 2, 4, 3, 1).contiguous()


def from_rows(rows: Tensor) -> Tensor:
    """The inverse of ``rows_of``; never a copy."""
    return rows.permute(0, 4, 1, 3, 2)


def _filter(rows: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Convolve ``rows`` (C, W, H, C_in) of one sample into ``out`` (C, W, H, C_out)."""
    depth, width, height, channels_in = rows.shape
    channels_out = out.shape[-1]
    along_c, along_w = filtering(depth), filtering(width)
    into_c, into_w, from_c, from_w = (
        matrix.float() for matrix in (along_c.input, along_w.input, along_c.output, along_w.output)
    )
    products_w, products_c = weights.shape[:2]
    tiles_w, tiles_c = along_w.tiles, along_c.tiles
    products = products_w * tiles_w * products_c * tiles_c
    step = max(16, SCRATCH_BYTES // (4 * products * max(channels_in, channels_out)) - 2)
    for start in range(0, height, step):
        stop = min(height, start + step)
        first, last = max(0, start - 1), min(height, stop + 1)
        size = last - first
        part = rows[:, :, first:last].flatten(2)
        part = torch.bmm(into_w.expand(depth, -1, -1), part)
        part = part.view(depth, products_w, -1).transpose(0, 1)
        part = torch.bmm(into_c.expand(products_w, -1, -1), part)
        part = part.view(products_w, products_c, tiles_c * tiles_w, 1, size, channels_in)
        multiplied = rows.new_empty(
            products_w, products_c, tiles_c * tiles_w, 1, size, channels_out
        )
        for w in range(products_w):
            for c in range(products_c):
                constants = bias if (w, c) == (along_w.unit, along_c.unit) else None
                multiplied[w, c] = functional.conv2d(
                    part[w, c].permute(0, 3, 1, 2),
                    weights[w, c][:, :, None],
                    constants,
                    padding=(0, 1),
                ).permute(0, 2, 3, 1)
        halved = rows.new_empty(depth, products_w, tiles_w * size * channels_out)
        torch.bmm(
            from_c.expand(products_w, -1, -1),
            multiplied.view(products_w, products_c * tiles_c, -1),
            out=halved.transpose(0, 1),
        )
        halved = halved.view(depth, products_w * tiles_w, size, channels_out)
        valid = halved[:, :, start - first : stop - first].flatten(2)
        torch.bmm(from_w.expand(depth, -1, -1), valid, out=out[:, :, start:stop].flatten(2))
