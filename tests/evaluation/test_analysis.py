"""The table of analysers: what agrees counts, what is not looked for does not."""

import dataclasses

import numpy as np
import pytest
import torch

from stemweave.data.songs import Song
from stemweave.evaluation.analysis import CHORDS, agreement, evaluate_analysis, finders_beside
from stemweave.music.lead_sheet import LeadSheet
from tests.training.test_stage_analyser import SHEET, config  # noqa: F401

SONG = Song(None, "test", 3.0, 16000, ())


def test_the_sheet_itself_agrees_in_all():
    sheet = dataclasses.replace(SHEET, key="C major")
    found = agreement(sheet, sheet, SONG)
    assert set(found) == {
        "beat F1", "tempo within 4 %", "downbeat F1", "metre", "key", CHORDS,
    }  # fmt: skip
    assert all(value == pytest.approx(1) for value in found.values())


def test_what_is_wrong_counts_less_and_what_is_not_found_not_at_all():
    other = LeadSheet.from_text("C | Dm", 60, "4/4", duration_s=3.0)
    found = agreement(other, SHEET, SONG)
    assert found["tempo within 4 %"] == found["metre"] == 0
    assert 0.4 < found["beat F1"] < 0.9 and 0.2 < found[CHORDS] < 0.8
    assert agreement(LeadSheet(), SHEET, SONG) == {}


def test_the_table_has_a_row_of_each(config, tmp_path):  # noqa: F811
    class Analyser:
        sample_rate = 16000

        def analyse(self, waveform: torch.Tensor, sample_rate: int) -> LeadSheet:
            assert waveform.shape == (1, 3 * sample_rate) and np.isfinite(waveform).all()
            return SHEET

    songs = [Song(tmp_path / "songs" / "train", "train", 3.0, 16000, ("bass", "drums"))]
    measures = evaluate_analysis(Analyser(), songs).table.measures
    assert measures["beat F1"]["ours"]["mean"].value == 1
    assert list(finders_beside(Analyser()))[:2] == ["ours", "librosa"]
