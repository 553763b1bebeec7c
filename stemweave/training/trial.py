"""A step of training without values and data: whether shapes fit, and what it takes.

Tensors are of PyTorch's meta device, which have shapes alone.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stemweave.errors import InputError
from stemweave.models.refiner import FINE_CHANNELS
from stemweave.models.vae import strides_of
from stemweave.stems import STEMS
from stemweave.training.networks import (
    autoencoder_in,
    make_analyser,
    make_autoencoder,
    make_denoiser,
    make_refiner,
    make_score_model,
    make_sharpener,
    make_vocoder,
)
from stemweave.training.settings import RunSettings

H100_FLOPS, UTILISATION = 989e12, 0.35
"""Peak of an H100 SXM in dense bfloat16 by its data sheet; share of it that training reaches."""
GIB = 2**30
OTHERS: dict[str, Callable[[RunSettings], nn.Module]] = {
    "sharpener": make_sharpener,
    "vocoder": make_vocoder,
    "score": lambda settings: make_score_model(settings, STEMS),
    "analyser": lambda settings: make_analyser(settings, ("4/4",)),
}
"""Networks that are made without a trial of their inputs."""


def network_and_inputs(
    part: str, settings: RunSettings, vae: Any = None, batch: int = 1
) -> tuple[Any, list[Any]]:
    """The network of ``part`` and what a batch of crops gives it, all without values.

    ``vae`` is the autoencoder of a denoiser's latents, by default that of the settings. Of
    sharpeners, vocoders, score models and analysers there are no inputs.

    Raises ``InputError`` if the settings describe no network of that part.
    """
    frames, bands = getattr(settings, part).crop_frames, settings.log_mel.num_mels
    with torch.device("meta"), torch.random.fork_rng([]):
        if part == "vae":
            return make_autoencoder(settings), [torch.zeros(batch, 1, frames, bands)]
        if part == "denoiser":
            vae = vae or autoencoder_in(make_autoencoder(settings))
            network = make_denoiser(settings, vae)
            time_stride, mel_stride = strides_of(vae.config)
            channels = settings.channels * vae.config.latent_channels
            if frames % time_stride or bands % mel_stride:
                raise InputError(
                    f"denoiser.crop_frames {frames} and log_mel.num_mels {bands} must be multiples "
                    f"of the autoencoder's patches, {time_stride} × {mel_stride}"
                )
            grid = channels, frames // time_stride, bands // mel_stride
            latents = torch.zeros(batch, len(settings.stems), *grid)
            timestep = torch.zeros(batch, dtype=torch.long)
            return network, [latents, timestep, torch.zeros(batch, *grid)]
        if part == "refiner":
            refiner = make_refiner(settings)
            fine = torch.zeros(batch, FINE_CHANNELS, frames // 2, bands // 2)
            takes_fine = refiner.fine_spectra is not None
            if takes_fine and (frames % 2 or bands % 2):
                raise InputError(
                    f"refiner.crop_frames {frames} and log_mel.num_mels {bands} must be even "
                    "where refiner.model has fine spectra"
                )
            return refiner, [torch.zeros(batch, frames, bands), fine if takes_fine else None]
        return OTHERS[part](settings), []


def require_network(
    part: str, settings: RunSettings, vae: Any = None, device: str = "auto"
) -> None:
    """Raise ``InputError`` if no network of ``part`` follows from the settings, or none that their
    crops go through, or that ``device`` trains in their precision. No data is read.
    """
    if settings.mixed_precision == "fp16" and (
        device == "cpu" or not torch.accelerator.is_available()
    ):
        raise InputError("mixed_precision fp16 needs a GPU: set it to bf16 or to no")
    try:
        network, inputs = network_and_inputs(part, settings, vae)
        if inputs:
            network(*inputs)
    except NotImplementedError:  # asks for values
        return
    except InputError:
        raise
    except Exception as error:  # what a network raises at shapes that nobody meant
        crop = f"{part}.crop_frames {getattr(settings, part).crop_frames}"
        reason = " ".join(str(error).split())
        raise InputError(f"{crop} does not fit {part}.model and log_mel: {reason}") from error


class LiveBytes(TorchDispatchMode):
    """The most bytes of tensors made inside that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def gone(_: object) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def cost_of_step(network: nn.Module, inputs: list[Any]) -> tuple[float, float]:
    """FLOPs of a forward and a backward pass, and bytes of activations and gradients at most.

    Attention is counted with all its pairs in memory, which fused kernels do without.
    """
    from torch.utils.flop_counter import FlopCounterMode

    network.train()
    flops, live = FlopCounterMode(display=False), LiveBytes()
    with live, flops:
        made = network(*inputs)
        out = made[0] if isinstance(made, tuple) else made
        out.float().square().mean().backward()
    return float(flops.get_total_flops()), float(live.peak)


def flops_here(bfloat16: bool, seconds: float = 0.5) -> float:
    """FLOPs a second of matrix products on this machine, in float32 or bfloat16."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 4096 if device == "cuda" else 512
    matrix = torch.ones(size, size, device=device, dtype=torch.bfloat16 if bfloat16 else None)
    torch.matmul(matrix, matrix).sum().item()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        torch.matmul(matrix, matrix).sum().item()
        count += 1
    return 2 * size**3 * count / (time.monotonic() - began)


def forecast(part: str, settings: RunSettings, vae: Any = None) -> str:
    """What training of ``part`` (vae, denoiser, refiner) would take and need, as lines of text."""
    stage = getattr(settings, part)
    network, inputs = network_and_inputs(part, settings, vae, stage.batch_size)
    weights = sum(parameter.numel() for parameter in network.parameters())
    flops, working = cost_of_step(network, inputs)
    flops *= stage.accumulation_steps
    rate = flops_here(settings.mixed_precision == "bf16")
    here, h100 = (1000 * flops / one / 3600 for one in (rate, H100_FLOPS * UTILISATION))
    missing = [name for name in settings.data if not Path(name).exists() and "://" not in name]
    lines = [
        f"{part}: {weights / 1e6:.2f} M parameters; {stage.steps} steps of "
        f"{stage.accumulation_steps} × {stage.batch_size} crops of {stage.crop_frames} frames",
        f"memory: {(16 * weights + working) / GIB:.1f} GiB a process at most, float32, of which "
        f"{16 * weights / GIB:.1f} for weights, their average and AdamW's moments, "
        f"{working / GIB:.1f} for activations and gradients",
        f"a step: {flops / 1e12:.3g} TFLOP",
        f"1,000 steps: {_rounded(here)} hours here ({rate / 1e9:.0f} GFLOP/s of products), "
        f"{_rounded(h100)} hours on an H100 ({UTILISATION:.0%} of {H100_FLOPS / 1e12:.0f} TFLOP/s)",
        f"all steps: {_rounded(here * stage.steps / 24_000)} days here, "
        f"{_rounded(h100 * stage.steps / 24_000)} days on an H100",
        f"data: {', '.join(settings.data)}"
        + (f" (not here: {', '.join(missing)})" * bool(missing)),
    ]
    return "\n".join(lines)


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"
