"""Song folders and manifests."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.data.songs import Song, append_to_manifest, read_manifest, read_song, write_song
from stemweave.errors import InputError


def make_song(folder: Path, stems: tuple[str, ...] = ("bass", "drums")) -> Song:
    folder.mkdir(parents=True)
    for stem in stems:
        soundfile.write(folder / f"{stem}.flac", np.zeros(1600), 16000)
    song = Song(folder, "validation", 0.1, 16000, stems, details={"licence": "CC0-1.0"})
    write_song(song)
    return song


def test_write_and_read_again(tmp_path: Path):
    song = make_song(tmp_path / "song")
    again = read_song(tmp_path / "song")
    assert again == song and again.details["licence"] == "CC0-1.0"
    assert again.stem_paths("bass")[0].name == "bass.flac"
    with pytest.raises(InputError, match="piano"):
        again.stem_paths("piano")


def test_manifest_lists_songs_once_and_sorted(tmp_path: Path):
    songs = [make_song(tmp_path / name) for name in ("b", "a")]
    for song in [*songs, songs[0]]:
        append_to_manifest(tmp_path, song)
    assert [song.name for song in read_manifest(tmp_path)] == ["a", "b"]
    assert read_manifest(tmp_path)[0].split == "validation"


def test_bad_descriptions_name_the_file(tmp_path: Path):
    with pytest.raises(InputError, match="no song list"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"path": "x"}) + "\n")
    with pytest.raises(InputError, match="line 1"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match=r"song\.json"):
        read_song(tmp_path)
    (tmp_path / "song.json").write_text("{}")
    with pytest.raises(InputError, match="duration_s"):
        read_song(tmp_path)
