"""Distance and variety of clips that are known to be far or alike."""

import numpy as np
import pytest
import torch

from stemweave.evaluation import variety
from stemweave.evaluation.table import Table
from stemweave.evaluation.variety import at_one_level, fill_variety

from .toys import BandEnergies


def clips(count: int, seed: int, spread: float, tilt: float = 0.0) -> torch.Tensor:
    """Noise whose lowest band is louder by another amount in every clip."""
    drawn = np.random.default_rng(seed)
    white = torch.from_numpy(drawn.normal(size=(count, 32_000)))
    low = torch.nn.functional.avg_pool1d(white[:, None], 9, 1, 4)[:, 0]
    gain = torch.from_numpy(np.exp(tilt + spread * drawn.normal(size=(count, 1))))
    return (0.05 * (white + gain * low)).float()


def test_real_songs_are_the_unit_and_alike_pieces_have_less_variety():
    table = Table("t")
    songs = [f"song {index // 2}" for index in range(24)]
    rows = {
        "real": (clips(24, 1, 1.0), songs),
        "alike": (clips(24, 2, 0.05), None),
        "far": (clips(24, 3, 1.0, tilt=3.0), None),
        "quiet": (0.01 * clips(24, 4, 1.0), None),
    }
    fill_variety(table, BandEnergies(), (clips(24, 0, 1.0), songs), rows, "real", 16_000, draws=8)
    measure = variety.measure_name("bands")
    ratio = {row: table.value(measure, row, variety.RATIO) for row in rows}
    spread = {row: table.value(measure, row, variety.VARIETY) for row in rows}
    assert ratio["real"] == pytest.approx(1) and spread["real"] == pytest.approx(1)
    assert ratio["far"] > 2 and ratio["quiet"] < 2
    assert spread["alike"] < 0.5 and spread["far"] > 0.3
    assert table.measures[measure]["far"][variety.RATIO].count == 12


def test_levels_are_equal_and_silence_stays():
    waveforms = torch.stack([torch.full((8,), 0.5), torch.zeros(8), torch.full((8,), -1e-3)])
    level = at_one_level(waveforms)
    assert level.square().mean(-1).sqrt().tolist() == pytest.approx([0.1, 0.0, 0.1])


def test_too_few_clips_give_no_figures():
    table = Table("t")
    few = (clips(3, 1, 1.0), None)
    fill_variety(
        table, BandEnergies(), (clips(3, 0, 1.0), ["a"] * 3), {"real": few}, "real", 16_000
    )
    assert table.measures == {}
