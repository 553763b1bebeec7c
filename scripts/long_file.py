"""Separates a long stereo file at 44.1 kHz and writes down time and peak memory.

.venv/bin/python scripts/long_file.py [--minutes 60]  →  docs/scores/long_file.json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).parent.parent
EXCERPT = ROOT / "examples" / "freedoom_excerpt" / "mixture.flac"
SAMPLE_RATE = 44100


def write_long_file(path: Path, minutes: float) -> None:
    """The bundled excerpt over and over, as 16-bit FLAC."""
    samples, rate = soundfile.read(EXCERPT, dtype="float32", always_2d=True)
    samples = np.repeat(samples, 2, axis=1)[:, :2]
    samples = soxr.resample(samples, rate, SAMPLE_RATE)
    remaining = round(minutes * 60 * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, subtype="PCM_16") as sound:
        while remaining > 0:
            sound.write(samples[:remaining])
            remaining -= len(samples)


def main() -> None:
    """Separate and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scores" / "long_file.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        write_long_file(path, options.minutes)
        began = time.perf_counter()
        command = [sys.executable, "-m", "stemweave", "separate", str(path), "-o", folder]
        subprocess.run([*command, "--format", "flac"], check=True, cwd=ROOT)
        seconds = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    result = {
        "audio_minutes": options.minutes,
        "channels": 2,
        "sample_rate": SAMPLE_RATE,
        "seconds": round(seconds),
        "peak_memory_mb": round(peak_mb),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
