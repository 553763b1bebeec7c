"""The commands that make or change pieces: files in and out, errors in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.model import StemModel
from stemweave.stems import STEMS
from tests.cli.test_main import left_behind, write_noise

WRITTEN = sorted([*(f"{name}.wav" for name in (*STEMS, "mixture")), "piece.json"])


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A folder of four stems in stereo at 44.1 kHz, 1.5 s, with files that are none of them."""
    folder = tmp_path / "song"
    folder.mkdir()
    for stem in STEMS:
        write_noise(folder / f"{stem}.flac", 66_150, 2, 44100, subtype="PCM_24")
    (folder / "song.json").write_text("{}")
    write_noise(folder / "vocals.wav", 99)
    return folder


def test_generate_writes_numbered_pieces_and_pictures(run, tiny_model, tmp_path):
    out = tmp_path / "out"
    command = ["generate", "-o", out, "-n", 2, "--seconds", 1, "--steps", 1, "--model", tiny_model]
    result = run(*command, "--plot", "--sample-rate", 22050, "--mono")
    assert result.code == 0, result.err
    names = [*(f"{stem}.wav" for stem in STEMS), "mixture.wav", "piece.json", "spectrograms.png"]
    assert left_behind(out) == sorted(f"{i}/{name}" for i in (0, 1) for name in names)
    info = soundfile.info(out / "0" / "mixture.wav")
    assert (info.frames, info.samplerate, info.channels) == (22050, 22050, 1)


def test_arrange(run, tiny_model, tmp_path):
    given = write_noise(tmp_path / "b.wav", channels=2, sample_rate=44100)
    write_noise(tmp_path / "three.wav", channels=3, sample_rate=44100)
    command = ["arrange", "--given", f"bass={tmp_path / 'b.wav'}", "--model", tiny_model]
    assert run(*command, "-o", tmp_path / "o", "--add", "piano").code == 0
    assert left_behind(tmp_path / "o") == ["bass.wav", "mixture.wav", "piano.wav", "piece.json"]
    assert np.array_equal(soundfile.read(tmp_path / "o" / "bass.wav", dtype="float32")[0], given)
    for extra, message in (
        (["--given", f"drums={tmp_path / 'three.wav'}"], "has 2 channels and"),
        (["--given", "drums"], "NAME=FILE"),
        (["--given", f"kazoo={tmp_path / 'b.wav'}"], "kazoo"),
        (["--add", "bass"], "both"),
    ):
        result = run(*command, "-o", tmp_path / "p", *extra)
        assert result.code == 2 and message in result.err, (extra, result)
        assert not (tmp_path / "p").exists()


def test_arrange_does_not_begin_what_it_could_not_write(run, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(StemModel, "arrange", lambda *_, **__: pytest.fail("sampled in vain"))
    write_noise(tmp_path / "b.wav", channels=3)
    command = ["arrange", "--given", f"bass={tmp_path / 'b.wav'}", "--model", tiny_model]
    result = run(*command, "-o", tmp_path / "p", "--format", "mp3")
    assert result.code == 2 and "MP3 cannot hold" in result.err
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "drums.wav").touch()
    result = run(*command, "-o", tmp_path / "o")
    assert result.code == 2 and "drums.wav" in result.err


def test_edit_a_folder(run, tiny_model, song, tmp_path):
    command = ["edit", song, "-o", tmp_path / "o", "--stems", "drums,bass", "--model", tiny_model]
    result = run(*command, "--start", 0.5, "--end", 1, "--plot", "--steps", 2)
    assert result.code == 0, result.err
    assert left_behind(tmp_path / "o") == sorted([*WRITTEN, "spectrograms.png"])
    inside = slice(22_050, 44_100)
    for stem in STEMS:
        before, after = read(song / f"{stem}.flac"), read(tmp_path / "o" / f"{stem}.wav")
        assert soundfile.info(tmp_path / "o" / f"{stem}.wav").samplerate == 44100
        assert after.shape == before.shape
        assert np.array_equal(np.delete(after, inside, 0), np.delete(before, inside, 0))
        assert np.array_equal(after, before) == (stem in ("guitar", "piano"))
    again = run(*command, "--start", 0.5, "--end", 1)
    assert again.code == 2 and "--overwrite" in again.err
    assert run(*command, "--start", 0.5, "--steps", 1, "--overwrite").code == 0


