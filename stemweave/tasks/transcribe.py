"""Notes of pitched stems, found by basic-pitch where that package is installed.

basic-pitch (Bittner et al., "A lightweight instrument-agnostic model for polyphonic note
transcription", 2022) has its weights, a quarter of a megabyte, in its package, and runs in
onnxruntime.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from stemweave.audio.waveforms import exact_scale, mono
from stemweave.errors import InputError
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.rolls import PITCHED
from stemweave.music.score import Score, ScoreNote, playable

INSTALL = "pip install --no-deps -r baselines/requirements-analysis.txt"
"""What brings it, from a clone of the repository."""


def can_transcribe() -> bool:
    """Whether basic-pitch and what runs it are installed."""
    return all(find_spec(name) is not None for name in ("basic_pitch", "onnxruntime"))


def require_transcriber() -> None:
    """Raise ``InputError`` without basic-pitch."""
    if not can_transcribe():
        raise InputError(f"notes are heard by basic-pitch, which is not installed: {INSTALL}")


def transcribed(stems: Mapping[str, Tensor], sample_rate: int, sheet: LeadSheet) -> Score:
    """Notes of bass, guitar and piano in ``stems``, counted in the beats of ``sheet``.

    Args:
        stems: waveforms (channels, samples) by name; drums and whatever else stay unknown.

    Raises:
        InputError: without basic-pitch.
    """
    require_transcriber()
    found = {}
    for stem in PITCHED:
        if stem in stems:
            notes = found_notes(stems[stem], sample_rate)
            beats = sheet.beat_at(notes[:, :2])
            found[stem] = playable(
                ScoreNote(float(start), float(end), int(pitch), int(velocity))
                for (start, end), (pitch, velocity) in zip(beats, notes[:, 2:], strict=True)
            )
    return Score(found)


def found_notes(waveform: Tensor, sample_rate: int) -> np.ndarray:
    """Notes (N, 4) of a waveform (channels, samples): start and end in seconds, pitch, velocity."""
    samples = mono(waveform * exact_scale(waveform)).numpy()
    if not np.any(samples):
        return np.zeros((0, 4))
    with wav_file(samples, sample_rate) as path, contextlib.redirect_stdout(io.StringIO()):
        network, predict = _network()
        _, _, events = predict(path, network)
    rows = [
        (start, end, pitch, min(max(round(127 * float(loudness)), 1), 127))
        for start, end, pitch, loudness, _ in sorted(events, key=lambda event: event[:3])
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


@contextlib.contextmanager
def wav_file(samples: np.ndarray, sample_rate: int) -> Iterator[Path]:
    """A file of ``samples`` (T,) for a library that reads nothing else; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        soundfile.write(path, samples, sample_rate, subtype="FLOAT")
        yield path


@lru_cache(maxsize=1)
def _network() -> tuple[Any, Any]:
    """basic-pitch's network, and its function from a file to notes."""
    import basic_pitch
    from basic_pitch.inference import Model, predict

    weights = Path(basic_pitch.__file__).parent / "saved_models" / "icassp_2022" / "nmp.onnx"
    return Model(weights), predict
