"""F1 of notes: onset and pitch count, ends do not; stems without notes are left out."""

import numpy as np
import pytest
import soundfile
import torch

from stemweave.data.songs import Song
from stemweave.evaluation import note_scores
from stemweave.evaluation.note_scores import SEPARATED_ROW, TRUE_ROW, note_agreement, onset_f1
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.midi import write_midi
from stemweave.music.score import Score, ScoreNote

NOTES = np.array([[0.0, 0.5, 40, 90], [0.5, 1.0, 52, 90], [1.0, 1.5, 40, 90]])


def moved(**by: float) -> np.ndarray:
    names = ("start", "end", "pitch")
    return NOTES + np.array([by.get(name, 0.0) for name in (*names, "velocity")])


def test_onsets_and_pitches_count_and_ends_do_not():
    assert onset_f1(NOTES, NOTES) == onset_f1(NOTES, moved(start=0.04, end=3.0)) == 1
    assert onset_f1(NOTES, moved(start=0.06, end=0.06)) == onset_f1(NOTES, moved(pitch=1)) == 0
    assert onset_f1(NOTES, NOTES[:1]) == pytest.approx(0.5)
    assert onset_f1(NOTES, NOTES[:0]) == onset_f1(NOTES[:0], NOTES) == 0


def test_true_and_separated_stems_have_a_row_each(tmp_path, monkeypatch):
    rate = 16000
    sheet = LeadSheet.from_text("C", 60, "4/4", duration_s=4.0)
    score = Score({"bass": (ScoreNote(0, 1, 40, 90), ScoreNote(2, 3, 43, 90)), "piano": ()})
    (tmp_path / "sheet.json").write_text(sheet.to_json())
    write_midi(tmp_path / "score.mid", score, sheet)
    stems = ("bass", "drums", "piano")
    for level, stem in enumerate(stems):
        soundfile.write(tmp_path / f"{stem}.flac", np.full(4 * rate, 0.1 * level + 0.1), rate)

    class Pipe:
        sample_rate = rate

        def separate(self, waveform: torch.Tensor, sample_rate: int) -> dict:
            assert waveform.shape == (1, 4 * rate) and waveform.mean() == pytest.approx(0.6, 1e-3)
            return {stem: 0 * waveform for stem in stems}

    def heard(waveform: torch.Tensor, sample_rate: int) -> np.ndarray:
        found = np.array([[0.01, 1, 40, 90], [2.01, 3, 43, 90]])
        return found if waveform.any() else found[:1]

    monkeypatch.setattr(note_scores, "found_notes", heard)
    values = note_agreement(Pipe(), Song(tmp_path, "one", 4.0, rate, stems))
    assert values == {(TRUE_ROW, "bass"): 1, (SEPARATED_ROW, "bass"): pytest.approx(2 / 3)}
