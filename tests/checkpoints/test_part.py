"""``stemweave average`` and ``compress``: the mean that was asked for, half of the size."""

import json
from pathlib import Path

import pytest
import torch

from stemweave.checkpoints.part import part_weights, quantised
from stemweave.models.compact import CompactUNet
from stemweave.models.part import SCALE, WEIGHTS, dequantised
from stemweave.models.provenance import TRAINED
from stemweave.models.vae import PatchVAE


def denoiser(folder: Path, value: float, **options: object) -> Path:
    network = CompactUNet(
        latent_channels=2, latent_bands=8, block_channels=(16, 32), blocks_per_level=1, **options
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    network.save_pretrained(folder)
    return folder


def test_the_mean_is_that_of_the_shares(run, tmp_path: Path):
    one, two = denoiser(tmp_path / "one", 1.0), denoiser(tmp_path / "two", 3.0)
    out = tmp_path / "new" / "mean"
    assert run("average", f"{one}=0.3", f"{two}=0.1", "-o", out).code == 0
    mean = CompactUNet.from_pretrained(out)
    assert all(torch.allclose(p, torch.tensor(1.5)) for p in mean.parameters())
    assert run("average", f"{one}=1", f"{two}=1", "-o", out).code == 2
    assert run("average", f"{one}=1", f"{out}=1", "-o", out, "--overwrite").code == 0
    again = CompactUNet.from_pretrained(out)
    assert all(torch.allclose(p, torch.tensor(1.25)) for p in again.parameters())


def test_a_weight_that_one_part_lacks_is_that_of_the_others(run, tmp_path: Path):
    one = denoiser(tmp_path / "one", 1.0, time_attention_levels=(0,))
    two = denoiser(tmp_path / "two", 3.0)
    assert run("average", f"{one}=1", f"{two}=1", "-o", tmp_path / "mean").code == 0
    mean = CompactUNet.from_pretrained(tmp_path / "mean")
    values = {p.flatten()[0].item() for p in mean.parameters()}
    assert values == {1.0, 2.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one=1"], "at least two folders"),
        (["one", "two=1"], "takes FOLDER=SHARE"),
        (["one=1", "two=-1"], "takes FOLDER=SHARE"),
        (["one=1", "nothing=1"], "nothing is no part of a model"),
        (["one=1", "two=1"], "two cannot be averaged with the others: its "),
        (["one=1", "two=1", "--overwrite", "-o", "other"], "other is there and no part"),
    ],
)
def test_what_has_no_mean(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
):
    monkeypatch.chdir(tmp_path)
    denoiser(tmp_path / "one", 1.0)
    denoiser(tmp_path / "two", 1.0, embedding_channels=8)
    (tmp_path / "other").mkdir()
    outcome = run("average", *arguments, *([] if "-o" in arguments else ["-o", "mean"]))
    assert outcome.code == 2 and message in outcome.err and outcome.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "other"}


def test_parts_of_different_stems_have_no_mean(run, tmp_path: Path):
    folders = [denoiser(tmp_path / name, value) for name, value in (("one", 1.0), ("two", 3.0))]
    for folder, stems in zip(folders, (["a", "b"], ["b", "a"]), strict=True):
        config = json.loads((folder / "config.json").read_text())
        said = {"part": "denoiser", "stems": stems, "weights": "own"}
        (folder / "config.json").write_text(json.dumps({**config, TRAINED: said}))
    arguments = ["-o", tmp_path / "mean"]
    outcome = run("average", f"{folders[0]}=1", f"{folders[1]}=1", *arguments)
    assert outcome.code == 2 and "trained for the stems b, a, not a, b" in outcome.err
    denoiser(tmp_path / "two", 3.0)
    assert run("average", f"{folders[0]}=1", f"{folders[1]}=1", *arguments).code == 0
    said = json.loads((tmp_path / "mean" / "config.json").read_text())[TRAINED]
    assert said == {"part": "denoiser", "stems": ["a", "b"]}


def test_rows_are_kept_to_half_a_step_of_their_own_scale():
    weight = torch.randn(256, 300) * torch.logspace(-6, 3, 256)[:, None]
    weight[7] = 0
    stored = quantised({"a.weight": weight, "b.weight": weight[:3], "bias": weight[0]})
    assert stored["a.weight"].dtype == torch.int8
    assert stored["b.weight"].dtype == stored["bias"].dtype == torch.float16
    restored = dequantised(dict(stored))
    assert restored.keys() == {"a.weight", "b.weight", "bias"}
    step = stored["a.weight" + SCALE]
    error = (restored["a.weight"] - weight).abs().amax(dim=1)
    assert torch.all(error <= 0.5001 * step) and torch.all(restored["a.weight"][7] == 0)


def test_what_is_loaded_is_nearly_the_same_network(run, tmp_path: Path):
    torch.manual_seed(0)
    network = CompactUNet(latent_channels=2, latent_bands=8, block_channels=(128, 128)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(tmp_path / "one")
    assert run("compress", tmp_path / "one", "-o", tmp_path / "small").code == 0
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("one", "small")]
    assert sizes[1] < 0.3 * sizes[0]
    loaded = CompactUNet.from_pretrained(tmp_path / "small")
    latents, timestep = torch.randn(1, 4, 2, 16, 8), torch.tensor([500])
    with torch.no_grad():
        truth, found = (one(latents, timestep) for one in (network, loaded))
    assert 0 < (found - truth).norm() < 0.03 * truth.norm()
    state = part_weights(tmp_path / "small")
    assert state.keys() == network.state_dict().keys()


def test_what_is_not_compressed(run, tmp_path: Path):
    PatchVAE().save_pretrained(tmp_path / "vae")
    denoiser(tmp_path / "one", 1.0)
    (tmp_path / "other").mkdir()
    outcome = run("compress", tmp_path / "vae", "-o", tmp_path / "small")
    assert outcome.code == 2 and "holds a PatchVAE: only CompactUNet," in outcome.err
    outcome = run("compress", tmp_path / "one", "-o", tmp_path / "other", "--overwrite")
    assert outcome.code == 2 and "no part of a model" in outcome.err
    assert run("compress", tmp_path / "one", "-o", tmp_path / "other").code == 2
    assert not any((tmp_path / "other").iterdir()) and not (tmp_path / "small").exists()
