"""What may go wrong with files, folders and other runs stops nothing else and loses nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.errors import ExistsError, InputError
from stemweave.io import batch
from stemweave.io.catalogue import Failure, Separation, SeparationJob, Success, separate_song
from stemweave.io.files import Staging
from stemweave.model import StemModel
from stemweave.music.lead_sheet import LeadSheet
from tests.cli.test_main import STEMS, left_behind, write_noise
from tests.io.test_catalogue import expected, touch, write_music


def test_a_fault_of_the_program_is_one_files_failure(
    run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    music, out, listed = tmp_path / "music", tmp_path / "out", tmp_path / "failed.jsonl"
    write_music(music, ["a.wav", "b.wav", "c.wav"], 2000)
    separate_file = batch.separate_file

    def divide(pipe, path, *arguments, **options):
        return 1 / 0 if path.name == "b.wav" else separate_file(pipe, path, *arguments, **options)

    monkeypatch.setattr(batch, "separate_file", divide)
    command = ["separate", music, "-o", out, "--model", tiny_model, "--failures", listed]
    result = run(*command)
    assert result.code == 1
    assert result.err.splitlines() == [
        f"error: {music / 'b.wav'}: unexpected ZeroDivisionError: division by zero",
        "1 of 3 files failed",
    ]
    assert left_behind(out) == expected("a", "c")
    (failure,) = map(json.loads, listed.read_text().splitlines())
    assert failure["file"] == str(music / "b.wav") and "in divide" in failure["traceback"]
    result = run(*command, "--verbose", "--overwrite", "--json")
    assert result.code == 1 and "in divide" in result.err
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["a.wav", "b.wav", "c.wav"]
    assert lines[0]["folder"] == str(out / "a") and set(lines[0]["files"]) == set(STEMS)
    assert "ZeroDivisionError" in lines[1]["error"]
    # one file alone is no other matter
    result = run(*command[:1], music / "b.wav", *command[2:])
    assert result.code == 1 and result.err.count("\n") == 1


def test_workers_hand_back_what_went_wrong(tiny_pipe, tmp_path: Path):
    write_noise(tmp_path / "a.wav", 2000)
    asked = Separation(STEMS, method="diffusion", guidance="much")  # type: ignore[arg-type]
    outcome = separate_song(
        SeparationJob(tmp_path / "a.wav", tmp_path / "o", "a", asked), tiny_pipe
    )
    assert isinstance(outcome, Failure) and "unexpected TypeError" in outcome.reason
    assert outcome.traceback is not None and "Traceback" in outcome.traceback
    assert not (tmp_path / "o").exists()


def test_results_may_lie_among_the_music(run, tiny_model: Path, tmp_path: Path):
    write_music(tmp_path, ["a.wav", "b.flac"], 2000)
    (tmp_path / "link").symlink_to(tmp_path)
    assert run("separate", tmp_path, "-o", tmp_path, "--model", tiny_model).code == 0
    command = ["separate", tmp_path, "-o", tmp_path / "link", "--model", tiny_model]
    result = run(*command, "--overwrite")
    assert result.code == 0
    assert "left out: 8 files that Stemweave made, 1 linked folder" in result.out
    assert left_behind(tmp_path) == sorted([*expected("a", "b"), "a.wav", "b.flac"])
    result = run(*command, "--skip-existing")
    assert "2 of 2 files have their stems already" in result.out


def test_another_runs_results_stay(run, tiny_model: Path, tmp_path: Path):
    out = tmp_path / "out"
    write_noise(tmp_path / "a.wav", 2000)
    command = ["separate", tmp_path / "a.wav", "-o", out, "--model", tiny_model]
    with Staging(out, "a"):
        for more in ([], ["--skip-existing"], ["--overwrite"]):
            result = run(*command, *more)
            assert result.code == 2 and f"another run is writing {out / 'a'}" in result.err
    assert not out.exists()
    assert run(*command).code == 0 and left_behind(out) == expected("a")


def test_results_that_appear_meanwhile_stay(
    tiny_pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As of a run on a machine that has no locks in common with this one."""
    write_noise(tmp_path / "a.wav", 2000)
    folder, separate_file = tmp_path / "out" / "a", batch.separate_file

    def beside_another(*arguments):
        files = separate_file(*arguments)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "drums.wav").write_text("another's")
        return files

    monkeypatch.setattr(batch, "separate_file", beside_another)
    for existing, code in (("refuse", Failure), ("replace", Success)):
        asked = Separation(STEMS, method="diffusion", existing=existing)  # type: ignore[arg-type]
        job = SeparationJob(tmp_path / "a.wav", tmp_path / "out", "a", asked)
        assert isinstance(separate_song(job, tiny_pipe), code)
        others = (folder / "drums.wav").read_bytes() == b"another's"
        assert others == (existing == "refuse")
    assert left_behind(tmp_path / "out") == expected("a")


