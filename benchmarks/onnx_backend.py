"""ONNX Runtime beside PyTorch: the bundled networks on the same inputs, and both tasks end to end.

A ``--backend onnx`` would be worth its code from ``WORTH_IT`` on.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measuring import median_s, table
from benchmarks.songs import SAMPLE_RATE, WINDOW_S, read_song
from stemweave.model import load_model
from stemweave.models.vae import Decoded, Encoded, Posterior

WORTH_IT = 1.2
"""How many times faster a whole task must be for a second backend to be kept."""


class Denoise(nn.Module):
    """The denoiser without known positions; a mixture of zeros is none."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, latents: Tensor, timestep: Tensor, mixture: Tensor) -> Tensor:
        return self.denoiser(latents, timestep, mixture, None)


class Encode(nn.Module):
    """Moments of the posterior of a log-mel."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, log_mel: Tensor) -> Tensor:
        posterior = self.vae.encode(log_mel).latent_dist
        return torch.cat([posterior.mean, posterior.log_variance], dim=1)


class Decode(nn.Module):
    """Log-mel of latents."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents).sample


class Predict(nn.Module):
    """The vocoder's network; its inverse Fourier transform is not part of ONNX."""

    def __init__(self, vocoder: Any) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, log_mel: Tensor) -> Tensor:
        return torch.stack(self.vocoder.predict(log_mel))


def run(repeats: int = 5, steps: int | None = None, model: str | None = None) -> dict[str, Any]:
    """Milliseconds of every network and seconds of both tasks, with either library."""
    pipe = load_model(model)
    mixture = torch.from_numpy(read_song(min(WINDOW_S, pipe.segment_s)))
    networks: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        sessions = {}
        for name, (module, inputs) in networks_of(pipe).items():
            with in_float32(module):
                session = Session(module, inputs, Path(folder) / f"{name.replace(' ', '_')}.onnx")
                expected = module(*inputs)
            sessions[name] = session
            error = (session(*inputs) - expected).abs().max() / expected.abs().max()
            networks[name] = {
                "torch_s": median_s(partial(module, *inputs), repeats),
                "onnx_s": median_s(partial(session, *inputs), repeats),
                "relative_error": error.item(),
            }
        tasks = {
            "separate": lambda: pipe.separate(mixture, SAMPLE_RATE),
            "generate": lambda: pipe.generate(pipe.segment_s, steps=steps),
        }
        whole = {name: {"torch_s": median_s(task, repeats)} for name, task in tasks.items()}
        with replaced(pipe, sessions):
            for name, task in tasks.items():
                whole[name]["onnx_s"] = median_s(task, repeats)
    return {"networks": networks, "tasks": whole, "threads": torch.get_num_threads()}


@contextmanager
def in_float32(module: nn.Module) -> Iterator[None]:
    """A network of masks as other CPUs compute it: ONNX Runtime's have no bfloat16."""
    before = getattr(module, "exact", None)
    if before is not None:
        cast(Any, module).exact = True
    try:
        yield
    finally:
        if before is not None:
            cast(Any, module).exact = before


def networks_of(pipe: Any) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """Each network with inputs of the shapes that one window has."""
    stems, channels = len(pipe.stems), pipe.denoiser.config.latent_channels
    frames, bands = pipe.log_mel.config.segment_frames, pipe.log_mel.config.num_mels
    grid = (channels, pipe.window_positions, pipe.latent_bands)
    log_mel, latents = torch.randn(1, 1, frames, bands), torch.randn(stems, *grid)
    networks: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        "denoiser": (
            Denoise(pipe.denoiser),
            (latents[None], torch.tensor([500]), torch.randn(1, *grid)),
        ),
        "autoencoder: encode": (Encode(pipe.vae), (log_mel,)),
        "autoencoder: decode": (Decode(pipe.vae), (latents,)),
        "vocoder, without its inverse transform": (
            Predict(pipe.vocoder),
            (torch.randn(1, frames, bands),),
        ),
    }
    if pipe.refiner is not None:
        for shift in sorted({0, *pipe.refiner.config.shifts}):
            later, samples = frames + shift, shift * pipe.log_mel.config.hop_length
            waveform = 0.1 * torch.randn(1, pipe.log_mel.segment_samples + samples)
            inputs = [torch.randn(1, later, bands)]
            fine = pipe.refiner.fine_of(waveform)
            networks[refiner_name(shift)] = (
                pipe.refiner,
                tuple(inputs if fine is None else [*inputs, fine]),
            )
    return networks


