"""Recordings of single notes as SoundFonts: the keys that each one plays."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from stemweave.render.collection import TRAINING_INSTRUMENTS
from stemweave.render.synth import _program

SCRIPT = Path(__file__).parents[2] / "scripts/sampled_instruments.py"
spec = importlib.util.spec_from_file_location("sampled_instruments", SCRIPT)
sampled = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sampled)


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
    assert wanted == {f"{name}.sf2" for name in sampled.PACKAGES}


def test_a_soundfont_of_one_instrument_plays_it_whatever_the_program():
    def one_instrument(font: int, bank: int, program: int) -> str | None:
        return "guitar" if (bank, program) == (0, 0) else None

    assert _program(SimpleNamespace(sfpreset_name=one_instrument), 1, 27) == 0
    assert _program(SimpleNamespace(sfpreset_name=lambda *place: "any"), 1, 27) == 27
