"""What each way to compute a part of the paper's network costs, one part at a time.

For every kind of layer the most frequent shape of each level is timed and scaled to all of the
level's layers, so a table needs seconds where whole passes would need minutes.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import unet3d_reference as reference
from stemweave.models.unet3d import AttentionBlock, Pointwise, ResidualBlock, UNet3D, joined
from stemweave.models.winograd import Convolution, from_rows, rows_of

Shape = tuple[int, int, int, int, int]
"""(channels in, channels out, C, H, W)"""
Ways = dict[str, float]
"""Seconds a pass of all layers of a kind, by the way in which they are computed."""


def run(config: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Seconds a pass for every part and way, and the rate of plain convolutions."""
    shapes = shapes_of(config, height, width)
    convolutions = total(shapes[Convolution], convolution_ways)
    plain_gflop = sum(gflop(shape) * count for shape, count in shapes[Convolution].items())
    parts: dict[str, Ways] = {
        "3×3×3 convolutions": convolutions,
        "attention": total(shapes[AttentionBlock], attention_ways),
        "residual blocks without their convolutions": total(shapes[ResidualBlock], block_ways),
        "1×1×1 convolutions": total(shapes[Pointwise], pointwise_ways),
        "adding the mixture": total(shapes[UNet3D], mixture_ways),
        "skip connections": total(shapes[Pointwise], skip_ways),
    }
    smallest = min(shapes[Convolution], key=gflop)
    block = shapes[ResidualBlock].most_common(1)[0][0]
    return {
        "parts": parts,
        "convolution_gflop_per_second": plain_gflop / convolutions[PLAIN],
        "bfloat16": bfloat16_ways(smallest),
        "compile": compile_ways(block),
    }


PLAIN = "plain"


