"""Reports on disk and the paper's tables."""

import json
import re
from pathlib import Path

import pytest
import soundfile
import torch

from stemweave.errors import InputError
from stemweave.evaluation import arrangement, generation, separation
from stemweave.evaluation.paper import paper_tables
from stemweave.evaluation.report import file_name, require_new_folder, write_report
from stemweave.evaluation.results import Evaluation, Example, commit, provenance
from stemweave.evaluation.table import Cell, Table


def evaluation() -> Evaluation:
    table = Table("A <title>", notes=["note & more"], metadata={"seed": 3})
    drawn = torch.Generator().manual_seed(0)
    for row in ("ours", "theirs"):
        for stem in ("bass", "drums"):
            values = torch.randn(20, generator=drawn).tolist()
            table.put_samples("SI-SDR (dB)", row, stem, values)
        for code in "BDGP":
            table.put("sub-FAD", row, code, Cell(1.0, 0.5, 1.5, 9))
    tone = 0.5 * torch.sin(torch.arange(16_000) * 0.3)
    tracks = {"true stems": {"bass": tone, "drums": -tone}, "ours": {"bass": tone * 0.5}}
    return Evaluation(table, [Example("song at 0 s", tracks)], 16_000)


def test_report_has_tables_plots_players_and_no_broken_link(tmp_path: Path) -> None:
    write_report(evaluation(), tmp_path, ("true stems", "ours"))
    page = (tmp_path / "index.html").read_text()
    links = re.findall(r'src="([^"]+)"', page)
    assert len([link for link in links if link.endswith(".flac")]) == 3
    assert {"plots/si-sdr-db.png", "plots/sub-fad.png", "plots/example0.png"} <= set(links)
    assert all((tmp_path / link).stat().st_size > 100 for link in links)
    assert "A &lt;title&gt;" in page and "note &amp; more" in page
    audio, rate = soundfile.read(tmp_path / "audio" / "example0" / "true-stems_bass.flac")
    assert rate == 16_000 and len(audio) == 16_000
    assert json.loads((tmp_path / "table.json").read_text())["metadata"] == {"seed": 3}


def test_existing_report_is_kept(tmp_path: Path) -> None:
    require_new_folder(tmp_path, overwrite=False)
    evaluation().table.write(tmp_path)
    with pytest.raises(InputError, match="already holds a report"):
        require_new_folder(tmp_path, overwrite=False)
    require_new_folder(tmp_path, overwrite=True)


def test_file_names_and_provenance() -> None:
    assert file_name("R² of FAD-inf (dB)") == "r-of-fad-inf-db"
    recorded = provenance("bundled", Path("songs"), "all")
    assert recorded["data"] == "songs" and recorded["torch"] == torch.__version__
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|unknown \(not a git checkout\)", commit())


def test_paper_tables_print_letters_and_means() -> None:
    separated, generated, arranged = Table("S"), Table("G"), Table("A")
    for stem, value in (("bass", 1.0), ("drums", 2.25), ("mean", 1.625)):
        separated.put(separation.PAPER_MSE, separation.MASK_ROW, stem, Cell(value))
    generated.put(
        "distance from real mixtures, musicnn", generation.GENERATED_ROW, "FAD", Cell(3.5, 3, 4)
    )
    arranged.put("sub-FAD, musicnn", "ours, known stems", "BD", Cell(0.75))
    text = paper_tables(separated, generated, arranged, "musicnn")
    tables = text.split("\n\n")
    assert [table.split(".")[0] for table in tables] == ["Table I", "Table II", "Table III"]
    assert tables[0].splitlines()[1].split() == ["B", "D", "mean"]
    assert tables[0].splitlines()[2].split()[-3:] == ["1.00", "2.25", "1.62"]
    assert tables[1].splitlines()[2].split()[-1] == "3.50"
    assert arrangement.REAL_ROW not in tables[2] and tables[2].split()[-1] == "0.75"
