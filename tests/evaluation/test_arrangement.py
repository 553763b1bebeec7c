"""Arrangement scores: the 14 subsets, who is given what, reference rows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.evaluation import arrangement
from stemweave.evaluation.arrangement import (
    evaluate_arrangement,
    other_song,
    proper_subsets,
    subset_code,
)
from stemweave.evaluation.coherence import BEAT, CHROMA, ONSET
from stemweave.evaluation.segments import Segment, find_songs
from stemweave.stems import STEMS

from .toys import BandEnergies, ToyPipeline


def test_fourteen_subsets_in_the_paper_order() -> None:
    codes = [subset_code(subset, STEMS) for subset in proper_subsets(STEMS)]
    assert " ".join(codes) == "B D G P BD BG BP DG DP GP BDG BDP BGP DGP"
    assert subset_code(("piano",), ("piano", "pad")) == "piano"


def test_other_song_is_never_the_same_song() -> None:
    songs = {name: Song(Path(name), "test", 1.0, 16000, ()) for name in "abc"}
    segments = [Segment(songs[name], 0.0, 1.0) for name in "aabca"]
    assert [segments[i].folder.name for i in other_song(segments)] == ["b", "b", "c", "a", "b"]
    with pytest.raises(InputError, match="2 songs"):
        other_song(segments[:2])


def test_real_stems_agree_better_than_another_songs(pipe: ToyPipeline, data: Path) -> None:
    evaluation = evaluate_arrangement(
        pipe,
        find_songs(data, STEMS),
        4,
        embedding=BandEnergies(),
        subsets=[("bass",), ("drums",), ("drums", "piano")],
        num_examples=1,
    )
    table = evaluation.table
    real = table.measures[ONSET][arrangement.REAL_ROW]
    other = table.measures[ONSET][arrangement.OTHER_ROW]
    assert list(real) == ["B", "D", "DP", "mean"]
    assert all(real[code].value > other[code].value + 0.1 for code in ("B", "D", "DP"))
    assert np.isnan(table.value(CHROMA, arrangement.REAL_ROW, "D"))
    assert np.isfinite(table.value(CHROMA, arrangement.REAL_ROW, "DP"))
    distances = table.measures["sub-FAD, bands"]
    assert set(distances) == {
        arrangement.REAL_ROW, arrangement.OTHER_ROW, *arrangement.MODE_ROWS.values()
    }  # fmt: skip
    assert distances["ours, known stems"]["B"].value > distances[arrangement.REAL_ROW]["B"].value
    assert distances[arrangement.REAL_ROW]["B"].high > distances[arrangement.REAL_ROW]["B"].value
    assert real["mean"].low < real["mean"].value < real["mean"].high
    given = {(tuple(call["given"]), call["inpainting"]) for call in pipe.calls}
    assert (("drums", "guitar", "piano"), "known") in given
    assert (("bass", "guitar"), "replace") in given
    assert len(pipe.calls) == 3 * 4 * 2


def test_a_part_left_silent_agrees_with_nothing() -> None:
    drawn = torch.Generator().manual_seed(0)
    stems = torch.randn(2, 32_768, generator=drawn) * (torch.arange(32_768) % 4000 < 400)
    rows = {
        arrangement.REAL_ROW: lambda index, subset: stems[1:],
        "mute": lambda index, subset: torch.zeros(1, 32_768),
    }
    for names, chroma in ((["bass", "drums"], np.nan), (["bass", "piano"], 0.0)):
        scores = arrangement.SubsetScores(names, names[1:], 16_000)
        scores.add(stems, 0, rows)
        assert scores.values[ONSET, arrangement.REAL_ROW, scores.code][0] > 0.9
        assert [scores.values[m, "mute", scores.code] for m in (ONSET, BEAT)] == [[0.0], [0.0]]
        np.testing.assert_equal(scores.values[CHROMA, "mute", scores.code], [chroma])


def test_a_denoiser_without_known_stems_is_only_replaced(pipe: ToyPipeline, data: Path) -> None:
    pipe.denoiser.config.known_stems = False
    evaluate_arrangement(
        pipe, find_songs(data, STEMS), 2, embedding=BandEnergies(), subsets=[("bass",)]
    )
    assert {call["inpainting"] for call in pipe.calls} == {"replace"}
