"""Songs packed into tar shards are the same songs, from disk and over HTTP."""

import http.server
import io
import shutil
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.data.mixing import MixSettings, draw_crops
from stemweave.data.readers import read_data
from stemweave.data.songs import Song, append_to_manifest, write_song
from stemweave.data.tar_cache import TarCache, split_of_url, tar_urls
from stemweave.data.tar_songs import TarSongs
from stemweave.errors import InputError

STEMS = ("bass", "drums", "piano")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training songs, one for validation, a second of noise each; one lacks a stem."""
    folder = tmp_path_factory.mktemp("songs")
    for index in range(9):
        stems = STEMS if index != 1 else STEMS[:2]
        song_folder = folder / f"song {index}.flac feat. ü"
        song_folder.mkdir()
        for stem in stems:
            noise = 0.1 * np.random.default_rng([index, len(stem)]).standard_normal(16000)
            soundfile.write(song_folder / f"{stem}.flac", noise, 16000)
        split = "validation" if index == 8 else "train"
        song = Song(song_folder, split, 1.0, 16000, stems, details={"licence": "CC0-1.0"})
        write_song(song)
        append_to_manifest(folder, song)
    return folder


@pytest.fixture(scope="module")
def shards(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training shards and one of validation."""
    from stemweave.data.tar_pack import pack_songs
    from stemweave.io.jobs import Workers

    out = tmp_path_factory.mktemp("shards")
    listed = read_data(songs, STEMS).songs
    pack_songs(listed, out, shard_mb=0.1, workers=Workers(1))
    return out


