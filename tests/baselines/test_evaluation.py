"""The baselines' rows in our tables."""

import json
from pathlib import Path

import pytest
import torch

from baselines.evaluation import (
    COST,
    CPU_HOURS,
    PARAMETERS,
    SECONDS,
    compare_generation,
    load_baselines,
)
from baselines.open_unmix import OpenUnmix
from baselines.training import BASELINES
from stemweave.errors import InputError
from stemweave.evaluation import generation, separation
from stemweave.evaluation.segments import find_songs
from tests.evaluation.toys import BandEnergies

from .conftest import PACKAGES, STEMS, TINY, require_package


def export(name: str, folder: Path) -> Path:
    """An untrained baseline in a run folder."""
    require_package(name)
    torch.manual_seed(0)
    model = BASELINES[name](STEMS, **TINY[name])
    model.training_cpu_s += 7200
    model.save_pretrained(folder / name / "export")
    return folder / name


@pytest.fixture
def available() -> list[str]:
    """Baselines whose packages are installed."""
    import importlib.util

    def found(name: str) -> bool:
        package = PACKAGES.get(name, "torch").split(".")[0]
        return importlib.util.find_spec(package) is not None

    return [name for name in BASELINES if found(name)]


def test_separation_table_has_all_rows(run, data, tiny_model, tmp_path, available):
    runs = [part for name in available for part in ("--run", export(name, tmp_path))]
    out = tmp_path / "report"
    result = run(
        "evaluate", data, *runs, "--model", tiny_model, "-n", 2, "-o", out,
        "--our-cpu-hours", 4.7, "--msdm-steps", 1,
    )  # fmt: skip
    assert result.code == 0, result.err
    rows = {
        "open_unmix": ["Open-Unmix"],
        "htdemucs": ["HTDemucs, small"],
        "msdm": ["MSDM, Dirac", "MSDM, Gaussian"],
    }
    systems = [separation.MASK_ROW, *(row for name in available for row in rows[name])]
    measures = json.loads((out / "table.json").read_text())["measures"]
    for measure in (separation.SI_SDRI, separation.SDR, separation.MSE, separation.L1):
        assert [row for row in measures[measure] if row in systems] == systems
        assert separation.ORACLE_ROW in measures[measure]
        assert all(row in result.out for row in systems)
    assert list(measures[COST]) == systems
    assert measures[COST]["Open-Unmix"][CPU_HOURS]["value"] == pytest.approx(2)
    assert measures[COST][separation.MASK_ROW][CPU_HOURS]["value"] == 4.7
    for row in systems:
        assert measures[COST][row][SECONDS]["value"] > 0
        assert measures[COST][row][SECONDS]["count"] == 2
    parameters = sum(p.numel() for p in OpenUnmix(STEMS, **TINY["open_unmix"]).parameters())
    assert measures[COST]["Open-Unmix"][PARAMETERS]["value"] == pytest.approx(parameters / 1e6)
    again = run("evaluate", data, *runs, "--model", tiny_model, "-o", out)
    assert again.code == 2 and "--overwrite" in again.err


def test_generation_table_has_msdm(tiny_pipe, data: Path, tmp_path: Path):
    models = load_baselines([export("msdm", tmp_path)], tiny_pipe)
    songs = find_songs(data, STEMS)
    table = compare_generation(
        tiny_pipe, models, songs, 2, embeddings=[BandEnergies()], num_coherent=0, resamples=4
    ).table
    rows = table.measures["distance from real mixtures, bands"]
    assert rows["MSDM, generated"]["FAD"].count == 2
    order = [row for row in rows if "generated" in row]
    matched = [row + generation.AT_LEVEL for row in (generation.GENERATED_ROW, "MSDM, generated")]
    assert order == [generation.GENERATED_ROW, matched[0], "MSDM, generated", matched[1]]
    assert "MSDM, generated" in table.measures[generation.LEVEL]


def test_separators_do_not_generate(run, data, tiny_model, tmp_path):
    result = run("generation", data, "--run", export("open_unmix", tmp_path), "--model", tiny_model)
    assert result.code == 2 and "Open-Unmix only separates" in result.err


def test_level_of_training_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from baselines.evaluation import as_separator

    model = OpenUnmix(STEMS, **TINY["open_unmix"])
    heard = []

    def separate(self, mixture, generator, method):
        heard.append(mixture.square().mean().sqrt().item())
        return mixture.expand(4, -1)

    monkeypatch.setattr(OpenUnmix, "separate", separate)
    mixture = 0.3 * torch.randn(4000)
    assert torch.allclose(as_separator(model, "", STEMS)(mixture, 0), mixture.expand(4, -1))
    assert heard == [pytest.approx(0.1)]
    with pytest.raises(InputError, match="lacks other"):
        as_separator(model, "", [*STEMS, "other"])


def test_runs_that_cannot_be_compared(run, data, tiny_model, tiny_pipe, tmp_path):
    result = run("evaluate", data, "--model", tiny_model)
    assert result.code == 2 and "--run" in result.err
    result = run("evaluate", data, "--model", tiny_model, "--run", tmp_path / "nothing")
    assert result.code == 2 and "no trained baseline" in result.err
    result = run("evaluate", data, "--model", tiny_model, "--run", tiny_model / "denoiser")
    assert result.code == 2 and "CompactUNet" in result.err
    OpenUnmix(["a", "b"], **TINY["open_unmix"]).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="equal stems"):
        load_baselines([tmp_path / "other"], tiny_pipe)
    first, second = export("open_unmix", tmp_path), export("open_unmix", tmp_path / "second")
    titles = list(load_baselines([first, second], tiny_pipe))
    assert titles == ["Open-Unmix", "Open-Unmix (open_unmix)"]
