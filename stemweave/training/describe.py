"""Shapes, parameters and memory of what settings describe, without allocating any of it.

Networks are built on the meta device. Activations are measured: one training step runs on tensors
without contents, and PyTorch's tracker follows what would be alive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from stemweave.models.vae import strides_of
from stemweave.training.networks import (
    autoencoder_in,
    make_autoencoder,
    make_denoiser,
    make_refiner,
    make_sharpener,
    make_vocoder,
)
from stemweave.training.settings import RunSettings

BYTES_PER_WEIGHT = {
    "weights": 4,
    "gradients": 4,
    "AdamW's moments": 8,
    "running average": 4,
}
"""All in float32, also with mixed precision."""
BUCKET_BYTES_PER_WEIGHT = 4
"""Gradients once more: what DistributedDataParallel sends."""
GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """Estimated GiB of the denoiser's training on each GPU.

    Attributes:
        num_gpus: processes.
        state: weights, gradients, AdamW's moments, running average (and buckets of several GPUs).
        activations: kept for the backward pass, with everything temporary beside them.
        gathered: whole weights and gradients of two units of a sharded network.
        total: of all of them.
    """

    num_gpus: int
    sharded: bool
    gradient_checkpointing: bool
    state: float
    activations: float
    gathered: float
    total: float


@dataclass(frozen=True)
class Description:
    """What ``describe`` finds; shapes are (frames, bands) and (C, H, W)."""

    parameters: dict[str, int]
    segment_s: float
    log_mel_shape: tuple[int, int]
    latent_shape: tuple[int, int, int]
    batch_size: int
    memory: list[Memory]


def describe(settings: RunSettings, num_gpus: int = 1, measure: bool = True) -> Description:
    """Sizes of the networks, and the memory that training the denoiser takes on each GPU.

    ``measure`` False leaves the memory out, which takes most of the time.

    Raises:
        InputError: if a network cannot be built from its settings.
    """
    mel = settings.log_mel
    with torch.device("meta"):
        vae = autoencoder_in(make_autoencoder(settings))
        denoiser = make_denoiser(settings, vae)
        networks = {"vae": vae, "denoiser": denoiser, "vocoder": make_vocoder(settings)}
        if settings.refiner.model:
            networks["refiner"] = make_refiner(settings)
        if settings.sharpener.model:
            networks["sharpener"] = make_sharpener(settings)
    time_stride, mel_stride = strides_of(vae.config)
    grid = (mel.segment_frames // time_stride, mel.num_mels // mel_stride)
    return Description(
        parameters={name: count(network) for name, network in networks.items()},
        segment_s=mel.segment_frames * mel.hop_length / mel.sample_rate,
        log_mel_shape=(mel.segment_frames, mel.num_mels),
        latent_shape=(denoiser.config.latent_channels, *grid),
        batch_size=settings.denoiser.batch_size,
        memory=_memory(settings, denoiser, num_gpus) if measure else [],
    )


def _memory(settings: RunSettings, denoiser: Any, num_gpus: int) -> list[Memory]:
    weights = count(denoiser)
    state = sum(BYTES_PER_WEIGHT.values()) * weights
    buckets = BUCKET_BYTES_PER_WEIGHT * weights if num_gpus > 1 else 0
    gathered = 2.0 * 2 * 4 * largest_unit(denoiser)
    ways: list[tuple[bool, float, float]] = [(False, state + buckets, 0.0)]
    if num_gpus > 1:
        ways.append((True, state / num_gpus, gathered))
    rows = []
    for checkpointing in (False, True):
        activations = activation_bytes(settings, checkpointing) / GIB
        for sharded, held, extra in ways:
            total = held / GIB + activations + extra / GIB
            memory = Memory(
                num_gpus, sharded, checkpointing, held / GIB, activations, extra / GIB, total
            )
            rows.append(memory)
    return rows


def count(network: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def largest_unit(network: Any) -> int:
    """Parameters of the largest block that FSDP gathers at once."""
    names = network._no_split_modules
    return max(count(module) for module in network.modules() if type(module).__name__ in names)


def activation_bytes(settings: RunSettings, gradient_checkpointing: bool) -> int:
    """Most bytes beside weights and gradients while the denoiser learns from one batch.

    The batch has ``crop_frames`` frames. Attention is counted as the CPU computes it.
    """
    stage, mel = settings.denoiser, settings.log_mel
    with FakeTensorMode():
        vae = autoencoder_in(make_autoencoder(settings))
        network = make_denoiser(settings, vae)
        network.gradient_checkpointing = gradient_checkpointing
        time_stride, mel_stride = strides_of(vae.config)
        grid = (stage.crop_frames // time_stride, mel.num_mels // mel_stride)
        channels = network.config.latent_channels
        latents = torch.zeros(stage.batch_size, len(settings.stems), channels, *grid)
        mixture = torch.zeros(stage.batch_size, channels, *grid)
        timestep = torch.zeros(stage.batch_size, dtype=torch.long)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, settings.mixed_precision == "bf16"):
                prediction = network(latents, timestep, mixture)
            (prediction.float() - latents).square().mean().backward()

        return _peak_activations(network, step)


def _peak_activations(network: nn.Module, step: Callable[[], None]) -> int:
    tracker = MemTracker()
    tracker.track_external(network)
    with tracker:
        step()
    peak = tracker.get_tracker_snapshot("peak")
    (figures,) = [figures for device, figures in peak.items() if device.type == "cpu"]
    kept = {getattr(kind, "value", kind): size for kind, size in figures.items()}
    return int(sum(kept[kind] for kind in ("Activation", "Temp", "Other")))


def as_text(description: Description) -> str:
    """The figures as lines for a terminal."""
    lines = [f"{'parameters':<12}{'millions':>10}"]
    for name, parameters in description.parameters.items():
        lines.append(f"{name:<12}{parameters / 1e6:>10.2f}")
    frames, bands = description.log_mel_shape
    channels, height, width = description.latent_shape
    lines += [
        f"window       {description.segment_s:.2f} s",
        f"log-mel      {frames} frames × {bands} bands",
        f"latents      {channels} channels × {height} × {width} a stem",
    ]
    if description.memory:
        lines += ["", f"GiB a GPU while the denoiser trains, batch {description.batch_size} a GPU"]
        lines.append(f"{'':<32}{'state':>8}{'activations':>13}{'gathered':>10}{'total':>8}")
    for row in description.memory:
        name = f"{row.num_gpus} GPU{'s' * (row.num_gpus > 1)}"
        name += ", sharded" if row.sharded else ", whole"
        name += ", checkpointing" if row.gradient_checkpointing else ""
        lines.append(
            f"{name:<32}{row.state:>8.1f}{row.activations:>13.1f}{row.gathered:>10.1f}"
            f"{row.total:>8.1f}"
        )
    return "\n".join(lines)


def as_json(description: Description) -> dict[str, Any]:
    """The figures for other programs."""
    return asdict(description)
