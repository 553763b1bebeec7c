"""Training from tar shards and from crops that were prepared ahead, through the command line."""

import http.server
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from stemweave.data import shards
from stemweave.errors import InputError
from stemweave.models.vae import PatchVAE
from stemweave.training.cache import CacheSource, ShardJob, make_shard


def change(config: Path, **settings: object) -> None:
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**content, **settings}))


def settings_of(config: Path, stage: str) -> dict:
    return yaml.safe_load(config.read_text())[stage]["model"]


@pytest.fixture
def vae(config: Path, tmp_path: Path) -> Path:
    """Untrained."""
    PatchVAE(**settings_of(config, "vae")).save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["network"]


def test_two_steps_from_tar_shards_on_disk_and_over_http(run, data, config: Path, tmp_path: Path):
    shards = tmp_path / "shards"
    assert run("data", "pack", data, shards, "--shard-mb", 0.7, "--workers", 1).code == 0
    names = "{train-{000000..000001},validation-000000}.tar"
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(shards))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        web = f"http://127.0.0.1:{server.server_port}/{names}"
        for where, entry in (("disk", str(shards / names)), ("web", web)):
            cache = str(tmp_path / f"cache_{where}")
            change(config, data=[entry], tars={"window": 1, "steps_each": 1, "cache": cache})
            result = run("train", "vae", config, "--run", tmp_path / where)
            assert result.code == 0, result.err
        server.shutdown()
    disk, web = weights(tmp_path / "disk"), weights(tmp_path / "web")
    assert all(torch.equal(tensor, web[name]) for name, tensor in disk.items())
    change(config, data=[str(shards / "train-*.tar"), str(data)])
    result = run("train", "vae", config, "--run", tmp_path / "both")
    assert result.code == 2 and "both from folders and from tar shards" in result.err


def test_crops_prepared_on_ray_are_those_that_training_makes(
    run, config: Path, vae: Path, cluster: str, tmp_path: Path
):
    result = run("data", "cache", config, "--vae", vae, "--ray", cluster)
    assert result.code == 0 and "2 shards made, 0 were there" in result.out, result.err
    folder = tmp_path / "cache"
    prepared = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert len(prepared) == 2
    again = run("data", "cache", config, "--vae", vae, "--workers", 1)
    assert "0 shards made, 2 were there" in again.out
    result = run("train", "denoiser", config, "--vae", vae, "--run", tmp_path / "ahead")
    assert result.code == 0, result.err
    assert prepared == {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    change(config, cache=str(tmp_path / "other"))
    run("train", "denoiser", config, "--vae", vae, "--run", tmp_path / "plain")
    for path in prepared:
        one, two = load_file(path), load_file(tmp_path / "other" / path.relative_to(folder))
        assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    ahead, plain = weights(tmp_path / "ahead"), weights(tmp_path / "plain")
    assert all(torch.equal(tensor, plain[name]) for name, tensor in ahead.items())


def test_the_refiners_crops_from_tar_shards(
    run, data, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert run("data", "pack", data, tmp_path / "shards", "--workers", 1).code == 0
    change(config, data=[str(tmp_path / "shards")])
    monkeypatch.chdir(tmp_path)
    source = CacheSource(config, "refiner", None, tmp_path)
    threads = torch.get_num_threads()
    paths = [make_shard(ShardJob(source, of_validation, 0)) for of_validation in (True, False)]
    torch.set_num_threads(threads)
    assert all(set(load_file(path)) >= {"best_mask", "stem_mels"} for path in paths)
    result = run("train", "refiner", config, "--run", tmp_path / "run")
    assert result.code == 0, result.err
    assert sorted((tmp_path / "cache").rglob("*.safetensors")) == sorted(paths)


def test_a_full_disk_ends_preparation_and_not_training(
    run, config: Path, vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(arrays: object, path: Path) -> None:
        path.write_bytes(b"part")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(shards, "save_file", full)
    stage = CacheSource(config, "denoiser", vae, tmp_path).load()
    with (
        pytest.warns(UserWarning, match=r"cannot be kept.*No space left"),
        pytest.raises(InputError, match="make room"),
    ):
        stage.shards.prepare(0)
    with pytest.warns(UserWarning, match="cannot be kept"):
        result = run("train", "denoiser", config, "--vae", vae, "--run", tmp_path / "full")
    assert result.code == 0, result.err
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["lock"] * 2
    monkeypatch.undo()
    run("train", "denoiser", config, "--vae", vae, "--run", tmp_path / "plain")
    kept = weights(tmp_path / "plain")
    assert all(torch.equal(tensor, kept[n]) for n, tensor in weights(tmp_path / "full").items())


def test_cache_refuses_what_training_would(run, config: Path, tmp_path: Path):
    result = run("data", "cache", config, "--vae", tmp_path / "nothing")
    assert result.code == 2 and "no trained vae" in result.err
