"""``stemweave evaluate paper`` on a data set in Slakh2100's layout."""

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stemweave.cli import app
from stemweave.evaluation import arrangement, commands
from stemweave.stems import STEMS

from .toys import BandEnergies, ToyPipeline, write_song

CLASSES = {"bass": "Bass", "drums": "Drums", "guitar": "Guitar", "piano": "Piano"}


def write_track(folder: Path, seed: int, tmp_path: Path) -> None:
    write_song(tmp_path / f"song_{seed}", seed)
    (folder / "stems").mkdir(parents=True)
    described = {}
    for index, stem in enumerate(STEMS):
        name = f"S{index:02d}"
        shutil.copy(tmp_path / f"song_{seed}" / f"{stem}.flac", folder / "stems" / f"{name}.flac")
        described[name] = {
            "inst_class": CLASSES[stem], "is_drum": stem == "drums", "audio_rendered": True,
            "program_num": {"bass": 33, "drums": 128, "guitar": 25, "piano": 0}[stem],
        }  # fmt: skip
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"stems": described}))


def test_prints_three_tables(
    pipe: ToyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        write_track(tmp_path / "slakh" / "test" / f"Track{seed:05d}", seed, tmp_path)
    monkeypatch.setattr(commands, "load", lambda *arguments, **options: pipe)
    few = [("bass",), ("drums", "guitar", "piano")]  # of 14: beats take long to track
    monkeypatch.setattr(arrangement, "proper_subsets", lambda stems: few)
    monkeypatch.setattr(commands, "_embeddings", lambda *arguments: [BandEnergies()])
    counts = ["--segments", "2", "-n", "2", "--arranged", "2", "--steps", "3"]
    arguments = ["evaluate", "paper", str(tmp_path / "slakh"), *counts]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    tables = result.stdout.split("\n\n")
    assert [table.split(".")[0] for table in tables] == ["Table I", "Table II", "Table III"]
    assert tables[0].splitlines()[1].split() == ["B", "D", "G", "P", "mean"]
    assert tables[2].splitlines()[1].split() == ["B", "DGP", "mean"]
