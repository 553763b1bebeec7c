"""Songs to measure on: the repository's excerpt, as long as is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measuring import ROOT

EXCERPT = ROOT / "examples" / "freedoom_excerpt" / "mixture.flac"
SAMPLE_RATE = 44100
WINDOW_S = 10.24


def write_song(path: Path, seconds: float) -> Path:
    """The excerpt over and over: 16-bit FLAC, stereo, 44.1 kHz."""
    samples, rate = soundfile.read(EXCERPT, dtype="float32", always_2d=True)
    assert (rate, samples.shape[1]) == (SAMPLE_RATE, 2)
    remaining = round(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, 2, subtype="PCM_16") as sound:
        while remaining > 0:
            sound.write(samples[:remaining])
            remaining -= len(samples)
    return path


def read_song(seconds: float = WINDOW_S) -> np.ndarray:
    """Samples (2, T) at 44.1 kHz of the excerpt's beginning."""
    samples, _ = soundfile.read(EXCERPT, round(seconds * SAMPLE_RATE), dtype="float32")
    return np.ascontiguousarray(samples.T)
