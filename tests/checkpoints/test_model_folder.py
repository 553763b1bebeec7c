"""Which model is meant: a folder here, or one of the hub, which is asked once."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch

from stemweave.checkpoints.importer import load_musicldm
from stemweave.checkpoints.model_folder import check_source
from stemweave.errors import InputError
from stemweave.model import StemModel
from tests.checkpoints.local_hub import LocalHub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was asked of the hub, which has nothing; the working folder is a new one."""
    names: list[str] = []

    def model_info(self, name: str, timeout: float) -> None:
        names.append(name)
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.chdir(tmp_path)
    return names


@pytest.mark.parametrize(
    "source",
    ["missing", "./missing", "runs/missing", "/missing", "a/b/c", "~/model", "../x/model", "a/"],
)
def test_a_folder_that_is_not_here_is_not_asked_of_the_hub(asked: list[str], source: str):
    Path("runs").mkdir()
    with pytest.raises(InputError, match="no model at"):
        StemModel.from_pretrained(source)
    with pytest.raises(InputError, match="no model at"):
        load_musicldm(source)
    assert asked == []


def test_the_hub_is_asked_once(asked: list[str]):
    with pytest.raises(InputError, match="there is no folder owner/name, nor could such a model"):
        StemModel.from_pretrained("owner/name")
    assert asked == ["owner/name"]
    with pytest.raises(InputError, match="nor could such a model be had of the hub"):
        load_musicldm("owner/name")
    assert asked == ["owner/name"] * 2


def test_what_the_hubs_cache_holds_is_not_asked_for(asked: list[str], tmp_path: Path):
    commit = "a" * 40
    repository = tmp_path / "cache" / "models--owner--name"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "model_index.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    check_source("owner/name", "model_index.json", cache_dir=tmp_path / "cache")
    with pytest.raises(InputError):
        check_source("owner/other", "model_index.json", cache_dir=tmp_path / "cache")
    assert asked == ["owner/other"]


def test_a_round_trip_through_a_hub(tiny_model: Path, tmp_path: Path, monkeypatch):
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("its card")
    (tmp_path / "model" / "LICENCE.txt").write_text("its licence")
    model = StemModel.from_pretrained(tmp_path / "model")
    with monkeypatch.context() as local:
        local.setattr(LocalHub, "folder", tmp_path / "hub")
        local.setattr(huggingface_hub, "HfApi", LocalHub)
        assert model.push_to_hub("owner/name", private=True) == "local/owner/name"
    again = StemModel.from_pretrained(
        "owner/name", cache_dir=tmp_path / "hub", local_files_only=True
    )
    for name, weights in model.denoiser.state_dict().items():
        assert torch.equal(weights, again.denoiser.state_dict()[name])
    assert again.config == model.config and again.stems == model.stems
    (card,) = (tmp_path / "hub").rglob("README.md")
    assert card.read_text() == "its card"
    assert (card.parent / "LICENCE.txt").read_text() == "its licence"


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".x", "CON", "a\nb", "x" * 60, 5, None])
def test_stems_that_can_be_no_files_are_refused(tiny_model: Path, tmp_path: Path, name: object):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    config = json.loads((folder / "denoiser" / "config.json").read_text())
    config["stems"][0] = name
    (folder / "denoiser" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="denoiser has a stem named") as error:
        StemModel.from_pretrained(folder)
    assert "\n" not in str(error.value)