def test_edit_of_part_of_the_stems_adds_none(run, tiny_model, song, tmp_path):
    for stem in ("guitar", "piano"):
        (song / f"{stem}.flac").unlink()
    command = ["edit", song, "--end", 0.5, "--model", tiny_model, "--steps", 1]
    assert run(*command, "-o", tmp_path / "o").code == 0
    assert left_behind(tmp_path / "o") == ["bass.wav", "drums.wav", "mixture.wav", "piece.json"]
    assert run(*command, "-o", tmp_path / "p", "--stems", "piano").code == 0
    assert "piano.wav" in left_behind(tmp_path / "p")


def test_the_record_says_how_a_piece_was_made(run, tiny_model, song, tmp_path):
    out = tmp_path / "o"
    command = ["vary", song, "--strength", 0.25, "--seed", 7, "--steps", 1]
    assert run(*command, "-o", out, "--model", tiny_model).code == 0
    record = json.loads((out / "piece.json").read_text())
    settings = {"seed": 7, "steps": 1, "strength": 0.25}
    assert (record["task"], record["settings"]) == ("vary", settings)
    assert record["sample_rate"] == 44100 and record["model"]["fingerprint"]
    assert record["outputs"] == {name: f"{name}.wav" for name in (*STEMS, "mixture")}


def test_pieces_in_a_folder_are_not_separated(run, tiny_model, song, tmp_path):
    """What a task made lies in the folder of the music: only the music is taken."""
    music = tmp_path / "music"
    music.mkdir()
    write_noise(music / "song.wav", 9000)
    command = ["vary", song, "-o", music / "piece", "--model", tiny_model, "--steps", 1]
    assert run(*command).code == 0
    result = run("separate", music, "-o", tmp_path / "o", "--model", tiny_model, "--steps", 1)
    assert result.code == 0, result.err
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"song"}
    assert "5 files that Stemweave made" in result.out + result.err


def test_extend(run, tiny_model, song, tmp_path):
    command = ["extend", song, "--seconds", 0.7, "--model", tiny_model, "--steps", 2]
    assert run(*command, "-o", tmp_path / "o").code == 0
    for stem in STEMS:
        before, after = read(song / f"{stem}.flac"), read(tmp_path / "o" / f"{stem}.wav")
        assert len(after) == 66_150 + 30_870
        assert np.array_equal(after[:66_150], before)
    result = run(*command, "-o", tmp_path / "p", "--seed", 1)
    assert result.code == 0 and str(tmp_path / "p") in result.out
    other = read(tmp_path / "p" / "bass.wav")
    assert not np.allclose(other[66_150:], read(tmp_path / "o" / "bass.wav")[66_150:], atol=1e-3)


def test_vary(run, tiny_model, song, tmp_path):
    command = ["vary", song, "--model", tiny_model, "--steps", 2]
    assert run(*command, "-o", tmp_path / "same", "--strength", 0).code == 0
    assert run(*command, "-o", tmp_path / "new").code == 0
    for stem in STEMS:
        before = read(song / f"{stem}.flac")
        assert np.array_equal(read(tmp_path / "same" / f"{stem}.wav"), before)
        varied = read(tmp_path / "new" / f"{stem}.wav")
        assert varied.shape == before.shape and not np.array_equal(varied, before)


def test_encodings_are_those_that_are_asked_for(run, tiny_model, song, tmp_path):
    command = ["edit", song, "--stems", "bass", "--end", 0.5, "--model", tiny_model, "--steps", 1]
    for options in (["--format", "flac", "--bit-depth", "16"], ["--format", "mp3"]):
        out = tmp_path / options[1]
        assert run(*command, "-o", out, *options).code == 0
        audio = [name for name in left_behind(out) if name != "piece.json"]
        assert audio == sorted(f"{name}.{options[1]}" for name in (*STEMS, "mixture"))
    assert soundfile.info(tmp_path / "flac" / "drums.flac").subtype == "PCM_16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edit", "--start", 1, "--end", 1.6], "1.5 s long"),
        (["edit", "--start", -1, "--end", 1], "not in the piece"),
        (["edit", "--start", 1, "--end", 0.5], "start before it ends"),
        (["edit", "--start", 2], "start before it ends"),
        (["edit", "--stems", "flute"], "flute"),
        (["edit"], "nothing of the piece would stay"),
        (["edit", "--end", "soon"], "--end"),
        (["extend", "--seconds", 0], "positive"),
        (["extend", "--seconds", "1e9"], "at most 3600 s"),
        (["extend", "--seconds", "nan"], "positive"),
        (["vary", "--strength", 1.5], "between 0 and 1"),
        (["vary", "--strength", -0.1], "between 0 and 1"),
        (["vary", "--format", "aac"], "format must be one of"),
        (["vary", "--steps", 0], "--steps"),
    ],
)
def test_bad_options(run, tiny_model, song, tmp_path, arguments, message):
    command, *options = arguments
    result = run(command, song, "-o", tmp_path / "o", "--model", tiny_model, *options)
    assert result.code == 2 and message in result.err, result
    assert "Traceback" not in result.err
    assert not (tmp_path / "o").exists()