def test_what_a_killed_run_left_goes_whatever_the_next_one_does(
    run, tiny_model: Path, tmp_path: Path
):
    write_noise(tmp_path / "b.wav", 2000)
    left = tmp_path / "out" / ".partial" / "0123abcd"
    (left / "stems").mkdir(parents=True)
    (left / "stems" / "piano.wav").touch()
    left.with_suffix(".lock").touch()
    command = ["separate", tmp_path / "b.wav", "-o", tmp_path / "out", "--model", tiny_model]
    assert run(*command, "--format", "flac", "--stems", "bass,drums").code == 0
    files = [name for name in left_behind(tmp_path / "out") if not name.endswith(".json")]
    assert files == ["b/bass.flac", "b/drums.flac"]


@pytest.mark.parametrize("more", [[], ["--workers", 2]], ids=["here", "on workers"])
def test_long_names_and_names_of_any_kind(run, tiny_model: Path, tmp_path: Path, more):
    names = ["ä" * 125 + ".wav", "CON.wav", "what?.wav", "-o.wav", "a\nb.wav"]
    write_music(tmp_path / "m", names, 2000)
    command = ["separate", tmp_path / "m", "-o", tmp_path / "o", "--model", tiny_model]
    result = run(*command, *more)
    assert result.code == 0, result.err
    assert len(list((tmp_path / "o").iterdir())) == len(names)


def test_what_is_said_of_files_names_where_they_will_be(run, tiny_model: Path, tmp_path: Path):
    loud = np.full((3000, 1), 3.0, np.float32)
    soundfile.write(tmp_path / "a.wav", loud, 16000, subtype="FLOAT")
    command = ["separate", tmp_path / "a.wav", "-o", tmp_path / "o", "--model", tiny_model]
    result = run(*command, "--format", "flac")
    assert result.code == 0
    assert f"warning: {tmp_path / 'o' / 'a'}" in result.err and ".partial" not in result.err


def test_nothing_of_others_gives_way(run, tiny_model: Path, tmp_path: Path):
    write_noise(tmp_path / "a.wav", 2000)
    command = ["separate", tmp_path / "a.wav", "-o", tmp_path / "o", "--model", tiny_model]
    folder = tmp_path / "o" / "a"
    folder.mkdir(parents=True)
    (folder / "separation.json").write_text('{"of": "another program"}')
    (folder / "spectrograms.png").write_text("mine")
    for more, name in (([], "separation.json"), (["--plot"], "spectrograms.png")):
        for existing in ([], ["--skip-existing"], ["--workers", 2]):
            result = run(*command, *more, *existing)
            assert result.code in (1, 2) and f"{folder / name} exists" in result.err
    assert left_behind(folder) == ["separation.json", "spectrograms.png"]
    assert (folder / "spectrograms.png").read_text() == "mine"
    (folder / "separation.json").unlink()
    assert run(*command).code == 0 and (folder / "spectrograms.png").read_text() == "mine"
    assert run(*command, "--plot", "--overwrite").code == 0
    assert (folder / "spectrograms.png").read_bytes().startswith(b"\x89PNG")


def test_equal_seeds_give_equal_files(run, tiny_model: Path, tmp_path: Path):
    write_noise(tmp_path / "a.wav", 30_000)
    for name in ("x", "y"):
        command = ["separate", tmp_path / "a.wav", "-o", tmp_path / name, "--model", tiny_model]
        assert run(*command, "--seed", 5, "--method", "diffusion", "--steps", 2).code == 0
    for stem in STEMS:
        first, second = (tmp_path / name / "a" / f"{stem}.wav" for name in ("x", "y"))
        assert first.read_bytes() == second.read_bytes()


def test_a_run_with_nothing_to_do_clears_up_as_well(run, tiny_model: Path, tmp_path: Path):
    write_noise(tmp_path / "a.wav", 2000)
    command = ["separate", tmp_path / "a.wav", "-o", tmp_path / "o", "--model", tiny_model]
    assert run(*command).code == 0
    touch(tmp_path / "o" / ".partial", "0123abcd/stems/piano.wav", "0123abcd.lock")
    result = run(*command, "--skip-existing")
    assert result.code == 0 and "1 of 1 files have their stems already" in result.out
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a"]


