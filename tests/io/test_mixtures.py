"""What of a folder is separated, what is left out and why, and where results go."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stemweave.errors import InputError
from stemweave.io.catalogue import is_complete
from stemweave.io.mixtures import Mixture, Separation, find_mixtures
from stemweave.io.output_names import portable_name, portable_path, without_suffix
from stemweave.io.records import keep_earlier, own_files, read_record
from tests.io.test_catalogue import touch, write_music


def record(folder: Path, *names: str, **more: object) -> None:
    """What Stemweave writes beside stems."""
    outputs = {name.split(".")[0]: name for name in names}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"program": "stemweave", "outputs": outputs, **more})
    (folder / "separation.json").write_text(text)


def test_results_lie_as_the_files_do_and_never_share_a_name(tmp_path: Path):
    music, out = tmp_path / "music", tmp_path / "music" / "out"
    touch(music, "a.wav", "x/a.mp3", "x/b.c.wav", "same.wav", "same.FLAC", "notes.txt")
    touch(music, ".hidden.wav", ".partial/a.wav", "out/a/bass.wav")
    found = find_mixtures([music], out)
    names = [mixture.name for mixture in found.mixtures]
    assert names == ["a", "same.FLAC", "same.wav", "x/a", "x/b.c"]
    assert found.mixtures[0] == Mixture(str(music / "a.wav"), str(out), "a")
    assert set(found.describe_left_out().split(", ")) == {
        "1 file without sound that can be read",
        "1 hidden file or folder",
        "1 folder for results",
    }
    # whatever else is added, a name belongs to one file
    touch(music, "a.flac")
    assert "a" not in [mixture.name for mixture in find_mixtures([music], out).mixtures]
    # several folders keep their names; files are numbered, as their folders are not kept
    touch(tmp_path / "more", "a.wav")
    several = find_mixtures([music / "x", tmp_path / "more"], out)
    assert {m.name for m in several.mixtures} == {"x/a", "x/b.c", "more/a"}
    single = [music / "a.wav", tmp_path / "more" / "a.wav", music / "a.wav"]
    assert [m.name for m in find_mixtures(single, out).mixtures] == ["a.wav", "a.wav-2"]
    spelt = [music / "a.wav", music / ".." / "music" / "a.wav"]
    assert [m.name for m in find_mixtures(spelt, out).mixtures] == ["a"]
    # nor that of a file where its folder would be
    touch(music, "a")
    assert find_mixtures([music / "a.wav"], music).mixtures[0].name == "a.stems"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no audio files to separate: it is empty"):
        find_mixtures([tmp_path / "empty"], out)


def test_sound_is_known_by_content(tmp_path: Path):
    write_music(tmp_path, ["a.wav", "b.caf", "c.au"])
    (tmp_path / "b.caf").rename(tmp_path / "Symphony no.5")
    (tmp_path / "c.au").rename(tmp_path / "c.txt")
    (tmp_path / "text").write_text("no sound at all")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link").symlink_to(".")
    found = find_mixtures([tmp_path], tmp_path.parent / "out")
    assert [mixture.name for mixture in found.mixtures] == ["Symphony no.5", "a", "c"]
    assert set(found.describe_left_out().split(", ")) == {
        "2 files without sound that can be read",
        "1 special file",
        "1 linked folder",
    }


def test_what_stemweave_made_is_no_input(tmp_path: Path):
    touch(tmp_path, "a.wav", "a/bass.wav", "a/drums.wav", "a/mine.wav", "a/spectrograms.png")
    touch(tmp_path, "b/bass.wav", "c/bass.wav")
    record(tmp_path / "a", "bass.wav", earlier=[{"outputs": {"drums": "drums.wav"}}])
    (tmp_path / "b" / "separation.json").write_text('{"program": "another"}')
    (tmp_path / "c" / "separation.json").write_text("[" * 100_000)
    (tmp_path / "link").symlink_to(tmp_path)
    for folder, out in (
        (tmp_path, tmp_path),
        (tmp_path, tmp_path / "link"),
        (tmp_path / "link",) * 2,
    ):
        found = find_mixtures([folder], out)
        assert [m.name for m in found.mixtures] == ["a", "a/mine", "b/bass", "c/bass"]
        assert "2 files that Stemweave made" in found.describe_left_out()
    (tmp_path / "a" / "mine.wav").unlink()
    with pytest.raises(InputError, match="no audio files to separate: 2 files that Stemweave made"):
        find_mixtures([tmp_path / "a"], tmp_path / "out")


def test_results_lie_beside_what_they_are_of(tmp_path: Path):
    touch(tmp_path, "music/x/a.wav", "b.wav")
    found = find_mixtures([tmp_path / "music", tmp_path / "b.wav"], None)
    assert [str(m.folder.relative_to(tmp_path)) for m in found.mixtures] == [
        "music.stems/x/a",
        "b.wav.stems",
    ]
    with pytest.raises(InputError, match=r"beside / is no place for results.*-o"):
        find_mixtures([Path("/")], None)


HALF_A_PAIR = "\ud800"


@pytest.mark.parametrize("earlier", [5, "x", {}, [5, {"outputs": 5}, {"outputs": {"a": ["b"]}}]])
@pytest.mark.parametrize("left_out", [5, "drums", [[]], {"drums": 1}, None])
def test_records_that_somebody_else_wrote_raise_nothing(tmp_path: Path, earlier, left_out):
    touch(tmp_path, "a/bass.wav")
    about = {"name": HALF_A_PAIR, "sha256": [5]}
    record(tmp_path / "a", "bass.wav", earlier=earlier, left_out=left_out, input=about)
    assert own_files(tmp_path / "a") == {"bass.wav"}
    assert not is_complete(tmp_path / "a", Separation(("drums",), optional=("drums",)))
    record(tmp_path / "new", "drums.wav")
    keep_earlier(tmp_path / "a", tmp_path / "new")
    (kept,) = read_record(tmp_path / "new")["earlier"]
    assert kept["outputs"] == {"bass": "bass.wav"} and kept["input"] == about


def test_a_record_is_utf_8_whatever_the_locale(tmp_path: Path):
    text = json.dumps({"program": "stemweave", "outputs": {"ä": "ä.wav"}}, ensure_ascii=False)
    (tmp_path / "separation.json").write_text(text, encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from stemweave.io.records import own_files\n"
        "print(ascii(sorted(own_files(Path(sys.argv[1])))))"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **plain})
    assert done.stdout == "['\\xe4.wav']\n", done.stderr


NOT_IN_WINDOWS = [
    "a ",
    'say "a"',
    *["CON", "con.mp3", "LPT¹", "a.", "what?", "a:b", "a|b", "<a>", "*", "a\\b", "\x07"],
]


@pytest.mark.parametrize("name", NOT_IN_WINDOWS)
def test_names_that_windows_cannot_hold(tmp_path: Path, name: str):
    changed = portable_name(name)
    assert portable_name(changed) == changed != name
    assert not set(changed) & set('<>:"/\\|?*\x07') and changed[-1] not in ". "
    (tmp_path / f"{name}.wav").touch()
    (alone,) = find_mixtures([tmp_path], tmp_path.parent / "o").mixtures
    touch(tmp_path, "a_b.wav", "a_.wav", "_.wav", "_con.wav")
    assert alone in find_mixtures([tmp_path], tmp_path.parent / "o").mixtures
    touch(tmp_path, f"{changed}.flac")
    found = find_mixtures([tmp_path], tmp_path.parent / "o").mixtures
    assert len({mixture.name for mixture in found}) == len(found) == 6


def test_names_that_all_can_hold_stay(tmp_path: Path):
    for name in ("Mr. Smith", "über ü", "console", "com", "con-1", "a..b", ".a", "COM10", "日本"):
        assert portable_name(name) == name
    assert portable_path("ok/aux/b?") != portable_path("ok/aux/b*")
    long = portable_name("ä" * 126 + "?")
    assert len(long.encode()) <= 255 and long.startswith("ä" * 100)
    for name, expected in (("a.wav", "a"), ("a.3gp", "a"), ("Symphony no.5", "Symphony no.5")):
        assert without_suffix(name) == expected


def test_names_that_differ_in_case_only(tmp_path: Path):
    files = [tmp_path / "x" / "Song.wav", tmp_path / "y" / "song.wav"]
    assert [m.name for m in find_mixtures(files, tmp_path).mixtures] == ["Song.wav", "song.wav-2"]
