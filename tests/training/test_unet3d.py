"""The paper's network as denoiser: trained, exported and used through the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL

from stemweave.model import StemModel
from stemweave.training.networks import make_denoiser
from stemweave.training.settings import load_settings
from stemweave.training.situations import draw_situation

PAPER_SHARES = {
    "separation_share": 0.9,
    "arrangement_share": 0.0,
    "own_timesteps_probability": 0.0,
    "pure_noise_probability": 0.0,
}


@pytest.fixture
def paper_config(config: Path) -> Path:
    """The tiny settings with a tiny ``UNet3D`` and the paper's schedule."""
    content = yaml.safe_load(config.read_text())
    content["denoiser"].update(
        kind="unet3d",
        model={
            "model_channels": 32,
            "channel_mult": [1, 2],
            "num_res_blocks": 1,
            "attention_resolutions": [2],
        },
        scheduler={
            "beta_start": 0.0015,
            "beta_end": 0.0195,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
        },
        gradient_checkpointing=True,
        **PAPER_SHARES,
    )
    content["mixing"] = {"cross_song_probability": 0.0}
    config.write_text(yaml.safe_dump(content))
    return config


def tiny_autoencoder(folder: Path) -> Path:
    """MusicLDM's kind of VAE, strides 4, with random weights."""
    torch.manual_seed(0)
    AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=2, block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4, scaling_factor=0.7,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_the_papers_network_trains_and_arranges(run, paper_config: Path, tmp_path: Path):
    vae = tiny_autoencoder(tmp_path / "vae")
    folder = tmp_path / "denoiser"
    trained = run("train", "denoiser", paper_config, "--vae", vae, "--run", folder)
    assert trained.code == 0, trained.err
    assert (folder / "settings.yaml").exists()
    assert run("train", "vocoder", paper_config, "--run", tmp_path / "vocoder").code == 0
    parts = ["--vae", vae, "--denoiser", folder / "export"]
    parts += ["--vocoder", tmp_path / "vocoder" / "export"]
    assembled = run("assemble", paper_config, tmp_path / "model", *parts)
    assert assembled.code == 0, assembled.err
    pipe = StemModel.from_pretrained(tmp_path / "model")
    assert type(pipe.denoiser).__name__ == "UNet3D" and pipe.vae.config.scaling_factor == 0.7
    bass = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    arranged = pipe.arrange({"bass": bass}, 16000, steps=2)
    assert torch.equal(arranged["bass"], bass) and arranged["piano"].shape == bass.shape


def test_the_condition_is_dropped_for_each_sample(paper_config: Path):
    settings = load_settings(paper_config).denoiser
    coherent = torch.ones(4000, dtype=torch.bool)
    drawn = draw_situation(settings, coherent, 4, 8, 1000, np.random.default_rng(0))
    assert 0.08 < 1 - drawn.has_mixture.float().mean() < 0.12
    assert not drawn.known.any()
    assert (drawn.timestep == drawn.timestep[:, :1]).all()
    assert drawn.timestep.float().mean() == pytest.approx(499.5, abs=15)


def test_settings_that_the_papers_network_cannot_follow(run, paper_config: Path, tmp_path: Path):
    vae = tiny_autoencoder(tmp_path / "vae")
    settings = yaml.safe_load(paper_config.read_text())
    cases = {
        "arrangement_share": {"arrangement_share": 0.1},
        "denoiser.model.width": {"model": {"width": 3}},
        "num_groups": {"model": {"model_channels": 33}},
        "latent_channels is 5": {"model": {"latent_channels": 5}},
    }
    for message, change in cases.items():
        content = {**settings, "denoiser": {**settings["denoiser"], **change}}
        (tmp_path / "bad.yaml").write_text(yaml.safe_dump(content))
        command = ["train", "denoiser", tmp_path / "bad.yaml", "--vae", vae]
        result = run(*command, "--run", tmp_path / "run")
        assert result.code == 2 and message in result.err, result.err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_loss_takes_less_memory_and_stays_the_same(paper_config: Path, prediction_type: str):
    """Gradient checkpointing changes no gradient."""
    from diffusers import DDIMScheduler

    from stemweave.diffusion.objective import denoising_loss

    settings = load_settings(paper_config)
    vae = AutoencoderKL(latent_channels=2)
    scheduler = DDIMScheduler(prediction_type=prediction_type)
    gradients = []
    for checkpointing in (True, False):
        torch.manual_seed(0)
        network = make_denoiser(settings, vae)
        assert network.gradient_checkpointing
        network.gradient_checkpointing = checkpointing
        torch.nn.init.normal_(network.out[2].weight)
        generator = torch.Generator().manual_seed(1)
        latents, noise = torch.randn(2, 2, 4, 2, 8, 8, generator=generator)
        mixture = latents.sum(1) * torch.tensor([1.0, 0.0])[:, None, None, None]
        timestep = torch.tensor([[10] * 4, [900] * 4])
        losses = denoising_loss(network, scheduler, latents, noise, timestep, mixture)
        losses.mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, atol=1e-6)
