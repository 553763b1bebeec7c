"""Records beside stems: ``separation.json`` of those of a file, ``piece.json`` of a task's."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.io.decode import AudioInfo
from stemweave.io.encoding import Encoding
from stemweave.io.records import LEFT_OUT, PROGRAM, sha256_of

if TYPE_CHECKING:
    from stemweave.model import StemModel

FINGERPRINT_BYTES = 1 << 20
"""Of each file of a model."""


def record_text(
    info: AudioInfo,
    pipe: StemModel,
    files: Mapping[str, Path],
    encoding: Encoding,
    settings: Mapping[str, Any],
    gain: float,
    elapsed_s: float,
    left_out: Collection[str] = (),
) -> str:
    """The JSON for the stems ``files`` of the file ``info``.

    Args:
        settings: of ``StemModel.separate``; those that are None are the model's, if any.
        gain: of all files, below 1 if samples would have clipped.
        elapsed_s: what it took.
        left_out: of ``files``, since they are silent.
    """
    defaults: dict[str, Any] = {}
    if settings["method"] != "mask":  # the diffusion has more to say
        defaults = {
            "guidance": pipe.config.separation_guidance,
            "steps": pipe.config.separation_steps,
            "sampler": type(pipe.scheduler).__name__,
        }
    record = {
        **made_by(),
        "input": {
            "name": info.path.name,
            "sha256": sha256_of(info.path),
            "sample_rate": info.sample_rate,
            "channels": info.channels,
            "num_samples": info.num_samples,
            "duration_s": info.duration_s,
        },
        "model": described_model(pipe.source),
        "settings": {**defaults, **_given(settings)},
        "outputs": {name: path.name for name, path in files.items() if name not in left_out},
        **({LEFT_OUT: list(left_out)} if left_out else {}),
        "encoding": {
            "format": encoding.fmt,
            "bit_depth": encoding.bit_depth,
            "bitrate_kbps": encoding.bitrate_kbps,
            "sample_rate": encoding.file_rate(info.sample_rate),
        },
        "gain": gain,
        "gain_db": round(20 * math.log10(gain), 3),
        "seconds": round(elapsed_s, 3),
    }
    return _as_text(record)


def piece_text(
    task: str,
    pipe: StemModel,
    settings: Mapping[str, Any],
    files: Mapping[str, Path],
    sample_rate: int,
    gain: float,
) -> str:
    """The JSON for a piece that ``task`` made, in the audio files ``files``.

    Args:
        settings: of the task; those that are None are left out.
        gain: of all files, below 1 if samples would have clipped.
    """
    record = {
        **made_by(),
        "task": task,
        "model": described_model(pipe.source),
        "settings": _given(settings),
        "sample_rate": sample_rate,
        "outputs": {name: path.name for name, path in files.items()},
        "gain": gain,
    }
    return _as_text(record)


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _as_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def made_by() -> dict[str, Any]:
    """The program, and versions of what results depend on."""
    return {
        "program": PROGRAM,
        "versions": {
            PROGRAM: version(PROGRAM),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


@lru_cache
def described_model(source: str | Path | None) -> dict[str, str | None]:
    """Name of a model folder or hub id, and what identifies a folder."""
    folder = Path(source) if source is not None else None
    if folder is None or not folder.is_dir():
        return {"name": str(source) if source is not None else None, "fingerprint": None}
    digest = hashlib.sha256()
    for path in sorted(
        path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")
    ):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(FINGERPRINT_BYTES))
    is_bundled = folder.resolve() == BUNDLED_MODEL.resolve()
    name = "bundled" if is_bundled else folder.resolve().name
    return {"name": name, "fingerprint": digest.hexdigest()}