def test_what_the_analyser_fails_at_is_that_files_failure(
    run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    music, listed = tmp_path / "music", tmp_path / "failed.jsonl"
    write_music(music, ["a.wav", "b.wav", "c.wav"], 2000)
    found = iter([LeadSheet(), None, LeadSheet.from_text("C", 120, "4/4")])

    def analyse(*_: object) -> LeadSheet:
        sheet = next(found)
        return sheet if sheet is not None else 1 / 0

    monkeypatch.setattr(StemModel, "analyses", True)
    monkeypatch.setattr(StemModel, "analyse", analyse)
    command = ["separate", music, "-o", tmp_path / "o", "--model", tiny_model, "--midi", "--json"]
    result = run(*command, "--failures", listed)
    assert result.code == 1 and "2 of 3 files failed" in result.err
    failures = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [failure["file"] for failure in failures] == [str(music / "a.wav"), str(music / "b.wav")]
    assert all(failure["reason"].startswith(failure["file"]) for failure in failures)
    assert "has no beat" in failures[0]["reason"] and "traceback" not in failures[0]
    assert "ZeroDivisionError" in failures[1]["reason"] and "in analyse" in failures[1]["traceback"]
    assert ["error" in json.loads(line) for line in result.out.splitlines()] == [True, True, False]
    assert (tmp_path / "o" / "c" / "sheet.mid").exists()


def test_reasons_name_the_file(tiny_pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "a.wav"
    write_noise(source, 2000)
    job = SeparationJob(source, tmp_path / "o", "a", Separation(STEMS, method="diffusion"))
    for error, reason in (
        (InputError("it is too strange"), f"{source}: it is too strange"),
        (InputError(f"{source} is too strange"), f"{source} is too strange"),
        (ExistsError("that exists"), "that exists: choose another place, or pass --overwrite"),
        (KeyError("what"), f"{source}: unexpected KeyError: 'what'"),
    ):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(batch, "separate_file", fail)
        outcome = separate_song(job, tiny_pipe)
        assert isinstance(outcome, Failure) and outcome.reason == reason
        assert (outcome.traceback is None) == isinstance(error, InputError)


TASKS = {
    "separate": ["separate", "a.wav"],
    "generate": ["generate", "--seconds", "1"],
    "arrange": ["arrange", "--given", "bass=a.wav"],
    "edit": ["edit", "a.wav", "--end", "0.1"],
    "extend": ["extend", "a.wav"],
    "vary": ["vary", "a.wav"],
}
PLACES = {
    "file/below": "not a directory",
    "n" * 300: "file name too long",
    "/".join(["n" * 200] * 25): "file name too long",
    "loop/below": "too many levels of symbolic links",
    "/proc/nothing": "no such file or directory",
}


@pytest.fixture
def places(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_noise(tmp_path / "a.wav", 2000)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "model").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("reason", PLACES.values(), ids=list(PLACES.values()))
def test_places_where_nothing_can_be_written(run, places: Path, reason: str):
    place = next(path for path, its_reason in PLACES.items() if its_reason == reason)
    for name, command in TASKS.items():
        result = run(*command, "-o", place, "--model", "model")
        assert result.code == 2, (name, result)
        assert "Traceback" not in result.err and reason in result.err.lower(), (name, result)
    result = run("separate", "a.wav", "-o", "o", "--model", "model", "--failures", f"{place}/f")
    assert result.code == 2 and reason in result.err.lower()
    assert sorted(path.name for path in places.iterdir()) == ["a.wav", "file", "loop", "model"]


@pytest.mark.parametrize("place", [*PLACES, "loop"])
def test_places_where_nothing_can_be_read(run, places: Path, place: str):
    tasks = (["separate", place], ["arrange", "--given", f"bass={place}"], ["vary", place])
    for command in tasks:
        result = run(*command, "-o", "o", "--model", "model")
        assert result.code == 2 and result.err.count("\n") == 1, (command, result)
        assert place[:150] in result.err and "Traceback" not in result.err
        assert "sheet" not in result.err
    result = run("separate", "a.wav", place, "-o", "o", "--model", "model")
    assert result.code == 1 and (places / "o" / "a" / "bass.wav").exists()
    shutil.rmtree("o")
    result = run("generate", "-o", "o", "--model", place)
    assert result.code == 2 and place in result.err and "Traceback" not in result.err


AS_NOBODY = """
import os
from contextlib import suppress
from stemweave.__main__ import main
from stemweave.cli.main import app
from stemweave.errors import InputError

absent = (["separate", "x"], ["arrange", "--given", "bass=x"], ["generate", "--model", "x"])
for begun in absent:
    with suppress(InputError):  # what is imported later, only its owner may be able to read
        app([*begun, "-o", "o"], standalone_mode=False)
if os.geteuid() == 0:  # who may enter every folder
    os.setgid(65534)
    os.setuid(65534)
main()
"""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["separate", "locked", "-o", "o"], "1 folder that may not be read"),
        (["separate", "locked/b.wav", "-o", "o"], "locked/b.wav cannot be read: permission denied"),
        (["separate", "a.wav", "-o", "locked/o"], "cannot write locked/o: Permission denied"),
        (["arrange", "--given", "bass=locked/b.wav", "-o", "o"], "locked/b.wav cannot be read"),
        (["generate", "-o", "locked/o"], "cannot write locked/o: Permission denied"),
    ],
)
def test_folders_that_may_not_be_entered(tmp_path: Path, command: list[str], message: str):
    place, locked = tmp_path / "place", tmp_path / "place" / "locked"
    write_music(place, ["a.wav", "locked/b.wav"], 2000)
    place.chmod(0o777)
    locked.chmod(0)
    program = [sys.executable, "-c", AS_NOBODY, *command]
    try:
        done = subprocess.run(program, capture_output=True, text=True, cwd=place)
    finally:
        locked.chmod(0o700)
    assert done.returncode == 2 and message in done.stderr, done
    assert done.stderr.count("\n") == 1
    assert left_behind(place) == ["a.wav", "locked/b.wav"]