def write_stems(song: Path, num_samples: int) -> None:
    for stem in STEMS:
        write_noise(song / f"{stem}.flac", num_samples, 2, 44100)


def write_no_numbers(song: Path) -> None:
    (song / "bass.flac").unlink()
    soundfile.write(song / "bass.wav", np.full((66_150, 2), np.nan), 44100, subtype="FLOAT")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda song: write_noise(song / "bass.flac", 66_150, 3, 44100), "has 2 channels and"),
        (lambda song: write_noise(song / "bass.wav", 66_150), "both bass.flac and bass.wav"),
        (lambda song: (song / "bass.flac").write_text("no"), "not audio"),
        (write_no_numbers, "not numbers"),
        (lambda song: [path.unlink() for path in song.glob("*.flac")], "no audio file named"),
        (lambda song: write_stems(song, 3000), "too short to continue"),
    ],
)
def test_bad_folders(run, tiny_model, song, tmp_path, spoil, message):
    spoil(song)
    result = run("extend", song, "-o", tmp_path / "o", "--model", tiny_model)
    assert result.code == 2 and message in result.err, result
    assert result.err.count("\n") == 1 and not (tmp_path / "o").exists()


def test_stems_of_other_shapes_and_names_are_fitted(run, tiny_model, song, tmp_path):
    (song / "bass.flac").unlink()
    mono = write_noise(song / "My Song - Bass.wav", 60_000, 1, 44100)
    drums = soundfile.read(song / "drums.flac", dtype="float32")[0]
    edit = ("edit", song, "--stems", "piano", "--end", 0.2, "--model", tiny_model)
    made = run(*edit, "-o", tmp_path / "o")
    assert made.code == 0, made.err
    assert "is mono and plays on all 2 channels" in made.err
    assert "is 0.139 s shorter and ends in silence" in made.err
    bass = soundfile.read(tmp_path / "o" / "bass.wav", dtype="float32")[0]
    assert np.array_equal(bass[:60_000], np.broadcast_to(mono.reshape(-1, 1), (60_000, 2)))
    assert len(bass) == 66_150 and not bass[60_000:].any()
    kept = soundfile.read(tmp_path / "o" / "drums.wav", dtype="float32")[0]
    assert np.array_equal(kept, drums)


def test_what_a_killed_run_left_is_no_obstacle(run, tiny_model, tmp_path):
    out = tmp_path / "o"
    (out / "0" / ".partial" / "0123abcd").mkdir(parents=True)
    (out / "0" / ".partial" / "0123abcd.lock").touch()
    command = ["generate", "-o", out, "--seconds", 1, "--steps", 1, "--model", tiny_model]
    assert run(*command).code == 0
    assert left_behind(out) == [f"0/{name}" for name in WRITTEN]
    result = run(*command)
    assert result.code == 2 and f"{out / '0'} exists" in result.err


def test_nothing_of_others_gives_way(run, tiny_model, song, tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    model = ["-o", out, "--model", tiny_model, "--steps", 1]
    arrange = ["arrange", "--given", f"bass={song / 'bass.flac'}", *model]
    (out / "piece.json").write_text('{"of": "another program"}')
    (out / "spectrograms.png").write_text("mine")
    for command in (["vary", song, *model], arrange):
        for more, name in (([], "piece.json"), (["--plot"], "spectrograms.png")):
            result = run(*command, *more)
            assert result.code == 2 and f"{out / name} exists" in result.err
    assert left_behind(out) == ["piece.json", "spectrograms.png"]
    (out / "piece.json").unlink()
    assert run("vary", song, *model).code == 0
    assert (out / "spectrograms.png").read_text() == "mine"
    assert run("vary", song, *model, "--overwrite", "--plot").code == 0
    assert (out / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
