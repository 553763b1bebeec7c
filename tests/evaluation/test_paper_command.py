"""``stemweave evaluate paper``, and which row is the paper's."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stemweave.cli import evaluate as commands
from stemweave.cli.main import app
from stemweave.evaluation import arrangement, separation
from stemweave.evaluation.segments import find_songs
from stemweave.models.log_mel import LogMel
from stemweave.stems import STEMS

from .toys import BandEnergies, ToyPipeline


def test_prints_three_tables(
    pipe: ToyPipeline, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "load", lambda *arguments, **options: pipe)
    pipe.methods = ("diffusion", "vocoder")  # as of models without a mask network
    few = [("bass",), ("drums", "guitar", "piano")]  # of 14: beats take long to track
    monkeypatch.setattr(arrangement, "proper_subsets", lambda stems: few)
    monkeypatch.setattr(commands, "_embeddings", lambda *arguments: [BandEnergies()])
    counts = ["--segments", "2", "-n", "2", "--arranged", "2", "--steps", "3", "--guidance", "1.5"]
    arguments = ["evaluate", "paper", str(data), *counts]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    tables = result.stdout.split("\n\n")
    titles = ["Table I", "Table I, decoder's log-mels", "Table II", "Table III"]
    assert [table.split(".")[0] for table in tables] == titles
    assert tables[0].splitlines()[1].split() == ["B", "D", "G", "P", "mean"]
    assert separation.SPECTRA_ROW not in tables[0] and separation.SPECTRA_ROW in tables[1]
    assert tables[3].splitlines()[1].split() == ["B", "DGP", "mean"]
    separated = [call for call in pipe.calls if "method" in call]
    assert {call["steps"] for call in separated} == {3}
    assert {call["guidance"] for call in separated} == {1.5}


def test_the_papers_row_is_the_decoders_mel(pipe: ToyPipeline, data: Path) -> None:
    """Of a model with the paper's front end: the error of what was decoded, before any vocoder."""
    pipe.log_mel = LogMel(segment_frames=128)
    pipe.config.reference_rms = None
    table = separation.evaluate_separation(pipe, find_songs(data, STEMS, "all"), 2).table
    errors = table.measures[separation.PAPER_MSE]
    assert errors[separation.SPECTRA_ROW] == table.measures[separation.MSE][separation.SPECTRA_ROW]
    # the toy decodes the mixture for every stem
    for stem in STEMS:
        mixture = errors[separation.MIXTURE_ROW][stem].value
        assert errors[separation.SPECTRA_ROW][stem].value == pytest.approx(mixture, rel=1e-4)