def shapes_of(config: dict[str, Any], height: int, width: int) -> dict[type, Counter[Shape]]:
    """How often each layer meets each shape; the sums with the mixture under ``UNet3D``."""
    found: dict[type, Counter[Shape]] = defaultdict(Counter)

    def note(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        channels, *grid = arguments[0].shape[1:]
        found[type(module)][(channels, output.shape[1], *grid)] += 1  # type: ignore[index]

    with torch.device("meta"):
        network = UNet3D(**config)
        for module in network.modules():
            if isinstance(module, (Convolution, AttentionBlock, ResidualBlock, Pointwise)):
                module.register_forward_hook(note)
        for layers in (*network.input_blocks, *network.output_blocks):

            def note_sum(_: nn.Module, arguments: tuple[Any, ...], __: Any) -> None:
                channels, *grid = arguments[0].shape[1:]
                found[UNet3D][(channels, channels, *grid)] += 1

            layers[0].register_forward_hook(note_sum)
        grid = (network.config.latent_channels, height, width)
        network(torch.empty(1, len(network.config.stems), *grid), torch.empty(1), None)
    return found


def gflop(shape: Shape) -> float:
    """Of a 3×3×3 convolution."""
    channels_in, channels_out, *grid = shape
    return 54e-9 * channels_in * channels_out * grid[0] * grid[1] * grid[2]


def total(shapes: Counter[Shape], ways: Callable[[Shape], Ways]) -> Ways:
    """Seconds of all ``shapes``: a level's most frequent one stands for the level's others."""
    levels: dict[int, Counter[Shape]] = defaultdict(Counter)
    for shape, count in shapes.items():
        levels[shape[3]][shape] += count
    result: Ways = defaultdict(float)
    for members in levels.values():
        timed = members.most_common(1)[0][0]
        scale = sum(size(shape) * count for shape, count in members.items()) / size(timed)
        for way, seconds in ways(timed).items():
            result[way] += scale * seconds
    return dict(result)


def size(shape: Shape) -> int:
    """What the time of a layer is about proportional to, within a level."""
    return shape[0] * shape[1]


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Median after a first call."""
    call()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def contiguous_and_rows(shape: Shape) -> tuple[Tensor, Tensor]:
    """The same activations in either layout."""
    plain = torch.randn(1, shape[0], *shape[2:])
    return plain, from_rows(rows_of(plain))


def convolution_ways(shape: Shape) -> Ways:
    """Three-dimensional ones, in two-dimensional ones, and by minimal filtering."""
    plain, rows = contiguous_and_rows(shape)
    conv = Convolution(shape[0], shape[1], 3, padding=1)
    last = plain.contiguous(memory_format=torch.channels_last_3d)
    last_weight = conv.weight.contiguous(memory_format=torch.channels_last_3d)
    planes = plain[0].transpose(0, 1).contiguous(memory_format=torch.channels_last)
    taps = [
        conv.weight[:, :, tap].contiguous(memory_format=torch.channels_last) for tap in range(3)
    ]

    def planar() -> Tensor:
        output = functional.conv2d(planes, taps[1], conv.bias, padding=1)
        output[1:] += functional.conv2d(planes[:-1], taps[0], padding=1)
        output[:-1] += functional.conv2d(planes[1:], taps[2], padding=1)
        return output

    return {
        PLAIN: seconds(lambda: reference.convolved(conv, plain)),
        "channels last": seconds(
            lambda: functional.conv3d(last, last_weight, conv.bias, padding=1)
        ),
        "three 2-D convolutions": seconds(planar),
        "minimal filtering": seconds(lambda: conv(rows)),
    }


def attention_ways(shape: Shape) -> Ways:
    """All pairs at once, or PyTorch's fused attention."""
    plain, rows = contiguous_and_rows(shape)
    block = AttentionBlock(shape[0], min(32, shape[0]))
    return {
        PLAIN: seconds(lambda: reference.attended(block, plain), repeats=1),
        "scaled_dot_product_attention, plain layout": seconds(
            lambda: fused_attention(block, plain)
        ),
        "the same, channels last": seconds(lambda: block(rows)),
    }


def fused_attention(block: AttentionBlock, hidden: Tensor) -> Tensor:
    """The plain formulation with the fused kernel, heads' channels last as it wants them."""
    batch, channels = hidden.shape[:2]
    flat = reference.normalised(block.norm, hidden).flatten(2)
    qkv = functional.conv1d(flat, block.qkv.weight, block.qkv.bias)
    qkv = qkv.reshape(batch, block.num_heads, 3, channels // block.num_heads, -1)
    query, key, value = qkv.transpose(-1, -2).contiguous().unbind(dim=2)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    mixed = mixed.transpose(-1, -2).reshape(batch, channels, -1)
    update = functional.conv1d(mixed, block.project.weight, block.project.bias)
    return hidden + update.reshape(hidden.shape)


def block_ways(shape: Shape) -> Ways:
    """Norms, activations and sums in new memory, or in place with the timestep in the bias."""
    channels = shape[1]
    plain, rows = contiguous_and_rows((channels, *shape[1:]))
    norm = ResidualBlock(channels, channels, 8).norm1
    constants = torch.randn(1, channels, 1, 1, 1)
    fresh = rows.clone()

    def in_new_memory() -> Tensor:
        update = functional.silu(reference.normalised(norm, plain)) + constants
        return plain + functional.silu(reference.normalised(norm, update))

    def in_place() -> Tensor:
        functional.silu(norm(rows), inplace=True)
        return functional.silu(norm(rows), inplace=True).add_(fresh)

    return {PLAIN: seconds(in_new_memory), "in place, channels last": seconds(in_place)}


def pointwise_ways(shape: Shape) -> Ways:
    """A convolution, or a product of matrices."""
    plain, rows = contiguous_and_rows(shape)
    layer = Pointwise(shape[0], shape[1], 1)
    return {
        PLAIN: seconds(lambda: functional.conv3d(plain, layer.weight, layer.bias)),
        "linear, channels last": seconds(lambda: layer(rows)),
    }


def mixture_ways(shape: Shape) -> Ways:
    """Repeated over all channels, broadcast, or broadcast into the activations."""
    plain, rows = contiguous_and_rows(shape)
    pooled = torch.randn(1, *shape[2:])
    return {
        PLAIN: seconds(lambda: plain + reference.repeated(pooled, plain)),
        "broadcast": seconds(lambda: plain + pooled[:, None]),
        "broadcast, in place": seconds(lambda: rows.add_(pooled[:, None])),
    }


def skip_ways(shape: Shape) -> Ways:
    """Convolve the concatenation, or sum the convolutions of both halves (where there are two)."""
    half = shape[0] // 2
    _, rows = contiguous_and_rows(shape)
    first, second = (from_rows(rows_of(part)) for part in (rows[:, :half], rows[:, half:]))
    whole = Convolution(shape[0], shape[1], 3, padding=1)
    parts = [Convolution(part.shape[1], shape[1], 3, padding=1) for part in (first, second)]
    return {
        PLAIN: seconds(lambda: whole(joined(first, second))),
        "two convolutions, summed": seconds(lambda: parts[0](first).add_(parts[1](second))),
    }


def bfloat16_ways(shape: Shape) -> Ways:
    """One plain convolution in both types."""
    plain, _ = contiguous_and_rows(shape)
    conv = nn.Conv3d(shape[0], shape[1], 3, padding=1)
    half, conv_half = plain.bfloat16(), nn.Conv3d(shape[0], shape[1], 3, padding=1).bfloat16()
    return {
        "float32": seconds(lambda: conv(plain), 1),
        "bfloat16": seconds(lambda: conv_half(half), 1),
    }


def compile_ways(shape: Shape) -> Ways:
    """One residual block: ours, plain, and plain as torch.compile makes it."""
    plain, rows = contiguous_and_rows(shape)
    block = ResidualBlock(shape[0], shape[1], 512).eval()
    embedding = torch.randn(1, 512)
    torch.compiler.config.force_disable_caches = True
    compiled = torch.compile(block)
    began = time.perf_counter()
    compiled(plain, embedding)
    compiling_s = time.perf_counter() - began
    return {
        PLAIN: seconds(lambda: reference.residual(block, plain, embedding)),
        "torch.compile": seconds(lambda: compiled(plain, embedding)),
        "ours": seconds(lambda: block(rows, embedding)),
        "compiling": compiling_s,
    }


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; the first column is text, others stand right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def as_markdown(levers: dict[str, Any]) -> str:
    """Seconds a pass by part and way, and the two levers that were left."""
    rows = [
        (part, way, f"{taken:.2f}", f"{ways[PLAIN] / taken:.1f}")
        for part, ways in levers["parts"].items()
        for way, taken in ways.items()
    ]
    half, compiled = levers["bfloat16"], levers["compile"]
    return "\n\n".join(
        (
            table(("part", "way", "seconds a pass", "times faster"), rows),
            "The last way of each part is the one taken, but for the skip connections, whose "
            "concatenation is needed for the norm and the sum with the mixture.",
            f"bfloat16: one convolution takes {half['bfloat16'] / half['float32']:.1f} times as "
            "long as in float32 here.",
            f"torch.compile: a residual block takes {1000 * compiled['torch.compile']:.0f} ms "
            f"(plain {1000 * compiled[PLAIN]:.0f}, ours {1000 * compiled['ours']:.0f}), after "
            f"{compiled['compiling']:.0f} s of compiling.",
        )
    )
