"""Recorded instruments, their amplifiers, heavy riffs, and mixes that are compressed as a whole."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.errors import InputError
from stemweave.music.harmony import Chord, Key
from stemweave.render.effects import draw_amplifier
from stemweave.render.form import Form
from stemweave.render.mastering import master
from stemweave.render.mixdown import amplified
from stemweave.render.riffs import draw_double_kick, draw_riff_parts
from stemweave.render.soundfonts import soundfonts_by_stem
from tests.scripts import script

sampled = script("sampled_instruments")
recorded = script("recorded_instruments")
RATE = 16000


def test_every_key_and_velocity_plays_one_recording():
    notes = [{"midi_note": key, "velocity_layer": layer} for key in (40, 47) for layer in (1, 2, 4)]
    played = [
        (key, velocity)
        for _, low, high, softest, hardest in recorded.places(notes)
        for key in range(low, high + 1)
        for velocity in range(softest, hardest + 1)
    ]
    assert len(played) == len(set(played)) == 128 * 127
    softest = min(recorded.places(notes), key=lambda place: place[3:])
    assert softest[0]["velocity_layer"] == 1 and softest[2] == 43


def test_amplifiers_drive_guitars_and_leave_pianos_alone(tmp_path: Path):
    soundfile.write(tmp_path / "cabinet.wav", np.eye(1, 100)[0], 44100)
    cabinets = [tmp_path / "cabinet.wav"]
    drawn = [draw_amplifier("guitar", cabinets, np.random.default_rng(i)) for i in range(20)]
    assert draw_amplifier("piano", cabinets, np.random.default_rng(0)) is None
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)
    harmonics = []
    for amplifier in filter(None, drawn):
        spectrum = np.abs(np.fft.rfft(amplified(tone, amplifier, RATE)))
        assert len(spectrum) == RATE // 2 + 1
        harmonics.append(spectrum[1500] / spectrum[500])
        assert spectrum[2250] < 0.03 * spectrum[500]  # nothing folds back between harmonics
    assert 5 < len(harmonics) < 20 and max(harmonics) > 0.15


def test_mastered_stems_share_their_gain():
    rng = np.random.default_rng(1)
    stems = {name: rng.normal(0, 0.05, RATE).astype(np.float32) for name in ("bass", "drums")}
    stems["drums"][RATE // 2 : RATE // 2 + 50] = 0.9
    mastered = [master(stems, RATE, np.random.default_rng(seed)) for seed in range(12)]
    changed = [one for one in mastered if one["bass"] is not stems["bass"]]
    assert 4 < len(changed) < 12
    for one in changed:
        gain = one["bass"] / stems["bass"]
        assert np.allclose(one["drums"], gain * stems["drums"], atol=1e-4)
        assert np.abs(one["bass"] + one["drums"]).max() == pytest.approx(0.9, abs=1e-3)
    crests = [np.abs(sum(o.values())).max() / np.std(sum(o.values())) for o in (stems, *changed)]
    assert min(crests) < 0.8 * crests[0]


def test_heavy_riffs_are_low_and_fast():
    form = Form([[Chord(4, "minor")]] * 8, Key(4, True), 0.4)
    parts = [draw_riff_parts(form, np.random.default_rng(i), heavy=True) for i in range(20)]
    lowest = min(n.pitch for stems in parts for part in stems["guitar"] for n in part.notes)
    assert 33 <= lowest < 38
    fastest = max(len(stems["guitar"][0].notes) for stems in parts)
    assert fastest > 120  # of 128 sixteenths
    kicks = draw_double_kick(form, np.random.default_rng(0))
    assert {note.pitch for note in kicks} == {36} and len(kicks) >= 16


def test_a_folder_without_instruments_says_so(tmp_path: Path):
    with pytest.raises(InputError, match="recorded_instruments"):
        soundfonts_by_stem({"TimGM6mb.sf2": 1.0}, str(tmp_path))
