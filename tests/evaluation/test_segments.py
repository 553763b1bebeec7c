"""The segment grid, silence rules and resampling of what is scored."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from stemweave.errors import InputError
from stemweave.evaluation.segments import (
    Segment,
    audible_segments,
    find_songs,
    load_stems,
    segment_grid,
    spread_order,
)
from stemweave.stems import STEMS

from .toys import SEGMENT_S, write_song


def test_manifest_split_and_plain_folders_find_the_same_songs(data: Path, tmp_path: Path) -> None:
    validation = find_songs(data, STEMS, "validation")
    assert [song.name for song in validation] == ["song_0", "song_1", "song_2"]
    assert len(find_songs(data, STEMS)) == 4
    for split, seed in (("train", 0), ("validation", 1)):
        write_song(tmp_path / split / "Track00001", seed)
    assert len(find_songs(tmp_path, STEMS)) == 2
    (song,) = find_songs(tmp_path, STEMS, "train")
    assert song.folder == tmp_path / "train" / "Track00001"
    assert [song.folder for song in find_songs(song.folder, STEMS)] == [song.folder]


def test_no_songs_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no songs"):
        find_songs(tmp_path, STEMS)
    with pytest.raises(InputError, match="not a folder"):
        find_songs(tmp_path / "missing", STEMS)


def test_grid_has_every_whole_segment(data: Path) -> None:
    grid = segment_grid(find_songs(data, STEMS, "validation"), SEGMENT_S)
    assert len(grid) == 9
    assert [segment.start_s for segment in grid[:3]] == [0.0, SEGMENT_S, 2 * SEGMENT_S]


def test_spread_order_visits_all_and_its_beginnings_are_spread() -> None:
    order = spread_order(100)
    assert sorted(order) == list(range(100))
    gaps = np.diff(sorted(order[:10]))
    assert gaps.max() <= 20


def test_reads_the_right_place_and_a_missing_stem_is_silent(data: Path, tmp_path: Path) -> None:
    write_song(tmp_path / "song", 5, stems=("bass", "drums"))
    stems = load_stems(Segment(find_songs(tmp_path, STEMS)[0], SEGMENT_S, SEGMENT_S), STEMS, 16_000)
    expected, _ = soundfile.read(tmp_path / "song" / "drums.flac", dtype="float32")
    assert stems.shape == (4, 32_768)
    np.testing.assert_array_equal(stems[1].numpy(), expected[32_768 : 2 * 32_768])
    assert not stems[2:].any()


def test_another_rate_and_stereo_are_resampled_and_averaged(tmp_path: Path) -> None:
    time_s = np.arange(44_100 * 3) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    (tmp_path / "song").mkdir()
    soundfile.write(tmp_path / "song" / "bass.wav", np.stack([tone, tone * 0], 1), 44_100, "FLOAT")
    stems = load_stems(Segment(find_songs(tmp_path, STEMS)[0], 0.0, 2.0), STEMS, 16_000)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    np.testing.assert_allclose(stems[0, 200:-200].numpy(), expected[200:-200], atol=1e-3)


def test_silent_segments_are_skipped_and_all_stems_can_be_required(tmp_path: Path) -> None:
    write_song(tmp_path / "a", 0, silent=STEMS)
    write_song(tmp_path / "b", 1, silent=("piano",))
    write_song(tmp_path / "c", 2)
    songs = find_songs(tmp_path, STEMS)

    def names(all_stems: bool) -> set[str]:
        found = audible_segments(songs, STEMS, 16_000, SEGMENT_S, None, all_stems=all_stems)
        return {segment.song.name for segment, _ in found}

    assert names(all_stems=False) == {"b", "c"}
    assert names(all_stems=True) == {"c"}
    with pytest.raises(InputError, match="every stem audible"):
        list(audible_segments(songs[:2], STEMS, 16_000, SEGMENT_S, None, all_stems=True))


def test_count_limits_and_is_deterministic(data: Path) -> None:
    songs = find_songs(data, STEMS)
    first = list(audible_segments(songs, STEMS, 16_000, SEGMENT_S, 5))
    again = list(audible_segments(songs, STEMS, 16_000, SEGMENT_S, 5))
    assert len(first) == 5
    assert [s.name for s, _ in first] == [s.name for s, _ in again]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert len({segment.folder for segment, _ in first}) >= 3
