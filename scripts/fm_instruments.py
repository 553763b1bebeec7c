#!/usr/bin/env python3
"""Make SoundFonts of FM pianos, basses and guitars for ``compose --instruments``.

usage: scripts/fm_instruments.py FOLDER    writes FOLDER/STEM_fm_PATCH.sf2

Needs polyphone, ``pip install dexed-py`` (GPL-3) and the patches of Debian's hexter. The recordings
are made on the spot: every fourth key, three velocities.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from dexed import DexedSynth, Patch
from recorded_instruments import make_soundfont

PATCHES = Path("/usr/share/hexter/dx7_roms.dx7")
INSTRUMENTS = {
    "bass": {"BASS    1": 24, "BASS    2": 24, "BASS    4": 24, "SYN-BASS 1": 24},
    "guitar": {"GUITAR  1": 0, "GUITAR  2": 12, "GUITAR  5": 12},
    "piano": {"PIANO   1": 0, "PIANO   4": 0, "E.PIANO 1": 0, "E.PIANO 2": 0, "E.PIANO 4": 0,
              "CLAV    1": 12},
}  # fmt: skip
"""Patches, and by how many semitones they sound below the key that is played."""
KEYS = {"bass": range(24, 68, 4), "guitar": range(36, 92, 4), "piano": range(24, 104, 4)}
VELOCITIES = (40, 84, 118)
HELD_S, LENGTH_S, SAMPLE_RATE = 4.0, 4.3, 44100


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    packed = PATCHES.read_bytes()
    voices = [Patch.from_packed(packed[at : at + 128]) for at in range(0, len(packed), 128)]
    by_name = {voice.name.strip(): voice for voice in voices}
    for stem, names in INSTRUMENTS.items():
        for name, lower in names.items():
            font = f"{stem}_fm_{'_'.join(name.lower().replace('.', '').split())}"
            if not (folder / f"{font}.sf2").exists():
                by_name[name].transpose += lower
                make(font, by_name[name], KEYS[stem], folder.absolute())


def make(font: str, voice: Patch, keys: range, folder: Path) -> None:
    """Notes as WAV files, at a peak of 0.9, → a SoundFont with layers as loud as they were."""
    synth = DexedSynth(sample_rate=SAMPLE_RATE)
    synth.load_patch(voice)
    with tempfile.TemporaryDirectory() as scratch:
        notes = []
        for key in keys:
            for layer, velocity in enumerate(VELOCITIES):
                played = synth.render(key, velocity, HELD_S, LENGTH_S)
                peak = float(np.abs(played).max())
                file = f"played_{key}_{layer}.wav"
                soundfile.write(Path(scratch) / file, 0.9 * played / peak, SAMPLE_RATE)
                note = {"file": file, "midi_note": key, "velocity_layer": layer, "peak": peak}
                notes.append(note)
        make_soundfont(Path(scratch), font, notes, Path(scratch), folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
