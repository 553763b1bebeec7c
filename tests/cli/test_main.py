"""The command line: files in and out, formats, errors in one sentence."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from stemweave.io.decode import read_audio
from stemweave.io.encode import write_audio

STEMS = ("bass", "drums", "guitar", "piano")


def write_noise(
    path: Path, num_samples: int = 30_000, channels: int = 1, sample_rate: int = 16000, **options
) -> np.ndarray:
    samples = 0.2 * np.random.default_rng(0).standard_normal((num_samples, channels))
    soundfile.write(path, samples.astype(np.float32), sample_rate, **options)
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def left_behind(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("name", "channels", "sample_rate", "options"),
    [
        ("a.wav", 1, 16000, {"subtype": "FLOAT"}),
        ("a.wav", 6, 48000, {"subtype": "PCM_16"}),
        ("a.flac", 2, 44100, {"subtype": "PCM_24"}),
        ("a.ogg", 2, 22050, {}),
        ("a.mp3", 1, 8000, {}),
        ("a.wav", 1, 192_000, {"subtype": "PCM_24"}),
    ],
)
def test_separate_keeps_rate_channels_and_length(
    run, tiny_model, tmp_path, name, channels, sample_rate, options
):
    write_noise(tmp_path / name, channels=channels, sample_rate=sample_rate, **options)
    mixture = read_audio(tmp_path / name)[0].T.numpy()
    out = tmp_path / "out"
    result = run("separate", tmp_path / name, "-o", out, "--model", tiny_model)
    assert result.code == 0, result.err
    stems = []
    for stem in STEMS:
        samples, rate = soundfile.read(out / "a" / f"{stem}.wav", dtype="float32", always_2d=True)
        assert rate == sample_rate and samples.shape == mixture.shape
        stems.append(samples)
    assert np.abs(sum(stems) - mixture).max() < 1e-6
    assert soundfile.info(out / "a" / "bass.wav").subtype == "FLOAT"


def bad_files(folder: Path) -> dict[str, Path]:
    """Files that are no audio, by what the sentence has to say."""
    (folder / "empty.wav").write_bytes(b"")
    soundfile.write(folder / "nan.wav", np.full((9000, 1), np.nan), 16000, subtype="FLOAT")
    write_noise(folder / "slow.wav", sample_rate=4000)
    (folder / "folder_without_audio").mkdir()
    return {
        "does not exist": folder / "missing.wav",
        "empty": folder / "empty.wav",
        "not numbers": folder / "nan.wav",
        "4000 Hz": folder / "slow.wav",
        "no audio files": folder / "folder_without_audio",
    }


def test_bad_files_are_one_sentence_and_leave_nothing(run, tiny_model, tmp_path):
    out = tmp_path / "out"
    for message, path in bad_files(tmp_path).items():
        result = run("separate", path, "-o", out, "--model", tiny_model)
        assert result.code == 2, (path, result)
        assert message in result.err and path.name in result.err
        assert result.err.count("\n") == 1 and "Traceback" not in result.err
        assert not out.exists() or left_behind(out) == []


def test_what_is_left_of_a_cut_file_is_separated_with_a_warning(run, tiny_model, tmp_path):
    write_noise(tmp_path / "a.flac")
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: len(whole) // 2])
    command = ("separate", tmp_path / "a.flac", "-o", tmp_path / "out", "--model", tiny_model)
    result = run(*command, "--plot")
    assert result.code == 0 and result.err.count("\n") == 1, result.err
    assert result.err.startswith(
        f"warning: {tmp_path / 'a.flac'} is damaged or cut off: 0.8 of 1.9"
    )
    mixture, _ = read_audio(tmp_path / "a.flac")
    for stem in STEMS:
        assert soundfile.info(tmp_path / "out" / "a" / f"{stem}.wav").frames == mixture.shape[1]


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
@pytest.mark.parametrize("fmt", ["wav", "flac", "mp3", "m4a", "opus"])
def test_a_file_of_one_sample(run, tiny_model, tmp_path, name, fmt):
    write_audio(tmp_path / name, torch.full((1, 1), 0.5), 48000, name.split(".")[1])
    command = ("separate", tmp_path / name, "-o", tmp_path / "out", "--model", tiny_model)
    assert run(*command, "--format", fmt).code == 0
    for stem in STEMS:
        waveform, _ = read_audio(tmp_path / "out" / "a" / f"{stem}.{fmt}")
        assert waveform.shape == (1, 1) and waveform.isfinite().all()


def test_stems_that_would_clip_are_all_made_quieter_and_say_so(run, tiny_model, tmp_path):
    loud = 3 * np.random.default_rng(0).standard_normal((30_000, 1)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", loud, 44100, subtype="FLOAT")
    out = tmp_path / "out"
    command = ("separate", tmp_path / "a.wav", "-o", out, "--model", tiny_model, "--format", "flac")
    result = run(*command, "--bit-depth", "16")
    assert result.code == 0 and result.err.count("\n") == 1
    assert result.err.startswith(f"warning: {out / 'a'}: all files made ") and "dB" in result.err
    gain = json.loads((out / "a" / "separation.json").read_text())["gain"]
    assert 0 < gain < 1
    assert soundfile.info(out / "a" / "bass.flac").subtype == "PCM_16"
    total = sum(read_audio(out / "a" / f"{stem}.flac")[0][0] for stem in STEMS).numpy()
    assert np.abs(total / gain - loud[:, 0]).max() < 10 / 2**15 / gain


def test_separation_json_says_what_was_done(run, tiny_model, tmp_path):
    write_noise(tmp_path / "a.flac", sample_rate=44100)
    data = (tmp_path / "a.flac").read_bytes()
    command = ("separate", tmp_path / "a.flac", "-o", tmp_path / "o", "--model", tiny_model)
    assert run(*command, "--seed", 3, "--format", "opus", "--bitrate", "64k").code == 0
    record = json.loads((tmp_path / "o" / "a" / "separation.json").read_text())
    assert record["program"] == "stemweave" and record["gain"] == 1.0
    assert record["input"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert (record["input"]["name"], record["input"]["num_samples"]) == ("a.flac", 30_000)
    assert record["model"]["name"] == tiny_model.name and len(record["model"]["fingerprint"]) == 64
    assert (record["settings"]["seed"], record["settings"]["steps"]) == (3, 1)
    assert record["outputs"] == {stem: f"{stem}.opus" for stem in STEMS}
    assert record["encoding"] == {
        "format": "opus", "bit_depth": None, "bitrate_kbps": 64, "sample_rate": 48000
    }  # fmt: skip
    assert record["versions"]["torch"] and record["seconds"] > 0


def test_sums_of_stems(run, tiny_model, tmp_path):
    write_noise(tmp_path / "a.wav", subtype="FLOAT")
    command = ("separate", tmp_path / "a.wav", "--model", tiny_model)
    assert run(*command, "-o", tmp_path / "stems").code == 0
    stems = {s: soundfile.read(tmp_path / "stems" / "a" / f"{s}.wav")[0] for s in STEMS}
    result = run(*command, "-o", tmp_path / "o", "--mix", "drums,bass", "--without", "drums")
    assert result.code == 0, result.err
    sums = {"bass+drums": ("bass", "drums"), "without_drums": ("bass", "guitar", "piano")}
    written = [f"a/{name}.wav" for name in sums]
    assert left_behind(tmp_path / "o") == sorted([*written, "a/separation.json"])
    for name, parts in sums.items():
        total = soundfile.read(tmp_path / "o" / "a" / f"{name}.wav")[0]
        assert np.abs(total - sum(stems[part] for part in parts)).max() < 1e-6
    result = run(*command, "-o", tmp_path / "p", "--without", "bass,piano", "--stems", "bass")
    assert result.code == 0
    assert left_behind(tmp_path / "p") == [
        "a/bass.wav", "a/separation.json", "a/without_bass+piano.wav"
    ]  # fmt: skip
    again = run(*command, "-o", tmp_path / "o", "--without", "drums", "--skip-existing")
    assert again.code == 0 and "1 of 1 files" in again.out
    assert run(*command, "-o", tmp_path / "o", "--without", "drums").code == 2


def test_without_an_output_folder_results_lie_beside_the_input(run, tiny_model, tmp_path):
    music = tmp_path / "music"
    (music / "deep").mkdir(parents=True)
    write_noise(music / "one.wav")
    write_noise(music / "deep" / "two.flac")
    write_noise(tmp_path / "three.wav")
    paths = (tmp_path / "three.wav", music, tmp_path / "three.wav")
    result = run("separate", *paths, "--model", tiny_model, "--stems", "bass")
    assert result.code == 0, result.err
    assert left_behind(tmp_path / "three.wav.stems") == ["bass.wav", "separation.json"]
    assert left_behind(tmp_path / "music.stems") == [
        "deep/two/bass.wav", "deep/two/separation.json", "one/bass.wav", "one/separation.json"
    ]  # fmt: skip
    assert result.out.count("→") == 3 and str(tmp_path / "three.wav.stems") in result.out
    assert len(left_behind(music)) == 2


def test_a_missing_file_is_refused_before_a_model_is_loaded(run, tmp_path):
    missing = tmp_path / "missing.wav"
    result = run("separate", missing, "-o", tmp_path / "out", "--model", tmp_path / "no_model")
    assert result.code == 2 and f"{missing} does not exist" in result.err


def test_stems_that_are_there_need_no_mixture_any_more(run, tiny_model, tmp_path):
    write_noise(tmp_path / "song.wav")
    command = ("separate", tmp_path / "song.wav", "-o", tmp_path / "out", "--model", tiny_model)
    assert run(*command).code == 0
    (tmp_path / "song.wav").unlink()
    result = run(*command, "--skip-existing")
    assert result.code == 0 and "1 of 1 files" in result.out, result


def test_a_bad_file_does_not_stop_the_others(run, tiny_model, tmp_path):
    music = tmp_path / "music"
    (music / "deep").mkdir(parents=True)
    write_noise(music / "one.wav")
    write_noise(music / "deep" / "one.flac")
    (music / "text.wav").write_text("no")
    result = run("separate", music, "-o", tmp_path / "out", "--model", tiny_model)
    assert result.code == 1
    assert "text.wav" in result.err and "1 of 3 files failed" in result.err
    stems = sorted(f"{stem}.wav" for stem in STEMS)
    assert left_behind(tmp_path / "out") == [
        *(f"deep/one/{name}" for name in (*stems, "separation.json")),
        *(f"one/{name}" for name in (*stems, "separation.json")),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stems", "flute"], "--stems"),
        (["--method", "magic"], "method must be one of mask, diffusion, vocoder"),
        (["--format", "aac"], "format must be one of"),
        (["--format", "mp3", "--bitrate", "x"], "bitrate is a number"),
        (["--mix", "bass"], "--stems bass writes it"),
        (["--mix", "bass,flute"], "--mix 'flute'"),
        (["--without", "bass,drums,guitar,piano"], "leaves no stem"),
        (["--model", "nowhere/at/all"], "nowhere/at/all"),
        (["--device", "cuda:77"], "device cuda:77"),
        (["--steps", "0"], "--steps"),
        (["--guidance", "-1"], "--guidance"),
        (["--workers", "999999999999"], "256"),
        (["--stems", ""], "an argument is empty, after --stems"),
        (["--model="], "an argument is empty, after --model="),
        (["--failures", "."], "--failures . is a folder"),
    ],
)
def test_bad_options(run, tiny_model, tmp_path, arguments, message):
    write_noise(tmp_path / "a.wav")
    result = run(
        "separate", tmp_path / "a.wav", "-o", tmp_path / "o", "--model", tiny_model, *arguments
    )
    assert result.code == 2 and message in result.err and "Traceback" not in result.err
    assert not (tmp_path / "o").exists()


def test_results_are_never_overwritten_silently(run, tiny_model, tmp_path):
    write_noise(tmp_path / "a.wav")
    command = ["separate", tmp_path / "a.wav", "-o", tmp_path / "o", "--model", tiny_model]
    assert run(*command).code == 0
    before = (tmp_path / "o" / "a" / "bass.wav").stat().st_mtime_ns
    result = run(*command)
    assert result.code == 2 and "--overwrite" in result.err
    assert (tmp_path / "o" / "a" / "bass.wav").stat().st_mtime_ns == before
    assert run(*command, "--overwrite").code == 0


def test_an_output_that_is_a_file_is_refused(run, tiny_model, tmp_path):
    write_noise(tmp_path / "a.wav")
    (tmp_path / "taken").write_text("mine")
    result = run("separate", tmp_path / "a.wav", "-o", tmp_path / "taken", "--model", tiny_model)
    assert result.code == 2 and "taken" in result.err
    assert (tmp_path / "taken").read_text() == "mine"
