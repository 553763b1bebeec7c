"""Crops in a pack: training without songs, and what does not fit."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stemweave.data import crop_pack
from stemweave.data.crop_pack import read_crops
from stemweave.models.vae import PatchVAE
from tests.training.command import change, train
from tests.training.conftest import write_settings

LIMIT_MIB = 0.1


@pytest.fixture
def config(composed: Path, tmp_path: Path) -> Path:
    path = write_settings(composed, tmp_path)
    change(path, "denoiser", conditions={"channels": 8}, examples=0)
    return path


@pytest.fixture
def vae(tmp_path: Path) -> Path:
    """Untrained."""
    torch.manual_seed(0)
    PatchVAE(latent_channels=2, hidden_channels=8, num_blocks=1).save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def packed(run, config: Path, vae: Path, latent_step: float) -> Path:
    out = config.parent / f"pack_{latent_step:g}"
    options = ("--vae", vae, "--mib", LIMIT_MIB, "--latent-step", latent_step)
    done = run("data", "latents", config, out, *options)
    assert done.code == 0, done.err
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["network"]


def test_a_pack_trains_as_its_songs_do(run, config: Path, vae: Path, composed: Path):
    pack = packed(run, config, vae, 0)
    assert sum(path.stat().st_size for path in pack.iterdir()) <= LIMIT_MIB * 2**20
    shards = sorted(pack.glob("train-*.xz"))
    assert len(shards) > 1
    for path in shards[1:]:  # of which the songs' run draws nothing yet
        path.unlink()
    folder = config.parent
    train(run, "denoiser", config, folder / "songs", "--vae", vae)
    moved = folder / "elsewhere"
    pack.rename(moved)
    composed.rename(folder / "away")
    shutil.rmtree(folder / "cache")
    train(run, "denoiser", config, folder / "packed", "--vae", vae, "--data", moved)
    expected, found = weights(folder / "songs"), weights(folder / "packed")
    assert any("conditions" in name for name in found)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_latents_are_rounded_to_steps(run, config: Path, vae: Path):
    pack = packed(run, config, vae, 0.0625)
    cached = {
        path.name.split("_")[1][:6]: load_file(path)
        for path in (config.parent / "cache").rglob("shard_*.safetensors")
        if len(load_file(path)["stems"]) == 8  # not the validation songs'
    }
    shards = sorted(pack.glob("train-*.xz"))
    assert shards
    for path in shards:
        crops, made = read_crops(path, 0.0625), cached[path.stem.removeprefix("train-")]
        assert crops.keys() == made.keys()
        for name, tensor in crops.items():
            exact = name not in crop_pack.LATENTS
            assert tensor.dtype == made[name].dtype
            error = (tensor.float() - made[name].float()).abs().max()
            assert error == 0 if exact else 0 < error <= 0.0313, name


def test_what_a_pack_is_not_for(run, config: Path, vae: Path):
    pack, folder = packed(run, config, vae, 0.0625), config.parent
    other = folder / "other"
    PatchVAE(latent_channels=2, hidden_channels=8, num_blocks=1).save_pretrained(other)
    arguments = ("denoiser", config, "--data", pack, "--run", folder / "run", "--vae")
    for options, said in (
        ((*arguments, other), "made for another autoencoder"),
        ((*arguments, vae, "--set", "denoiser.crop_frames=64"), "made for another crop_frames"),
        ((*arguments, vae, "--set", "denoiser.examples=1"), "set denoiser.examples to 0"),
        ((*arguments, vae, "--set", "denoiser.latents=sample"), "denoiser.latents to mean"),
        (("vae", config, "--set", f"data=[{pack}]"), "is for train denoiser"),
    ):
        done = run("train", *options)
        assert done.code == 2 and said in done.err, done.err
    (pack / "train-000000.xz").write_bytes(b"cut off")
    done = run("train", *arguments, vae)
    assert done.code == 2 and "is damaged: copy it again" in done.err
    done = run("data", "latents", config, folder / "small", "--vae", vae, "--mib", 0.02)
    assert done.code == 2 and "no shard of 8 crops fits into 0.02 MiB" in done.err
    assert not (folder / "small").exists()
