"""The benchmark of the paper's network, at a tiny size."""

from pathlib import Path

import pytest
import torch

from benchmarks import unet3d, unet3d_levers, unet3d_reference
from stemweave.diffusion.guidance import guided

TINY = {
    "latent_channels": 4,
    "model_channels": 32,
    "channel_mult": [1, 2],
    "num_res_blocks": 1,
    "attention_resolutions": [2],
}


def test_plain_formulation_is_the_same_network():
    network = unet3d.random_network(TINY)
    latents, timestep, mixture = unet3d.inputs(network, height=8)
    with torch.inference_mode():
        plain = unet3d_reference.predict(network, latents, timestep, mixture)
        ours = network(latents, timestep, mixture)
        both = unet3d_reference.guided(network, latents, timestep, mixture, 2.0)
        ours_both = guided(network, mixture, 2.0)(latents, timestep, None)
    assert (ours - plain).abs().max() <= unet3d.TOLERANCE * plain.abs().max()
    assert (ours_both - both).abs().max() <= unet3d.TOLERANCE * both.abs().max()
    assert not torch.allclose(both, plain, rtol=0.1)


@pytest.mark.parametrize(("kind", "branches"), [("ours", 1), ("plain", 2)])
def test_one_formulation(tmp_path: Path, kind: str, branches: int):
    path = tmp_path / "output.pt"
    row = unet3d.measured(kind, branches, TINY, height=8, repeats=1, path=path)
    assert row["seconds"] > 0
    assert torch.load(path).shape == (1, 4, 4, 8, 16)


def test_levers_and_page(monkeypatch):
    monkeypatch.setattr(  # compiling takes seconds
        unet3d_levers, "compile_ways", lambda _: dict.fromkeys(("plain", *WAYS), 0.5)
    )
    with torch.inference_mode():
        levers = unet3d_levers.run(TINY, height=8, width=16)
    assert len(levers["parts"]) == 6
    assert all(seconds > 0 for ways in levers["parts"].values() for seconds in ways.values())
    row = {"seconds": 2.0, "peak_mb": 100.0, "difference": 1e-6}
    plain = {"seconds": 8.0, "peak_mb": 200.0}
    rows = {name: row for name in ("one pass", "guidance 2")}
    rows |= {f"{name}, plain": plain for name in ("one pass", "guidance 2")}
    gflop = unet3d.count_gflop(TINY, height=8)
    result = {"formulations": rows, "levers": levers, "gflop": gflop, "threads": 1}
    result |= {"gflop_per_second": 100.0, "floor_s": gflop / 100}
    page = unet3d.as_markdown(result)
    assert "3 times faster, reached" in page and "| one pass, w = 1 | 8.0 | 2.0 | 4.0 |" in page
    assert "minimal filtering" in page and "minimal filtering |" not in unet3d.summary(result)


WAYS = ("torch.compile", "ours", "compiling")