@pytest.fixture
def server(shards: Path) -> Iterator[str]:
    """The shards' address over HTTP; every fourth request fails."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        requests_served = 0

        def do_GET(self) -> None:
            type(self).requests_served += 1
            if self.requests_served % 4 == 2:
                self.send_error(503)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Handler, directory=str(shards))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def tar_songs(urls: list[str], cache: Path, **options: object) -> TarSongs:
    return TarSongs(urls, STEMS, TarCache(cache, 1e9), **options)


def content(songs: list[Song]) -> dict[str, dict[str, bytes]]:
    return {
        song.name.replace(".", "_"): {
            stem: b"".join(path.read_bytes() for path in song.stem_paths(stem))
            for stem in song.stems
        }
        for song in songs
    }


def test_packed_songs_are_the_originals_bit_for_bit(songs: Path, shards: Path, tmp_path: Path):
    originals = read_data(songs, STEMS).songs
    for split, count in (("train", 8), ("validation", 1)):
        urls = [url for url in tar_urls(str(shards)) if split_of_url(url) == split]
        read = tar_songs(urls, tmp_path, split=split, window=len(urls)).at(0)
        expected = [song for song in originals if song.split == split]
        assert len(read) == count and content(read) == content(expected)
        for song in read:
            assert song.duration_s == 1.0 and song.details["licence"] == "CC0-1.0"
    assert len(list(shards.glob("train-*.tar"))) == 4


def test_shards_have_the_form_of_webdataset(shards: Path):
    import webdataset

    urls = str(shards / "train-{000000..000003}.tar")
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == 8
    assert {"bass.flac", "drums.flac", "song.json", "__key__"} <= set(samples[0])
    assert samples[0]["__key__"] == "song 0_flac feat_ ü"


def test_songs_over_http_are_those_on_disk(shards: Path, server: str, tmp_path: Path):
    here = tar_songs(tar_urls(f"{shards}/train-*.tar"), tmp_path / "a", window=2)
    there = tar_songs(tar_urls(server + "/train-{000000..000003}.tar"), tmp_path / "b", window=2)
    for position in range(5):
        assert content(here.at(position)) == content(there.at(position))
    piped = tar_songs([f"pipe:cat {shards}/train-000002.tar"], tmp_path / "c")
    whole = tar_songs([f"{shards}/train-000002.tar"], tmp_path / "d")
    assert content(piped.at(0)) == content(whole.at(0))
    with pytest.raises(InputError, match=r"nothing\.tar cannot be fetched: .*404"):
        tar_songs([f"{server}/nothing.tar"], tmp_path / "e").at(0)
    with pytest.raises(InputError, match="cannot be fetched"):
        tar_songs(["pipe:false"], tmp_path / "e").at(0)
    assert not list((tmp_path / "e").glob("*/song*"))


def test_a_window_over_new_permutations_shared_among_processes(shards: Path, tmp_path: Path):
    urls = tar_urls(f"{shards}/train-*.tar")
    one, again, other = (
        [tar_songs(urls, tmp_path, seed=seed).url(number) for number in range(400)]
        for seed in (0, 0, 1)
    )
    assert one == again != other
    epochs = [tuple(one[i : i + 4]) for i in range(0, 400, 4)]
    assert all(sorted(epoch) == urls for epoch in epochs) and len(set(epochs)) > 10
    parts = [
        tar_songs(urls, tmp_path, window=1, steps_each=10, process=(index, 2)) for index in (0, 1)
    ]
    seen = [[part.at_step(step) for step in (0, 9, 10, 19)] for part in parts]
    for own in seen:
        assert own[0] == own[1] and own[2] == own[3]
    names = Counter(song.name for own in seen for songs in (own[0], own[2]) for song in songs)
    assert len(names) == 8 and set(names.values()) == {1}  # an epoch, nothing twice
    late = tar_songs(urls, tmp_path, window=1, steps_each=10, process=(1, 2))
    assert late.at_step(19) == seen[1][3]  # whatever was read before


def test_crops_are_drawn_from_the_window_at_hand(shards: Path, tmp_path: Path):
    stream = tar_songs(tar_urls(f"{shards}/train-*.tar"), tmp_path, window=1)
    settings = MixSettings()
    listed = list(stream.at(2))
    crops = [
        draw_crops(songs, STEMS, 3, 1600, 16000, settings, np.random.default_rng(0)).waveforms
        for songs in (stream, listed)
    ]
    assert np.array_equal(*crops) and crops[0].abs().max() > 0


def test_the_cache_is_bounded_and_keeps_what_is_held(shards: Path, tmp_path: Path):
    urls = tar_urls(f"{shards}/train-*.tar")
    shard_bytes = Path(urls[0]).stat().st_size
    cache = TarCache(tmp_path, 2.5 * shard_bytes)
    held, lock = cache.hold(urls[0])
    for url in urls[1:]:
        cache.hold(url)[1].close()
    kept = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(kept) == 2 and held in kept
    lock.close()
    fresh = TarCache(tmp_path, 0)
    last, _ = fresh.hold(urls[2])
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [last]


def test_who_wants_what_another_fetches_has_it_at_once(shards: Path, tmp_path: Path):
    url = tar_urls(f"{shards}/train-*.tar")[0]
    barrier = threading.Barrier(4)
    held = []

    def hold(cache: TarCache) -> None:
        barrier.wait()
        held.append(cache.hold(url))

    for number in range(50):  # more than enough for two to find at once that it is not there
        cache = TarCache(tmp_path / str(number), 1e9)
        threads = [threading.Thread(target=hold, args=(cache,), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len(held) == 4 * (number + 1)


def test_pack_of_another_layout_keeps_every_sample(run, tmp_path: Path):
    """Merged WAV stems and a Slakh song with two sources of one stem."""
    rng = np.random.default_rng(0)
    track = tmp_path / "merged" / "train" / "Track00001"
    track.mkdir(parents=True)
    for stem, subtype in (("bass", "PCM_16"), ("drums", "PCM_24"), ("piano", "FLOAT")):
        noise = 0.1 * rng.standard_normal((24000, 2))
        soundfile.write(track / f"{stem}.wav", noise, 22050, subtype=subtype)
    slakh = tmp_path / "slakh" / "train" / "Track00002"
    (slakh / "stems").mkdir(parents=True)
    (slakh / "metadata.yaml").write_text(
        "stems: {S00: {program_num: 33, is_drum: false}, S01: {program_num: 34, is_drum: false}}"
    )
    for name in ("S00", "S01"):
        soundfile.write(slakh / "stems" / f"{name}.flac", 0.1 * rng.standard_normal(24000), 22050)
    for layout in ("merged", "slakh"):
        data, out = tmp_path / layout, tmp_path / "out" / layout
        result = run("data", "pack", data, out, "--workers", 1)
        assert result.code == 0 and "1 songs" in result.out, result.err
        (original,) = read_data(data, STEMS).songs
        (packed,) = tar_songs(tar_urls(str(out)), tmp_path / "cache").at(0)
        assert packed.stems == original.stems and packed.split == "train"
        assert packed.duration_s == original.duration_s
        for stem in original.stems:
            pairs = zip(original.stem_paths(stem), packed.stem_paths(stem), strict=True)
            for one, two in pairs:
                assert soundfile.info(one).subtype == soundfile.info(two).subtype
                samples = [soundfile.read(path, dtype="float64")[0] for path in (one, two)]
                assert np.array_equal(*samples)
    assert [path.name for path in packed.stem_paths("bass")] == ["bass.0.flac", "bass.1.flac"]
    tar = tmp_path / "out" / "merged" / "train-000000.tar"
    with tarfile.open(tar) as opened:
        names = opened.getnames()
    assert names == [
        f"Track00001.{n}" for n in ("bass.flac", "drums.flac", "piano.wav", "song.json")
    ]


def test_packing_goes_on_where_it_stopped(run, songs: Path, shards: Path, tmp_path: Path):
    command = ["data", "pack", songs, tmp_path, "--shard-mb", 0.1, "--workers", 1]
    command += ["--stems", ",".join(STEMS)]
    (tmp_path / "index.json").write_text((shards / "index.json").read_text())
    (tmp_path / "train-000001.tar").write_bytes((shards / "train-000001.tar").read_bytes())
    before = (tmp_path / "train-000001.tar").stat().st_mtime_ns
    assert run(*command).code == 0
    assert (tmp_path / "train-000001.tar").stat().st_mtime_ns == before
    for path in shards.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    refused = run("data", "pack", songs, tmp_path, "--shard-mb", 1)
    assert refused.code == 2 and "choose another folder" in refused.err


def test_a_repaired_file_is_packed_and_read_anew(run, songs: Path, tmp_path: Path):
    data, out = tmp_path / "songs", tmp_path / "shards"
    shutil.copytree(songs, data)
    command = ["data", "pack", data, out, "--workers", 1, "--stems", ",".join(STEMS)]
    assert run(*command).code == 0
    (url,) = tar_urls(f"{out}/train-*.tar")
    tar_songs([url], tmp_path / "cache").at(0)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    repaired = next(data.glob("song 3*")) / "bass.flac"
    noise = 0.1 * np.random.default_rng(9).standard_normal(16000)
    soundfile.write(repaired, noise, 16000)
    assert run(*command).code == 0
    changed = {
        path.name for path in out.glob("*.tar") if path.stat().st_mtime_ns != before[path.name]
    }
    assert changed == {"train-000000.tar"}
    read = tar_songs([url], tmp_path / "cache").at(0)
    expected = [song for song in read_data(data, STEMS).songs if song.split == "train"]
    assert content(read) == content(expected)


def test_what_names_shards():
    assert tar_urls("data/compose") == []
    assert tar_urls("s3://b/train-{00..02}.tar")[2] == "s3://b/train-02.tar"
    with pytest.raises(InputError, match=r"no tar shard at nowhere/00\.tar"):
        tar_urls("nowhere/{00..01}.tar")
    for url, split in (
        ("http://host/a/validation-000000.tar", "validation"),
        ("pipe:aws s3 cp s3://validation/test-000001.tar -", "test"),
        ("shards/000001.tar", "train"),
    ):
        assert split_of_url(url) == split


def test_damaged_shards_name_what_is_wrong(shards: Path, tmp_path: Path):
    whole = (shards / "train-000000.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:30000])
    (tmp_path / "noise.tar").write_bytes(bytes(range(256)) * 100)
    with tarfile.open(tmp_path / "foreign.tar", "w") as tar:
        member = tarfile.TarInfo("picture.png")
        tar.addfile(member, io.BytesIO())
    for name in ("cut", "noise", "foreign"):
        with pytest.raises(InputError, match=rf"{name}\.tar"):
            tar_songs([str(tmp_path / f"{name}.tar")], tmp_path / "cache").at(0)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
