"""Rendering on a Ray cluster, through the command line; songs are listed once whatever dies."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stemweave.data.songs import MANIFEST, read_manifest
from stemweave.render.soundfonts import VALIDATION_SOUNDFONT
from tests.render.test_render import write_band
from tests.waiting import wait_for


def listed(data: Path) -> list[str]:
    return re.findall(r'"path": "([^"]+)"', (data / MANIFEST).read_text())


def test_render_on_ray_with_a_worker_killed_midway(run, cluster: str, tmp_path: Path):
    midi, data = tmp_path / "midi", tmp_path / "data"
    for number in range(5):
        write_band(midi / f"{number}.mid", [0, 25, 33, -1], seconds=40)
    write_band(midi / "lonely.mid", [0])
    command = ["render", midi, data, "--soundfont", VALIDATION_SOUNDFONT, "--ray", cluster]
    driver = subprocess.Popen([sys.executable, "-m", "stemweave", *map(str, command)])

    def rendering() -> psutil.Process | None:
        """A worker in the middle of a song, when at least one song is finished."""
        if not (data / MANIFEST).exists():
            return None
        for process in psutil.process_iter(["cmdline"]):
            if " ".join(process.info["cmdline"] or []).startswith("ray::render_file"):
                return process
        return None

    victim = wait_for(rendering, 60)
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)
    assert len(listed(data)) < 5
    assert driver.wait(120) == 0
    assert sorted(name[0] for name in listed(data)) == [str(number) for number in range(5)]
    assert (data / "skipped.jsonl").read_text().count("\n") == 1
    assert sorted(p.name for p in data.iterdir() if p.is_dir()) == sorted(listed(data))
    # the same songs as plain processes make; and nothing is made again
    one = tmp_path / "one"
    one.mkdir()
    (midi / "3.mid").rename(one / "3.mid")
    run("render", one, tmp_path / "plain", "--soundfont", VALIDATION_SOUNDFONT, "--workers", 1)
    (song,) = read_manifest(tmp_path / "plain")
    for stem in song.stems:
        elsewhere = data / song.name / f"{stem}.flac"
        assert elsewhere.read_bytes() == song.stem_paths(stem)[0].read_bytes()
    again = run(*command)
    assert again.code == 0 and "0 songs" in again.out
    assert len(listed(data)) == 5


def test_a_song_finished_but_not_listed_is_listed_once(run, tmp_path: Path):
    write_band(tmp_path / "midi" / "band.mid", [0, 25, 33, -1])
    command = ["render", tmp_path / "midi", tmp_path / "data", "--workers", 1]
    command += ["--soundfont", VALIDATION_SOUNDFONT]
    assert run(*command).code == 0
    (name,) = listed(tmp_path / "data")
    written = (tmp_path / "data" / name / "bass.flac").stat().st_mtime_ns
    (tmp_path / "data" / MANIFEST).unlink()  # as if the driver had died in between
    assert "1 songs" in run(*command).out
    assert listed(tmp_path / "data") == [name]
    assert (tmp_path / "data" / name / "bass.flac").stat().st_mtime_ns == written


@pytest.mark.ray
def test_ray_that_is_not_there(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_band(tmp_path / "midi" / "band.mid", [0, 25, 33, -1])
    command = ["render", tmp_path / "midi", tmp_path / "data"]
    command += ["--soundfont", VALIDATION_SOUNDFONT]
    for address in ("127.0.0.1:9", "nonsense"):
        result = run(*command, "--ray", address)
        assert result.code == 2 and "no Ray cluster answers" in result.err
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run(*command, "--ray", "local")
    assert result.code == 2 and "pip install 'stemweave[scale]'" in result.err
