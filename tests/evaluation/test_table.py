"""Tables: means, intervals, files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from stemweave.evaluation.table import Cell, Table, mean_interval


def test_interval_covers_the_mean_at_the_known_width() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = mean_interval([(values.tolist(), [str(i) for i in range(400)])])
    assert low is not None and high is not None
    assert low < 3.0 < high
    assert high - low == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)


def test_values_of_one_song_count_as_one_observation() -> None:
    drawn = np.random.default_rng(1)
    songs = [f"song {i // 20}" for i in range(200)]
    values = np.repeat(drawn.normal(size=10), 20).tolist()
    low, high = mean_interval([(values, songs)])
    narrow_low, narrow_high = mean_interval([(values, [str(i) for i in range(200)])])
    assert low is not None and high is not None
    assert narrow_low is not None and narrow_high is not None
    assert high - low > 3 * (narrow_high - narrow_low)
    assert mean_interval([([1.0, 2.0], ["one", "one"])]) == (None, None)


def test_undefined_values_are_left_out_and_counted(tmp_path: Path) -> None:
    table = Table("T", metadata={"seed": 0}, notes=["a note"])
    table.put_samples("error", "ours", "bass", [1.0, math.nan, 3.0])
    table.put_samples("error", "ours", "drums", [math.nan])
    table.put_mean_column("error")
    assert table.measures["error"]["ours"]["bass"].count == 2
    assert table.value("error", "ours", "bass") == 2.0
    assert "mean" not in table.measures["error"]["ours"]
    table.write(tmp_path)
    stored = json.loads((tmp_path / "table.json").read_text())
    assert stored["measures"]["error"]["ours"]["bass"]["value"] == 2.0
    assert stored["measures"]["error"]["ours"]["drums"]["value"] is None
    assert json.loads((tmp_path / "samples.json").read_text())["error"]["ours"]["bass"] == [1, 3]
    text = (tmp_path / "table.md").read_text()
    assert "| ours | 2.00" in text and "a note" in text and "seed: 0" in text


def test_mean_column_is_the_mean_of_the_columns() -> None:
    table = Table("T")
    for stem, value in (("bass", 1.0), ("drums", 2.0), ("guitar", 6.0)):
        table.put("error", "ours", stem, Cell(value))
    table.put_mean_column("error")
    assert table.value("error", "ours", "mean") == 3.0


def test_interval_of_the_mean_column_draws_the_same_songs_for_all_columns() -> None:
    values = np.random.default_rng(2).normal(5.0, 2.0, 100)
    songs = [f"song {i}" for i in range(100)]
    table = Table("T")
    table.put_samples("error", "equal", "bass", values.tolist(), songs)
    table.put_samples("error", "equal", "drums", values.tolist(), songs)
    table.put_samples("error", "opposite", "bass", values.tolist(), songs)
    table.put_samples("error", "opposite", "drums", (10 - values).tolist(), songs)
    table.put_mean_column("error")
    alone, equal = (
        table.measures["error"]["equal"]["bass"],
        table.measures["error"]["equal"]["mean"],
    )
    assert (equal.low, equal.high) == pytest.approx((alone.low, alone.high))
    opposite = table.measures["error"]["opposite"]["mean"]
    assert (opposite.low, opposite.high) == pytest.approx((5.0, 5.0))


def test_partial_mean_leaves_out_columns_without_a_number() -> None:
    table = Table("T")
    table.put_samples("error", "ours", "bass", [1.0, 3.0])
    table.put_samples("error", "ours", "drums", [math.nan, math.nan])
    table.put_mean_column("error")
    assert "mean" not in table.measures["error"]["ours"]
    table.put_mean_column("error", partial=True)
    assert table.value("error", "ours", "mean") == 2.0
