"""Notes of stems by basic-pitch: by a stand-in everywhere, by itself where it is installed."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from stemweave.errors import InputError
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import ScoreNote
from stemweave.tasks import transcribe
from tests.library_stand_ins import forget, stand_in

RATE = 16000
SHEET = LeadSheet.from_text("C | F", 120, "4/4", duration_s=4.0)


@pytest.fixture
def basic_pitch(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "basic_pitch", "onnxruntime")
    transcribe._network.cache_clear()
    yield
    transcribe._network.cache_clear()
    forget("basic_pitch", "onnxruntime")


def test_notes_are_sorted_in_beats_and_of_pitched_stems_alone(basic_pitch, capsys):
    noise = 0.1 * torch.randn(2, 2 * RATE, generator=torch.Generator().manual_seed(0))
    stems = {"bass": noise, "drums": noise, "piano": torch.zeros(2, 2 * RATE)}
    score = transcribe.transcribed(stems, RATE, SHEET)
    assert score.notes == {
        "bass": (ScoreNote(0.0, 2.0, 40, 64), ScoreNote(2.0, 4.0, 64, 127)),
        "piano": (),
    }
    assert capsys.readouterr().out == ""


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(transcribe, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install --no-deps -r baselines/requirements"):
        transcribe.transcribed({}, RATE, SHEET)


@pytest.mark.skipif(find_spec("basic_pitch") is None, reason="basic-pitch is not installed")
def test_basic_pitch_hears_plucked_tones():
    time_s = torch.arange(RATE) / RATE
    tones = [
        sum(torch.sin(2 * torch.pi * 440 * 2 ** ((pitch - 69) / 12) * n * time_s) / n**2
            for n in (1, 2, 3, 4)) * torch.exp(-3 * time_s)
        for pitch in (60, 64, 67)
    ]  # fmt: skip
    notes = transcribe.found_notes(0.3 * torch.cat(tones)[None], RATE)
    for index, pitch in enumerate((60, 64, 67)):
        near = notes[np.abs(notes[:, 0] - index) < 0.1]
        assert pitch in near[:, 2]
