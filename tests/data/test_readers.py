"""Data sets of others: each layout as its authors ship it, written here in small."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from stemweave.data import damage
from stemweave.data.checking import decoded
from stemweave.data.mixing import PLAIN, MixSettings, draw_crops, read_crop
from stemweave.data.readers import MUSDB_VALIDATION, read_data
from stemweave.data.songs import Song, manifest_line, read_manifest
from stemweave.errors import InputError
from stemweave.io.jobs import Workers
from stemweave.stems import STEMS


def tone(path: Path, seconds: float = 2.0, level: float = 0.1, rate: int = 22050) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.full(round(seconds * rate), level)
    soundfile.write(path, samples, rate)
    return path


def slakh_track(folder: Path, stems: dict[str, tuple[int, bool, bool]], **options) -> None:
    """``stems``: name → program, drum flag, whether audio was rendered."""
    described = {}
    for number, (name, (program, is_drum, rendered)) in enumerate(stems.items()):
        described[name] = {
            "inst_class": "any", "program_num": program, "is_drum": is_drum,
            "audio_rendered": rendered, "midi_program_name": "x", "plugin": "y",
        }  # fmt: skip
        if rendered:
            tone(folder / "stems" / f"{name}.flac", level=0.1 * (number + 1), **options)
    tone(folder / "mix.flac", **options)
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"UUID": "1", "stems": described}))


@pytest.fixture
def slakh(tmp_path: Path) -> Path:
    data = tmp_path / "slakh2100_flac_redux"
    band = {
        "S00": (33, False, True), "S01": (0, True, True), "S02": (27, False, True),
        "S03": (4, False, True), "S04": (25, False, True), "S05": (48, False, True),
        "S06": (1, False, False),
    }  # fmt: skip
    slakh_track(data / "train" / "Track00001", band)
    slakh_track(data / "validation" / "Track01501", band, rate=44100)
    slakh_track(data / "test" / "Track01876", {"S00": (33, False, True)})
    slakh_track(data / "omitted" / "Track00002", band)
    slakh_track(data / "train" / "Track00003", {"S00": (60, False, True)})
    (data / "train" / "Track00004").mkdir()
    (data / "train" / "Track00004" / "metadata.yaml").write_text("stems: 3")
    return data


def test_slakh_classes_are_summed_and_splits_kept(slakh: Path):
    findings = read_data(slakh, STEMS)
    assert findings.layout == "slakh"
    by_name = {song.name: song for song in findings.songs}
    assert {name: song.split for name, song in by_name.items()} == {
        "Track00001": "train", "Track01501": "validation", "Track01876": "test"
    }  # fmt: skip
    song = by_name["Track00001"]
    assert set(song.stems) == set(STEMS) and by_name["Track01876"].stems == ("bass",)
    assert [path.name for path in song.stem_paths("guitar")] == ["S02.flac", "S04.flac"]
    reasons = {skipped.folder.name: skipped.reason for skipped in findings.skipped}
    assert "omitted" in reasons["Track00002"] and "none of the stems" in reasons["Track00003"]
    assert "metadata.yaml" in reasons["Track00004"]
    crops = draw_crops([song], STEMS, 1, 8000, 16000, PLAIN, np.random.default_rng(0))
    levels = crops.waveforms[0, :, 1000:-1000].mean(-1)
    expected = torch.tensor([0.1, 0.2, 0.3 + 0.5, 0.4])  # S02 and S04 are guitars
    assert torch.allclose(levels, expected, atol=0.01)


def test_all_four_stems_can_be_required(slakh: Path):
    findings = read_data(slakh, STEMS, require_all=True)
    assert [song.name for song in findings.songs] == ["Track00001", "Track01501"]
    assert any("no drums, guitar, piano" in skipped.reason for skipped in findings.skipped)


def test_merged_layout(tmp_path: Path):
    for split in ("train", "validation", "test"):
        for stem in STEMS:
            tone(tmp_path / split / "Track00001" / f"{stem}.wav")
    findings = read_data(tmp_path, STEMS)
    assert findings.layout == "folders" and not findings.skipped
    assert sorted(song.split for song in findings.songs) == ["test", "train", "validation"]
    assert read_data(tmp_path / "test", STEMS).songs[0].split == "test"


def test_musdb_has_its_own_stems_and_validation_songs(tmp_path: Path):
    stems = ("vocals", "drums", "bass", "other")
    for folder in ("train/" + MUSDB_VALIDATION[0], "train/A - B", "test/C - D"):
        for stem in (*stems, "mixture"):
            tone(tmp_path / folder / f"{stem}.wav", rate=44100)
    findings = read_data(tmp_path, stems)
    assert findings.layout == "musdb18hq"
    splits = {song.name: song.split for song in findings.songs}
    assert splits == {MUSDB_VALIDATION[0]: "validation", "A - B": "train", "C - D": "test"}
    assert all(set(song.stems) == set(stems) for song in findings.songs)


def test_moisesdb_has_several_tracks_a_stem_and_any_vocabulary(tmp_path: Path):
    names = ("vocals", "drums", "bass", "guitar", "piano")
    song = tmp_path / "moisesdb_v0.1" / "0a1b-uuid"
    stems = []
    for name in (*names, "percussion"):
        tracks = [{"id": f"{name}{i}", "trackType": "t", "extension": "wav"} for i in range(2)]
        stems.append({"id": "1", "stemName": name, "tracks": tracks})
        for track in tracks:
            tone(song / name / f"{track['id']}.wav", rate=44100)
    (song / "data.json").write_text(json.dumps({"song": "x", "artist": "y", "stems": stems}))
    broken = tmp_path / "moisesdb_v0.1" / "broken"
    broken.mkdir()
    (broken / "data.json").write_text("{")
    findings = read_data(tmp_path, names)
    assert findings.layout == "moisesdb" and len(findings.songs) == 1
    assert findings.songs[0].stems == names
    assert len(findings.songs[0].stem_paths("vocals")) == 2
    assert "data.json" in findings.skipped[0].reason
    assert read_data(tmp_path, ("drums", "bass")).songs[0].stems == ("drums", "bass")


def test_faulty_songs_are_skipped_with_the_reason(tmp_path: Path):
    tone(tmp_path / "good" / "bass.wav")
    tone(tmp_path / "good" / "drums.wav", level=0.0)
    tone(tmp_path / "silent" / "bass.wav", level=0.0)
    tone(tmp_path / "uneven" / "bass.wav")
    tone(tmp_path / "uneven" / "drums.wav", seconds=1.5)
    tone(tmp_path / "longer" / "bass.wav")
    tone(tmp_path / "longer" / "drums.wav", seconds=13)
    tone(tmp_path / "short" / "bass.wav", seconds=0.2)
    tone(tmp_path / "text" / "bass.wav").write_text("no audio")
    for name, level in (("nan", float("nan")), ("loud", 5000.0)):
        soundfile.write(tone(tmp_path / name / "bass.wav"), np.full(50_000, level), 22050, "FLOAT")
    cut = tone(tmp_path / "cut" / "bass.flac")
    soundfile.write(cut, np.random.default_rng(0).normal(0, 0.1, 50_000), 22050)
    cut.write_bytes(cut.read_bytes()[:20_000])
    findings = read_data(tmp_path, STEMS)
    reasons = {skipped.folder.name: skipped.reason for skipped in findings.skipped}
    assert set(reasons) == {"longer", "short", "text"}
    assert "drums.wav 13.0 s" in reasons["longer"] and "too short" in reasons["short"]
    assert "not audio" in reasons["text"]
    (note,) = findings.notes
    assert note.folder.name == "uneven" and note.reason.endswith("bass.wav 2.0 s: 1.5 s are used")
    assert {song.duration_s for song in findings.songs if song.name == "uneven"} == {1.5}
    heard = decoded(findings, workers=Workers(1))
    assert [(song.name, song.stems) for song in heard.songs] == [
        ("good", ("bass",)), ("uneven", ("bass", "drums"))
    ]  # fmt: skip
    reasons = {skipped.folder.name: skipped.reason for skipped in heard.skipped}
    assert reasons["silent"] == "all stems are silent" and "damaged" in reasons["cut"]
    assert "NaN" in reasons["nan"] and "peak of 5e+03 full scales" in reasons["loud"]


def test_untidy_folders(tmp_path: Path):
    data = tmp_path / "data"
    slakh_track(tmp_path / "elsewhere" / "Track00001", {"S00": (33, False, True)})
    tone(data / "a" / "guitar.WAV")
    tone(data / "b" / "Bass.mp3", rate=44100)
    (data / "b" / "song.json").write_text("{")
    for name in ("data.json", "song.json", "metadata.yaml"):
        (data / name).write_text("stray")
    (data / "link").symlink_to(tmp_path / "elsewhere")
    (data / "link" / "back").symlink_to(data)
    (data / "moved").mkdir()
    (data / "moved" / "piano.wav").symlink_to("nowhere")
    findings = read_data(data, STEMS)
    assert [(song.name, song.stems) for song in findings.songs] == [
        ("a", ("guitar",)), ("b", ("bass",)), ("Track00001", ("bass",))
    ]  # fmt: skip
    assert findings.layout == "folders, slakh"
    assert [skipped.folder for skipped in findings.skipped] == [data, data / "moved"]
    for song in findings.songs:
        crop = draw_crops([song], STEMS, 1, 8000, 16000, PLAIN, np.random.default_rng(0))
        assert crop.waveforms.abs().max() > 0.05, song.name


def test_slakhs_other_classes_are_one_line(slakh: Path):
    path = slakh / "train" / "Track00001" / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    content["stems"]["S05"]["inst_class"] = "Strings (continued)"
    path.write_text(yaml.safe_dump(content))
    classes = {"strings": ["Strings", "Strings (continued)"]}
    (song,) = read_data(slakh, ("strings",), classes=classes).songs
    assert [path.name for path in song.stem_paths("strings")] == ["S05.flac"]
    (slakh / "train" / "Track00001" / "stems" / "S05.flac").unlink()
    reasons = [one.reason for one in read_data(slakh, ("strings",), classes=classes).skipped]
    assert "stems/S05 is missing, which metadata.yaml lists" in reasons


def test_a_damaged_file_is_passed_by_in_training(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(damage, "found", {})
    monkeypatch.setattr(damage, "seen", {})
    for index in range(60):
        tone(tmp_path / f"{index:02d}" / "bass.wav", rate=8000)
        tone(tmp_path / f"{index:02d}" / "drums.wav", rate=8000)
    soundfile.write(tmp_path / "07" / "bass.wav", np.full(16_000, np.nan), 8000, "FLOAT")
    songs = read_data(tmp_path, STEMS).songs
    stems, plain = ("bass", "drums"), MixSettings(0.0, 0.0, None, 0.0, 0.0, 0.0)
    drawn = [
        draw_crops(songs, stems, 300, 800, 8000, plain, np.random.default_rng(0)) for _ in "ab"
    ]
    assert torch.equal(drawn[0].waveforms, drawn[1].waveforms)  # found before or not
    assert drawn[0].waveforms.isfinite().all() and "07" not in {p[0].name for p in drawn[0].places}
    assert capsys.readouterr().err.count("bass.wav has samples that are NaN") == 1
    for name in ("08", "09"):
        (tmp_path / name / "drums.wav").unlink()
    with pytest.raises(InputError, match=r"of 120 files are damaged.*stemweave data check"):
        draw_crops(songs, stems, 300, 800, 8000, plain, np.random.default_rng(0))


def test_cut_and_absurd_files_are_damaged(tmp_path: Path):
    whole = tone(tmp_path / "whole.wav", rate=8000)
    (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:20_044])  # 1.25 of 2 s
    soundfile.write(tmp_path / "loud.wav", np.full(16_000, 1e30), 8000, "FLOAT")
    at_the_end = read_crop(whole, 1.5, 8000, 8000)[3999:4001].tolist()
    assert at_the_end == pytest.approx([0.1, 0], abs=1e-4)
    assert read_crop(tmp_path / "cut.wav", 0.5, 4000, 8000).min() > 0.09
    for name, start_s, message in (
        ("cut", 1.0, r"cut.wav is damaged or cut off: no samples after 1\.2 s"),
        ("cut", 1.5, "cut.wav is damaged or cut off"),
        ("loud", 0.0, r"loud.wav has a peak of 1e\+30 full scales"),
        ("none", 0.0, "none.wav cannot be read"),
    ):
        with pytest.raises(damage.DamagedFile, match=message):
            read_crop(tmp_path / f"{name}.wav", start_s, 4000, 8000)


def test_damage_is_counted_over_all_windows(monkeypatch):
    monkeypatch.setattr(damage, "found", {})
    monkeypatch.setattr(damage, "seen", {})
    windows = [
        [Song(Path(f"{window}_{number}"), "train", 1.0, 8000, ("bass",)) for number in range(100)]
        for window in range(3)
    ]
    for window in windows:
        damage.pass_by(damage.DamagedFile(window[0].folder / "bass.wav", "is cut"), window)
    with pytest.raises(InputError, match="4 of 300 files are damaged"):
        damage.pass_by(damage.DamagedFile(windows[0][1].folder / "bass.wav", "is cut"), windows[0])


def test_check_prints_hours_and_writes_a_list_for_training(run, slakh: Path, tmp_path: Path):
    out = tmp_path / "lists" / "slakh.jsonl"
    out.parent.mkdir()
    result = run("data", "check", slakh, "--manifest", out)
    assert result.code == 0, result.err
    assert "layout: slakh" in result.out and "songs: 3" in result.out
    assert "22050 Hz (2), 44100 Hz (1)" in result.out and "skipped: 3" in result.out
    listed = read_manifest(out)
    assert [song.name for song in listed] == ["Track01876", "Track00001", "Track01501"]
    assert listed[1].stem_paths("guitar")[1].resolve() == (
        slakh / "train" / "Track00001" / "stems" / "S04.flac"
    )
    assert [song.name for song in read_data(out, STEMS).songs] == [song.name for song in listed]
    refused = run("data", "check", slakh, "--manifest", out)
    assert refused.code == 2 and "--overwrite" in refused.err


@pytest.mark.parametrize("name", ["missing", "."])
def test_no_songs(run, tmp_path: Path, name: str):
    result = run("data", "check", tmp_path / name)
    assert result.code == 2 and str(tmp_path) in result.err
    with pytest.raises(InputError):
        read_data(tmp_path / name, STEMS)


def test_what_is_no_list_and_no_metadata_is_one_line(run, slakh: Path, tmp_path: Path):
    tone(tmp_path / "bass.wav")
    result = run("data", "check", tmp_path / "bass.wav")
    assert result.code == 2 and "bass.wav is not a song" in result.err
    (slakh / "train" / "Track00001" / "metadata.yaml").write_text(": [")
    skipped = {song.folder.name: song.reason for song in read_data(slakh, STEMS).skipped}
    assert "metadata.yaml cannot be read" in skipped["Track00001"]
    assert "\n" not in skipped["Track00001"]


def test_a_list_is_read_as_its_folders_are(slakh: Path, tmp_path: Path):
    lines = [manifest_line(song, tmp_path) for song in read_data(slakh, STEMS).songs]
    short = json.dumps(json.loads(lines[1]) | {"path": "short", "duration_s": 0.5})
    (tmp_path / "songs.jsonl").write_text("".join(lines) + short)
    listed = read_data(tmp_path / "songs.jsonl", STEMS, require_all=True)
    assert [song.name for song in listed.songs] == ["Track00001", "Track01501"]
    reasons = {skipped.folder.name: skipped.reason for skipped in listed.skipped}
    assert reasons == {"Track01876": "no drums, guitar, piano", "short": "too short: 0.5 s"}
    skipped = read_data(tmp_path / "songs.jsonl", ("drums",)).skipped
    assert {one.folder.name: one.reason for one in skipped} == {
        "Track01876": "none of the stems is here", "short": "too short: 0.5 s"
    }  # fmt: skip
