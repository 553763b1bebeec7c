"""Joints with known faults, and the editing table of a toy pipeline."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("librosa")

from stemweave.evaluation import editing, seams
from stemweave.evaluation.editing import evaluate_editing
from stemweave.evaluation.seams import CLICK, LEVEL, SPECTRUM, seam
from stemweave.evaluation.segments import find_songs
from stemweave.stems import STEMS

from .test_coherence import clicks
from .toys import SAMPLE_RATE, ToyPipeline


def noise(seconds: float = 6.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * SAMPLE_RATE), generator=generator)


def test_a_step_in_level_is_measured_and_nothing_else() -> None:
    before, after = noise(), noise(seed=1)
    even, loud = seam(before, after, SAMPLE_RATE), seam(before, 2 * after, SAMPLE_RATE)
    assert even[LEVEL] < 0.2 and loud[LEVEL] == pytest.approx(20 * np.log10(2), abs=0.2)
    assert even[SPECTRUM] < 1 and loud[SPECTRUM] == pytest.approx(even[SPECTRUM], abs=1e-3)


def test_another_colour_of_sound_is_a_spectral_step() -> None:
    before, after = noise(), noise(seed=1)
    dull = after + torch.roll(after, 1)
    duller = dull + torch.roll(dull, 1)
    steps = [seam(before, one, SAMPLE_RATE)[SPECTRUM] for one in (after, dull, duller)]
    assert 3 * steps[0] < steps[1] < steps[2] / 1.5


def test_a_click_stands_out() -> None:
    tone = 0.3 * torch.sin(torch.arange(8 * SAMPLE_RATE) * 0.05)
    half = 4 * SAMPLE_RATE
    unbroken = seam(tone[:half], tone[half:], SAMPLE_RATE)
    broken = seam(tone[:half], tone[half + 60 :], SAMPLE_RATE)
    assert unbroken[CLICK] < 1 < 20 < broken[CLICK]


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_the_shift_of_the_beat_is_found(shift: float) -> None:
    period_s, half_s = 0.47, 6.0
    before = clicks(period_s, duration_s=half_s)
    first_after = (-half_s % period_s + shift * period_s) % period_s
    after = clicks(period_s, first_after, duration_s=half_s)
    found = seams.beat_phase_step(before, after, SAMPLE_RATE)
    assert found == pytest.approx(shift, abs=0.03)


def test_silence_has_no_figures() -> None:
    assert all(np.isnan(v) for v in seam(noise(), 0 * noise(), SAMPLE_RATE).values())
    silence = np.zeros(SAMPLE_RATE * 3, dtype=np.float32)
    assert np.isnan(seams.beat_phase_step(silence, silence, SAMPLE_RATE))


def test_the_table_compares_ours_with_real_joints(pipe: ToyPipeline, data: Path) -> None:
    evaluation = evaluate_editing(
        pipe, find_songs(data, STEMS), 3, num_variations=2, strengths=(0, 0.5, 1), num_examples=1
    )
    table = evaluation.table
    rows = {
        editing.REAL_ROW,
        editing.OTHER_ROW,
        editing.EXTENDED_ROW,
        editing.INTO_ROW,
        editing.OUT_OF_ROW,
        "ours, into an edit of drums",
        "ours, out of the edit of drums",
    }
    assert set(table.measures[LEVEL]) == rows
    # the toy extends by the beginning of the piece, 20 dB down, and edits by silence
    assert table.value(LEVEL, editing.EXTENDED_ROW, "mean") == pytest.approx(20, abs=6)
    assert table.value(LEVEL, editing.REAL_ROW, "mean") < 4
    assert table.measures[LEVEL][editing.INTO_ROW]["mean"].count == 0
    assert table.measures[LEVEL]["ours, into an edit of drums"]["mean"].count == 3
    distances = table.measures[editing.DISTANCE][editing.VARIED_ROW]
    assert list(distances) == ["0", "0.5", "1", editing.OTHER_SONG]
    assert distances["0"].value == 0 < distances["0.5"].value < distances["1"].value
    assert distances["1"].count == 2
    assert set(evaluation.examples[0].tracks) == {
        "real", "extended", "edited: bass, drums, guitar, piano", "edited: drums",
    }  # fmt: skip
