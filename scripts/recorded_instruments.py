#!/usr/bin/env python3
"""Make SoundFonts of recorded instruments, with velocity layers, for ``compose --instruments``.

usage: scripts/recorded_instruments.py RECORDINGS FOLDER    (needs polyphone and guitarix-common)

RECORDINGS has an ``index.json`` that lists single notes: ``file``, ``instrument``, ``stem``,
``midi_note``, ``tuning_cents``, ``velocity_layer`` and ``peak`` before they were made equally loud.
FOLDER gets ``STEM_INSTRUMENT.sf2`` and ``cabinets/*.wav``: impulse responses of guitar amplifiers.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import soundfile
from sampled_instruments import RELEASE_S, convert

CABINETS = Path("/usr/share/gx_head/sounds")
CABINET_FOLDERS = ("amps", "bands")
QUIETEST_DB = -24.0
"""Softer layers are not made quieter than this: they are stored in 16 bits."""

Note = dict[str, Any]


def main(recordings: Path, folder: Path) -> None:
    (folder / "cabinets").mkdir(parents=True, exist_ok=True)
    for path in (path for name in CABINET_FOLDERS for path in (CABINETS / name).glob("*.wav")):
        shutil.copyfile(path, folder / "cabinets" / path.name)
    notes: dict[str, list[Note]] = {}
    for note in json.loads((recordings / "index.json").read_text()):
        notes.setdefault(f"{note['stem']}_{note['instrument']}", []).append(note)
    for name, own in notes.items():
        if not (folder / f"{name}.sf2").exists():
            with tempfile.TemporaryDirectory() as scratch:
                make_soundfont(Path(scratch), name, own, recordings, folder.absolute())


def make_soundfont(
    scratch: Path, name: str, notes: list[Note], recordings: Path, folder: Path
) -> None:
    """WAV files at the levels they had → an SFZ file → a SoundFont."""
    loudest = max(note["peak"] for note in notes)
    lines = [f"<group> ampeg_release={RELEASE_S}"]
    for note, low, high, softest, hardest in places(notes):
        samples, sample_rate = soundfile.read(recordings / note["file"])
        # a SoundFont's notes are quieter by 40 dB per decade of velocity
        level_db = 20 * math.log10(note["peak"] / loudest) + 40 * math.log10(127 / hardest)
        gain = 10 ** (min(max(level_db, QUIETEST_DB), 0.0) / 20)
        sample = f"{note['midi_note']}_{note['velocity_layer']}.wav"
        soundfile.write(scratch / sample, samples * gain, sample_rate)
        lines.append(
            f"<region> sample={sample} lokey={low} hikey={high} lovel={softest} hivel={hardest} "
            f"pitch_keycenter={note['midi_note']} tune={-round(note.get('tuning_cents', 0))}"
        )
    convert(scratch, name, "\n".join(lines) + "\n", folder)


def places(notes: list[Note]) -> list[tuple[Note, int, int, int, int]]:
    """Each note with the keys and the velocities that play it, first and last: the nearest ones."""
    keys = sorted({note["midi_note"] for note in notes})
    placed = []
    for index, key in enumerate(keys):
        low = 0 if index == 0 else (keys[index - 1] + key) // 2 + 1
        high = 127 if index + 1 == len(keys) else (key + keys[index + 1]) // 2
        layers = {note["velocity_layer"]: note for note in notes if note["midi_note"] == key}
        for place, number in enumerate(sorted(layers)):
            softest, hardest = (1 + 127 * (place + i) // len(layers) for i in (0, 1))
            placed.append((layers[number], low, high, softest, hardest - 1))
    return placed


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
