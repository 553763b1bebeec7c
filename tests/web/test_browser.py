"""The page in a real browser, on a real server with the bundled model."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

BROWSER = Path(__file__).parent.parent / "browser"
SONG = Path(__file__).parent.parent.parent / "examples/freedoom_excerpt/mixture.flac"
STEMS = ["bass", "drums", "guitar", "piano", "other"]
NUM_SAMPLES = 3 * 44_100 + 57


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running ``stemweave serve``."""
    data = tmp_path_factory.mktemp("studio")
    command = [sys.executable, "-m", "stemweave", "serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "http://" in line, "the server did not start"
        yield line.split()[-1]
        server.terminate()


@pytest.fixture(scope="module")
def visit(base: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What tests/browser/flow.mjs saw, and the folder of what it downloaded."""
    out = tmp_path_factory.mktemp("downloads")
    samples, sample_rate = soundfile.read(SONG, frames=NUM_SAMPLES, dtype="float32")
    soundfile.write(out / "short song.wav", samples, sample_rate, subtype="FLOAT")
    if not (shutil.which("node") and (BROWSER / "node_modules/playwright-core").exists()):
        pytest.fail("the browser test needs more: run scripts/install-system-packages.sh test")
    command = ["node", str(BROWSER / "flow.mjs"), base, str(out / "short song.wav"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), out


@pytest.fixture
def seen(visit):
    return visit[0]


@pytest.fixture
def out(visit):
    return visit[1]


@pytest.fixture
def versions(visit, base: str) -> list[dict[str, Any]]:
    """Of all projects."""
    return [version for one in get(f"{base}/api/projects") for version in one["versions"]]


def get(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


def test_page_asks_nobody_else_and_logs_no_error(seen):
    assert seen["faults"] == {"foreign": [], "console": []}


def test_lanes_play_together_and_can_be_soloed(seen):
    assert seen["player"]["opposites"] == 0, "opposite tracks cancel only if sample-synchronous"
    assert seen["player"]["loopDifference"] == 0
    assert seen["player"]["loudest"] > 0.9
    assert seen["player"]["sides"] == pytest.approx(0.25, abs=1e-6), "three quarters to the right"
    assert seen["player"]["led"] == 2000, "a count-in of 0.25 s"
    assert seen["player"]["trimmed"] == pytest.approx(0.5, abs=1e-3)
    assert seen["player"]["slow"] == {"duration": 0.5, "same": True}
    assert seen["played"]["silent"] == ["bass", "guitar", "piano", "other", "mixture"]
    assert 0.4 <= seen["played"]["position"] <= 3.1
    assert seen["keys"] == {"silent": 5, "atEnd": 3.0}


def test_a_project_that_is_deleted_elsewhere_is_left(seen):
    assert seen["lost"].startswith("This project is not here any more")


def test_filled_region_is_new_and_all_else_is_kept(seen, out, base):
    project = next(one for one in get(f"{base}/api/projects") if one["name"] == "short song")
    version = project["versions"][-1]
    ((stem, (start_s, end_s)),) = version["params"]["renew"].items()
    assert (stem, version["seed"], version["params"]["steps"]) == ("drums", 7, 2)
    assert seen["seed"] == "7" and seen["filename"] == "short song - drums.wav"
    assert seen["range"]["start"] == pytest.approx(start_s, abs=0.006)

    def read(name: str) -> np.ndarray:
        samples, sample_rate = soundfile.read(out / name, dtype="float32")
        assert sample_rate == 44_100 and samples.shape == (NUM_SAMPLES, 2)
        return samples

    song, mix = read("short song.wav"), read("mix.wav")
    before, after = read("before.wav"), read("after.wav")
    first, last = round(start_s * 44_100), round(end_s * 44_100)
    inside = slice(first, last)
    outside = np.r_[:first, last:NUM_SAMPLES]
    assert np.array_equal(before[outside], after[outside])
    assert np.array_equal(song[outside], mix[outside])
    assert np.abs(before[inside] - after[inside]).max() > 1e-3
    assert mix[inside] - song[inside] == pytest.approx(after[inside] - before[inside], abs=1e-5)
    assert np.array_equal(read("bass_before.wav"), read("bass_after.wav"))
    assert seen["desk"] == {"filename": "short song - mix.wav", "pan": "-0.5"}
    assert np.array_equal(read("heard.wav"), after), "the drums alone, as the faders were left"
    with zipfile.ZipFile(out / "all.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"{name}.wav" for name in [*STEMS, "mixture"])


def test_a_piece_is_practised_slowly(seen, out):
    assert 1.2 <= seen["practised"]["seconds"] <= 6, "0.7 s of the piece at half speed"
    assert seen["practised"]["faster"] == "0.6"
    assert seen["practised"]["moved"] == pytest.approx(-0.1, abs=1e-6), "an edge, by a key"
    assert soundfile.info(out / "slow.wav").frames == 2 * NUM_SAMPLES


def test_bars_are_shown_and_corrected(seen, versions, base):
    facts, heading, button = seen["music"]["shown"]
    assert facts.startswith("96 bpm · ")
    assert heading.startswith("Bar 1, ") and button == "Write bar 1 anew"
    assert seen["music"]["inks"].count(True) >= 2, "notes of written stems are drawn"
    (piece,) = [version for version in versions if version["task"] == "generate"]
    sheet = get(f"{base}/api/versions/{piece['id']}/sheet")
    assert sheet["chords"][0] == [0, "Ebmaj7"]


def test_everybody_can_use_it(seen):
    assert seen["violations"] == seen["edited"]["violations"] == [], "by axe-core"
    # 2.0 s at 96 bpm are a bar of 4/4, or one of 3/4 and a bit: the metre is drawn
    assert re.match("Bar 1, |Bars 1–2, ", seen["selected"]), "AltGr 8 is [ on German keyboards"


def test_notes_are_edited_and_played(seen, versions, base):
    assert ", 1.1, 0.25 beats, struck with 90" in seen["edited"]["name"]
    assert len(seen["dropped"]) == 1 and seen["dropped"][0].endswith("1.1, 1 beat, struck with 100")
    (edited,) = [version for version in versions if version["params"].get("notes")]
    notes = get(f"{base}/api/versions/{edited['id']}/score")["bass"]
    assert (0.25, 0.5, 90) in [
        tuple(round(note[name], 3) for name in ("start_beat", "end_beat", "velocity"))
        for note in notes
    ]


def test_a_piece_is_written_in_the_wanted_tempo(seen, versions):
    assert seen["written"] == ["any", "96 bpm", "Written, 0:02, 96 bpm"]
    (piece,) = [version for version in versions if version["task"] == "generate"]
    assert (piece["params"]["tempo_bpm"], piece["params"]["steps"]) == (96, 2)
