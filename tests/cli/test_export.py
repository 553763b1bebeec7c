"""``stemweave export`` and ``separate --midi``: what is written where, what is refused."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.model import StemModel
from stemweave.music.lead_sheet import LeadSheet, read_sheet
from stemweave.music.midi import read_midi, write_midi
from stemweave.music.score import Score, ScoreNote

SHEET = LeadSheet.from_text("Am | F", 120, "4/4", style="rock")
SCORE = Score({"drums": tuple(ScoreNote(beat, beat + 0.25, 36, 90) for beat in range(8))})
NAMES = {"piece.mid", "piece.rpp", "piece.dawproject", "stems/bass.wav", "stems/drums.wav"}


@pytest.fixture
def piece(tmp_path: Path) -> Path:
    """As ``generate`` leaves one."""
    folder = tmp_path / "piece"
    folder.mkdir()
    for name in ("bass", "drums", "mixture"):
        samples = np.random.default_rng(0).standard_normal((4 * 16_000, 2)) * 0.1
        soundfile.write(folder / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    (folder / "sheet.json").write_text(SHEET.to_json())
    write_midi(folder / "score.mid", SCORE, SHEET)
    return folder


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_all_of_it_is_a_zip_beside_the_folder(run, piece):
    made = run("export", piece)
    assert made.code == 0 and made.out.strip() == str(piece.with_name("piece.zip")), made.err
    with zipfile.ZipFile(piece.with_name("piece.zip")) as archive:
        assert set(archive.namelist()) == {f"piece/{name}" for name in NAMES}
        archive.extractall(piece.parent / "extracted")
    score, sheet = read_midi(piece.parent / "extracted" / "piece" / "piece.mid")
    assert score == SCORE and sheet.style == "rock" and sheet.beats_s == SHEET.beats_s
    again = run("export", piece)
    assert again.code == 2 and "piece.zip exists" in again.err and "--overwrite" in again.err
    assert run("export", piece, "--overwrite").code == 0
    assert names_below(piece) == {f"{n}.wav" for n in ("bass", "drums", "mixture")} | {
        "sheet.json",
        "score.mid",
    }


def test_a_numbered_piece_has_the_name_of_its_folder_too(run, piece):
    piece.rename(piece.parent / "0")
    made = run("export", piece.parent / "0", "--midi")
    assert made.code == 0 and made.out.strip().endswith(f"/{piece.parent.name}-0.zip"), made.err


@pytest.mark.parametrize("kind, suffix", [("midi", "mid"), ("reaper", "rpp")])
def test_what_is_named_is_written_into_a_folder(run, piece, tmp_path, kind, suffix):
    out = tmp_path / "out"
    made = run("export", piece, f"--{kind}", "-o", out, "--json")
    assert made.code == 0 and json.loads(made.out) == {"out": str(out)}
    assert names_below(out) == {f"piece.{suffix}", "stems/bass.wav", "stems/drums.wav"}


def test_what_cannot_be_exported_is_said_and_leaves_nothing(run, piece, tiny_model, tmp_path):
    def refused(*arguments: object) -> str:
        before = names_below(tmp_path)
        made = run("export", *arguments)
        assert made.code == 2 and names_below(tmp_path) == before
        return made.err

    assert "takes the first and the last bar, e.g. 5-8" in refused(piece, "--loop", "five")
    assert "bars 1 to 9 are no loop: there are bars 1 to 2" in refused(piece, "--loop", "1-9")
    assert "no folder of results" in refused(piece / "bass.wav")
    (piece / "drums.wav").write_bytes(b"RIFF")
    assert "drums.wav" in refused(piece)
    (piece / "drums.wav").unlink()
    (piece / "sheet.json").unlink()
    assert "has no analyser" in refused(piece, "--model", tiny_model)


def test_without_a_sheet_the_analyser_finds_one(run, piece, tiny_model, tmp_path, monkeypatch):
    found = LeadSheet.from_text("Dm | G", 90, "3/4", duration_s=4.0)
    monkeypatch.setattr(StemModel, "analyses", True)
    monkeypatch.setattr(StemModel, "analyse", lambda self, waveform, rate: found)
    (piece / "sheet.json").unlink()
    made = run("export", piece, "--model", tiny_model, "-o", tmp_path / "out")
    assert made.code == 0, made.err
    score, sheet = read_midi(tmp_path / "out" / "piece.mid")
    assert sheet.metre == "3/4" and not score.notes
    stems = tmp_path / "stems"
    command = ("separate", piece / "mixture.wav", "-o", stems, "--model", tiny_model, "--midi")
    made = run(*command)
    assert made.code == 0, made.err
    assert read_sheet(stems / "mixture" / "sheet.json") == found
    _, sheet = read_midi(stems / "mixture" / "sheet.mid")
    assert sheet.metre == "3/4" and sheet.chords == found.chords
    assert run(*command, "--workers", 2).code == 2
    monkeypatch.setattr(StemModel, "analyses", False)
    refused = run(*command, "--overwrite")
    assert refused.code == 2 and "needs a model with an analyser" in refused.err
