"""What the bundled model makes of fixed input: small samples of it, stored and compared.

``python -m tests.golden`` writes them anew, for a change that is meant to change results.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stemweave.io.decode import read_audio
from stemweave.model import StemModel, load_model
from stemweave.models.acceleration import accelerate
from stemweave.tasks.spectra import to_model_rate

EXCERPT = Path(__file__).parent.parent.parent / "examples" / "freedoom_excerpt"
STORED = Path(__file__).parent / "expected.npz"
SAMPLES = 150
"""Values of each waveform that are stored, evenly spaced; after them its RMS and peak."""

Piece = dict[str, Tensor]


def samples_of(piece: Piece) -> dict[str, np.ndarray]:
    """The stored numbers of every waveform (channels, samples)."""
    found = {}
    for name, waveform in piece.items():
        flat = waveform.flatten()
        places = torch.linspace(0, len(flat) - 1, SAMPLES).long()
        rms, peak = flat.square().mean().sqrt(), flat.abs().max()
        found[name] = torch.cat([flat[places], rms[None], peak[None]]).numpy()
    return found


@cache
def model() -> StemModel:
    """The bundled model, all of it in float32: CPUs with and without bfloat16 agree."""
    pipe = load_model()
    accelerate(pipe, "float32")
    return pipe


@cache
def song(seconds: float, *, is_stereo: bool) -> Piece:
    """Stems of the excerpt: stereo at 44.1 kHz, or mono at 16 kHz."""
    stems = {
        name: read_audio(EXCERPT / f"{name}.flac", 0, round(seconds * 44100))[0]
        for name in model().stems
    }
    if is_stereo:
        return stems
    return {name: to_model_rate(stem, 44100, 16000)[None] for name, stem in stems.items()}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def separated(seconds: float, method: str, *, is_stereo: bool) -> Piece:
    rate = 44100 if is_stereo else 16000
    mixture = torch.stack(list(song(seconds, is_stereo=is_stereo).values())).sum(dim=0)
    return model().separate(mixture, rate, method=method, generator=seeded())  # type: ignore[arg-type]


def generated(seconds: float) -> Piece:
    return model().generate(seconds, tempo_bpm=120, steps=2, generator=seeded())


def arranged(seconds: float, *, is_stereo: bool) -> Piece:
    stems = song(seconds, is_stereo=is_stereo)
    given = {name: stems[name] for name in ("bass", "guitar")}
    rate = 44100 if is_stereo else 16000
    return model().arrange(given, rate, steps=2, generator=seeded())


def edited(seconds: float, *, is_stereo: bool) -> Piece:
    rate = 44100 if is_stereo else 16000
    renew = {"drums": (0.5, seconds - 0.5)}
    stems = song(seconds, is_stereo=is_stereo)
    return model().edit(stems, rate, renew=renew, steps=2, generator=seeded())


def extended(seconds: float, added: float, *, is_stereo: bool) -> Piece:
    rate = 44100 if is_stereo else 16000
    stems = song(seconds, is_stereo=is_stereo)
    return model().extend(stems, rate, seconds=added, steps=2, generator=seeded())


def varied(seconds: float, *, is_stereo: bool) -> Piece:
    rate = 44100 if is_stereo else 16000
    stems = song(seconds, is_stereo=is_stereo)
    return model().vary(stems, rate, strength=0.5, steps=4, generator=seeded())


CASES: dict[str, Callable[[], Piece]] = {
    "separate-mono-short": lambda: separated(2, "mask", is_stereo=False),
    "separate-stereo-two-windows": lambda: separated(12, "mask", is_stereo=True),
    "separate-diffusion-stereo-short": lambda: separated(2, "diffusion", is_stereo=True),
    "separate-vocoder-stereo-short": lambda: separated(2, "vocoder", is_stereo=True),
    "separate-vocoder-mono-two-windows": lambda: separated(12, "vocoder", is_stereo=False),
    "generate-short": lambda: generated(3),
    "generate-two-windows": lambda: generated(12),
    "arrange-mono-short": lambda: arranged(2, is_stereo=False),
    "arrange-stereo-two-windows": lambda: arranged(12, is_stereo=True),
    "edit-mono-short": lambda: edited(3, is_stereo=False),
    "edit-stereo-two-windows": lambda: edited(13, is_stereo=True),
    "extend-mono-short": lambda: extended(3, 1, is_stereo=False),
    "extend-stereo-two-windows": lambda: extended(6, 8, is_stereo=True),
    "vary-mono-short": lambda: varied(2, is_stereo=False),
    "vary-stereo-two-windows": lambda: varied(12, is_stereo=True),
}
"""Every task, mono at 16 kHz and stereo at 44.1 kHz, within one window of the model and beyond."""


def renew() -> None:
    """Compute and store all cases."""
    found = {
        f"{case}/{name}": values
        for case, make in CASES.items()
        for name, values in samples_of(make()).items()
    }
    np.savez_compressed(STORED, **found)  # type: ignore[arg-type]
