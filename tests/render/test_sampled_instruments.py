"""Recordings of single notes as SoundFonts: the keys that each one plays."""

import re
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stemweave.render.soundfonts import TRAINING_INSTRUMENTS
from stemweave.render.synth import _program
from tests.scripts import script

sampled = script("sampled_instruments")
patches = script("patch_instruments")


def test_names_of_notes():
    notes = {"A3": 57, "As3": 58, "A#3v10": 58, "C8": 108, "A0v10": 21}
    assert {note: sampled.midi_pitch(note) for note in notes} == notes
    with pytest.raises(SystemExit, match="H2"):
        sampled.midi_pitch("H2")


def test_every_key_plays_the_nearest_recording():
    text = sampled.regions({50: "50.wav", 40: "40.wav", 55: "55.wav"})
    played = {}
    pattern = r"sample=(\d+)\.wav lokey=(\d+) hikey=(\d+) pitch_keycenter=(\d+)"
    for sample, low, high, centre in re.findall(pattern, text):
        assert sample == centre
        for key in range(int(low), int(high) + 1):
            assert key not in played
            played[key] = int(sample)
    assert set(played) == set(range(128))
    assert all(
        abs(key - one) == min(abs(key - p) for p in (40, 50, 55)) for key, one in played.items()
    )


def test_the_script_makes_what_songs_are_drawn_with():
    wanted = {name for fonts in TRAINING_INSTRUMENTS.values() for name in fonts}
    made = {f"{name}.sf2" for name in sampled.PACKAGES}
    for stem, names in patches.INSTRUMENTS.items():
        made |= {f"freepats_{stem}_{name[:3]}.sf2" for name in names}
    assert wanted == made


def written_patch(path: Path, samples: np.ndarray, mode: int) -> Path:
    """A Gravis Ultrasound patch with one recording of A4, for the keys from A3 to A5."""
    header = struct.pack("<7sBIIIHIII", b"one", 0, 2 * len(samples), 200, 400, 22050, *FREQUENCIES)
    header += struct.pack("<HB", 512, 7)  # tune, balance
    # a fall at (10 << 3), then a release at (10 << 6): 47.4 s at 1
    header += bytes([0x3F, 0x3F, 0x80 | 10, 0x40 | 10, 0x3F, 0x3F]) + bytes([246, 246, 8, 0, 0, 0])
    header += bytes(6) + bytes([mode]) + bytes(40)
    assert len(header) == 96
    layer = bytes(6) + b"\x01" + bytes(40)
    path.write_bytes(bytes(129 + 63) + layer + header + samples.astype("<i2").tobytes())
    return path


FREQUENCIES = (220_000, 880_000, 440_000)


def test_a_patch_is_read_as_it_was_written(tmp_path: Path):
    samples = np.arange(-300, 300)
    looped = patches.SIXTEEN_BITS | patches.LOOPED
    (one,) = patches.read_patch(written_patch(tmp_path / "one.pat", samples, looped))
    assert np.array_equal(one.samples, samples)
    assert (one.sample_rate, one.low_key, one.high_key, one.pitch) == (22050, 57, 81, 69)
    assert one.loop == (100, 200)
    assert one.decay_s == pytest.approx(47.4 / 80)
    assert one.release_s == pytest.approx(47.4 / 640)
    assert patches.region("one.wav", one) == (
        "<region> sample=one.wav lokey=57 hikey=81 pitch_keycenter=69 tune=0 ampeg_release=0.074"
        " ampeg_decay=0.593 ampeg_sustain=0 loop_mode=loop_continuous loop_start=100 loop_end=200"
    )


def test_patches_of_eight_bits_are_refused(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"one\.pat"):
        patches.read_patch(written_patch(tmp_path / "one.pat", np.arange(500), patches.LOOPED))


def test_a_soundfont_of_one_instrument_plays_it_whatever_the_program():
    def one_instrument(font: int, bank: int, program: int) -> str | None:
        return "guitar" if (bank, program) == (0, 0) else None

    assert _program(SimpleNamespace(sfpreset_name=one_instrument), 1, 27) == 0
    assert _program(SimpleNamespace(sfpreset_name=lambda *place: "any"), 1, 27) == 27
