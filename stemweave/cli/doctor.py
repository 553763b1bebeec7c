"""``stemweave doctor``: what this installation and this machine can do."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from stemweave.cli.console import console
from stemweave.cli.options import Model, Output, load
from stemweave.errors import InputError
from stemweave.io.threads import usable_cores

if TYPE_CHECKING:
    from stemweave.model import StemModel

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "soundfile", "av", "soxr", "ray")


def doctor(output: Output, model: Model = None) -> None:
    """Say what is installed, what this machine computes on, and whether the model works here."""
    found: dict[str, Any] = {
        "stemweave": version("stemweave"),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": {name: _version_of(name) for name in PACKAGES},
        "cpu": _cpu(),
        "devices": _devices(),
        "formats": _formats(),
    }
    problem = None
    try:
        found["model"] = _model(model)
    except InputError as error:
        problem = found["model"] = str(error)
    console.give(found, "\n".join(_lines(found)))
    if problem:
        raise InputError(problem)


def _lines(found: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in found.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, f"{indent}  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name:<14}{text}")
    return lines


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> dict[str, Any]:
    import torch

    from stemweave.models.acceleration import cpu_computes_in_bfloat16

    capabilities = torch.cpu.get_capabilities()
    return {
        "architecture": capabilities.get("architecture", platform.machine()),
        "cores": f"{usable_cores()} of {os.cpu_count()}",
        "threads": torch.get_num_threads(),
        "features": sorted(name for name, value in capabilities.items() if value is True),
        "masks in": "bfloat16" if cpu_computes_in_bfloat16() else "float32",
    }


def _devices() -> dict[str, str]:
    """What each device is, and whether ``--device auto`` would take it."""
    import torch

    from stemweave.models.devices import accelerators, device_name, works

    devices = {
        kind: f"{device_name(torch.device(kind))}: {'works' if works(kind) else 'fails the test'}"
        for kind in accelerators()
    }
    return {**devices, "cpu": "works"}


def _formats() -> dict[str, Any]:
    import soundfile

    from stemweave.io.decode import AUDIO_SUFFIXES
    from stemweave.io.encoding import FORMATS

    return {
        "read": sorted(suffix[1:] for suffix in AUDIO_SUFFIXES),
        "written": list(FORMATS),
        "libsndfile": soundfile.__libsndfile_version__,
        "ffmpeg": _ffmpeg_version(),
    }


def _ffmpeg_version() -> str:
    try:
        import av
    except ImportError as error:
        return f"not usable: {error}"
    return str(av.ffmpeg_version_info)


def _model(name: str | None) -> dict[str, Any]:
    """What is loaded, after one second of noise went through it."""
    import time

    import torch

    began_s = time.perf_counter()
    pipe: StemModel = load(name, "cpu")
    loaded_s = time.perf_counter()
    noise = 0.1 * torch.randn(1, 44_100, generator=torch.Generator().manual_seed(0))
    stems = pipe.separate(noise, 44_100)
    apart = float((sum(stems.values()) - noise).abs().max())
    return {
        "name": name or "bundled",
        "stems": list(pipe.stems),
        "separates": list(pipe.separated_stems),
        "loaded in": f"{loaded_s - began_s:.1f} s",
        "one second in": f"{time.perf_counter() - loaded_s:.1f} s",
        "adds up": "yes" if apart < 1e-4 else f"no: the stems' sum is {apart:g} off",
    }