def refiner_name(shift: int) -> str:
    """Of the mask refiner, for a window that begins ``shift`` frames later."""
    return f"mask refiner, {shift} frames later" if shift else "mask refiner"


class Session:
    """``module`` in ONNX Runtime, for inputs of the shapes of ``inputs``."""

    def __init__(self, module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
        import onnxruntime

        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with redirect_stdout(StringIO()), torch.inference_mode(False), torch.no_grad():
            plain = tuple(tensor.clone() for tensor in inputs)
            torch.onnx.export(module.eval(), plain, path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.names = [node.name for node in self.session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> Tensor:
        arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in inputs]
        (output,) = self.session.run(None, dict(zip(self.names, arrays, strict=True)))
        return torch.from_numpy(output)


@contextmanager
def replaced(pipe: Any, sessions: dict[str, Session]) -> Iterator[None]:
    """Both tasks with ``sessions`` in the place of the networks."""
    grid = (pipe.denoiser.config.latent_channels, pipe.window_positions, pipe.latent_bands)
    nothing = torch.zeros(1, *grid)

    def denoise(
        latents: Tensor, timestep: Tensor, mixture: Tensor | None, known: Tensor | None
    ) -> Tensor:
        return sessions["denoiser"](latents, timestep, nothing if mixture is None else mixture)

    def encode(log_mel: Tensor) -> Encoded:
        return Encoded(Posterior(sessions["autoencoder: encode"](log_mel)))

    def decode(latents: Tensor) -> Decoded:
        return Decoded(sessions["autoencoder: decode"](latents))

    def predict(log_mel: Tensor, *_: Tensor | None) -> tuple[Tensor, Tensor]:
        magnitude, phase = sessions["vocoder, without its inverse transform"](log_mel)
        return magnitude, phase

    def refine(mixture: Tensor, *others: Tensor | None) -> Tensor:
        name = refiner_name(mixture.shape[1] - pipe.log_mel.config.segment_frames)
        return sessions[name](mixture, *(tensor for tensor in others if tensor is not None))

    places: list[tuple[Any, str, Any]] = [
        (pipe.denoiser, "forward", denoise),
        (pipe.vae, "encode", encode),
        (pipe.vae, "decode", decode),
        (pipe.vocoder, "predict", predict),
    ]
    if pipe.refiner is not None:
        places.append((pipe.refiner, "forward", refine))
    for part, name, function in places:
        setattr(part, name, function)  # on the instance, where it hides the method
    try:
        yield
    finally:
        for part, name, _ in places:
            delattr(part, name)


def as_markdown(result: dict[str, Any]) -> str:
    """Networks, tasks and the verdict."""
    networks = [
        (
            name,
            f"{1000 * entry['torch_s']:.0f}",
            f"{1000 * entry['onnx_s']:.0f}",
            f"{entry['torch_s'] / entry['onnx_s']:.2f}",
            f"{entry['relative_error']:.0e}",
        )
        for name, entry in result["networks"].items()
    ]
    ratios = {name: entry["torch_s"] / entry["onnx_s"] for name, entry in result["tasks"].items()}
    tasks = [
        (name, f"{entry['torch_s']:.2f}", f"{entry['onnx_s']:.2f}", f"{ratios[name]:.2f}")
        for name, entry in result["tasks"].items()
    ]
    verdict = "is" if ratios["separate"] >= WORTH_IT else "is not"
    return "\n\n".join(
        (
            f"One window of 10.24 s, {result['threads']} threads, medians.",
            table(
                ("network", "PyTorch, ms", "ONNX, ms", "times faster", "largest error"), networks
            ),
            table(("task", "PyTorch, s", "ONNX, s", "times faster"), tasks),
            f"A second backend would have to be {WORTH_IT} times faster; `separate` {verdict}.",
        )
    )


def summary(result: dict[str, Any]) -> str:
    """What docs/speed.md says of it."""
    ratios = [
        f"`{name}` {entry['torch_s'] / entry['onnx_s']:.2f} times"
        for name, entry in result["tasks"].items()
    ]
    return f"With ONNX Runtime {' and '.join(ratios)} as fast."


def main() -> None:
    """Measure and print."""
    print(as_markdown(run()))


if __name__ == "__main__":
    main()
