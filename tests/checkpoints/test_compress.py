"""``stemweave compress``: half of the size, nearly the same network."""

from pathlib import Path

import torch

from stemweave.checkpoints.part import part_weights, quantised
from stemweave.models.compact import CompactUNet
from stemweave.models.part import SCALE, WEIGHTS, dequantised
from stemweave.models.vae import PatchVAE


def denoiser(folder: Path) -> CompactUNet:
    torch.manual_seed(0)
    network = CompactUNet(latent_channels=2, latent_bands=8, block_channels=(128, 128))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(folder)
    return network.eval()


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
    network = denoiser(tmp_path / "one")
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
    denoiser(tmp_path / "one")
    (tmp_path / "other").mkdir()
    outcome = run("compress", tmp_path / "vae", "-o", tmp_path / "small")
    assert outcome.code == 2 and "holds a PatchVAE: only CompactUNet," in outcome.err
    outcome = run("compress", tmp_path / "one", "-o", tmp_path / "other", "--overwrite")
    assert outcome.code == 2 and "no part of a model" in outcome.err
    assert run("compress", tmp_path / "one", "-o", tmp_path / "other").code == 2
    assert not any((tmp_path / "other").iterdir()) and not (tmp_path / "small").exists()
