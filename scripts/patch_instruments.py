#!/usr/bin/env python3
"""Make SoundFonts of FreePats' instruments, one in each, from an npm package's patches.

usage: scripts/patch_instruments.py FOLDER    writes FOLDER/*.sf2 (needs npm and polyphone)

FreePats is GPL-2; none of its recordings is in the repository. The layout of Gravis Ultrasound
patches: headers of 129, 63 and 47 bytes, then 96 bytes before each recording.
"""

from __future__ import annotations

import math
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from sampled_instruments import convert, fetch

PACKAGE = "freepats@1.0.3"
INSTRUMENTS = {
    "bass": ("032_Acoustic_Bass", "033_Finger_Bass", "034_Pick_Bass", "035_Fretless_Bass",
             "036_Slap_Bass_1", "037_Slap_Bass_2", "038_Synth_Bass_1"),
    "guitar": ("024_Nylon_Guitar", "025_Steel_Guitar", "026_Jazz_Guitar",
               "027_Clean_Electric_Guitar", "028_Muted_Electric_Guitar", "029_Overdriven_Guitar",
               "030_Distortion_Guitar"),
    "piano": ("000_Acoustic_Grand_Piano", "001_Acoustic_Brite_Piano", "002_Electric_Grand_Piano",
              "004_Electric_Piano_1_Rhodes", "005_Electric_Piano_2_Chorused_Yamaha_DX"),
}  # fmt: skip
LAYER_AT = 129 + 63
FIRST_RECORDING_AT = LAYER_AT + 47
RECORDING_HEADER = 96
SIXTEEN_BITS, UNSIGNED, LOOPED = 1, 2, 4
FULL_FALL_S = 47.4
"""From the loudest to silence at an envelope's rate of 1."""
QUIET = 16
"""An envelope that falls to this (of 255) is that of a plucked string."""


@dataclass
class Recording:
    """Samples (T,), the keys that play it, its own pitch as a MIDI number, its loop in samples.

    ``decay_s`` and ``release_s`` are from the loudest to silence; None: held, it does not fall.
    """

    samples: np.ndarray
    sample_rate: int
    low_key: int
    high_key: int
    pitch: float
    loop: tuple[int, int] | None
    decay_s: float | None
    release_s: float


def read_patch(path: Path) -> list[Recording]:
    """Its recordings, each as the file has it."""
    patch = path.read_bytes()
    recordings, position = [], FIRST_RECORDING_AT
    for _ in range(patch[LAYER_AT + 6]):
        size, loop_start, loop_end, rate, low, high, root = struct.unpack_from(
            "<IIIHIII", patch, position + 8
        )
        rates, levels = patch[position + 37 : position + 43], patch[position + 43 : position + 49]
        mode = patch[position + 55]
        data = patch[position + RECORDING_HEADER : position + RECORDING_HEADER + size]
        if not mode & SIXTEEN_BITS or mode & UNSIGNED:
            sys.exit(f"{path.name} is not of signed 16-bit samples")
        recordings.append(
            Recording(
                np.frombuffer(data[: size // 2 * 2], "<i2"),
                rate,
                round(midi_number(low)),
                round(midi_number(high)),
                midi_number(root),
                (loop_start // 2, loop_end // 2) if mode & LOOPED else None,
                fall_s(rates[2]) if levels[2] <= QUIET else None,
                fall_s(rates[3]),
            )
        )
        position += RECORDING_HEADER + size
    return recordings


def midi_number(millihertz: int) -> float:
    """69 of 440 Hz."""
    return 69 + 12 * math.log2(millihertz / 440e3)


def fall_s(rate: int) -> float:
    """Seconds from the loudest to silence: six bits, times eight to the power of two more."""
    return FULL_FALL_S / ((max(rate & 63, 1)) << (3 * (3 - (rate >> 6))))


def make_soundfont(scratch: Path, name: str, recordings: list[Recording], folder: Path) -> None:
    """WAV files → an SFZ file → a SoundFont."""
    lines = []
    for index, one in enumerate(recordings):
        soundfile.write(scratch / f"{name}_{index}.wav", one.samples, one.sample_rate)
        lines.append(region(f"{name}_{index}.wav", one))
    convert(scratch, name, "\n".join(lines) + "\n", folder)


def region(sample: str, one: Recording) -> str:
    """An SFZ region: the keys that play the file ``sample``, its pitch, envelope and loop."""
    key = round(one.pitch)
    line = f"<region> sample={sample} lokey={max(one.low_key, 0)} hikey={min(one.high_key, 127)}"
    line += f" pitch_keycenter={key} tune={round(100 * (key - one.pitch))}"
    line += f" ampeg_release={one.release_s:.3f}"
    if one.decay_s is not None:
        line += f" ampeg_decay={one.decay_s:.3f} ampeg_sustain=0"
    if one.loop is not None:
        line += f" loop_mode=loop_continuous loop_start={one.loop[0]} loop_end={one.loop[1]}"
    return line


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    patches = {
        f"freepats_{stem}_{patch[:3]}": patch
        for stem, some in INSTRUMENTS.items()
        for patch in some
    }
    missing = [name for name in patches if not (folder / f"{name}.sf2").exists()]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        fetch(scratch, PACKAGE)
        for name in missing:
            path = scratch / "package" / "Tone_000" / f"{patches[name]}.pat"
            make_soundfont(scratch, name, read_patch(path), folder.absolute())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
