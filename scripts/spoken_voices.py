#!/usr/bin/env python3
"""Gather recorded speech of Debian packages into a folder for ``compose --voices``.

usage: scripts/spoken_voices.py FOLDER    writes FOLDER/*/*.flac and FOLDER/index.json

The speech is that of asterisk-core-sounds-* (CC-BY-SA 3.0: Allison Smith, June Wallack, Carlo
Flamingo, IVRvoice.ru) and of klettres-data (GPL-2+: letters and syllables in twenty languages).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pyworld
import soundfile
import soxr

PROMPTS = Path("/usr/share/asterisk/sounds")
LETTERS = Path("/usr/share/klettres")
SHORTEST_S, LONGEST_S = 0.25, 6.0
MOST_PROMPTS, MOST_LETTERS = 300, 25
"""Of each speaker."""
SAMPLE_RATE = 16000


def main(folder: Path) -> None:
    index = []
    for speaker, is_speech, paths in speakers():
        (folder / speaker).mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(paths):
            samples = read_mono(path)
            if not SHORTEST_S <= len(samples) / SAMPLE_RATE <= LONGEST_S:
                continue
            f0_hz = median_f0_hz(samples)
            if f0_hz is not None:
                name = f"{speaker}/{number:04d}.flac"
                soundfile.write(folder / name, 0.8 * samples / np.abs(samples).max(), SAMPLE_RATE)
                entry = {"file": name, "singer": speaker, "sung": path.stem, "spoken": is_speech}
                index.append({**entry, "median_f0_hz": f0_hz})
    if not index:
        sys.exit("no speech found: run scripts/install-system-packages.sh render")
    (folder / "index.json").write_text(json.dumps(index, indent=0, ensure_ascii=False) + "\n")


def speakers() -> Iterator[tuple[str, bool, list[Path]]]:
    """Name, whether it is speech (not single syllables), and files of each."""
    for folder in sorted(PROMPTS.glob("*_*")):
        paths = sorted(folder.rglob("*.g722"))
        yield folder.name, True, paths[:: 1 + len(paths) // MOST_PROMPTS]
    for folder in sorted(LETTERS.glob("*/")):
        paths = sorted(folder.rglob("*.ogg")) + sorted(folder.rglob("*.mp3"))
        if paths:
            name = f"letters_{folder.name}"
            yield name, False, paths[:: 1 + len(paths) // MOST_LETTERS]


def read_mono(path: Path) -> np.ndarray:
    """Samples (T,) at ``SAMPLE_RATE``."""
    if path.suffix != ".g722":
        samples, sample_rate = soundfile.read(path, always_2d=True)
        return soxr.resample(samples.mean(axis=1), sample_rate, SAMPLE_RATE)
    with av.open(str(path)) as container:  # of 16 kHz in mono
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return np.concatenate([np.zeros(0), *frames]) / 32768


def median_f0_hz(samples: np.ndarray) -> float | None:
    """Of what is voiced, None if hardly anything is."""
    f0, _ = pyworld.dio(samples.astype(np.float64), SAMPLE_RATE, 70.0, 500.0, frame_period=10.0)
    return round(float(np.median(f0[f0 > 0])), 1) if (f0 > 0).sum() > 10 else None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
