"""The paper's autoencoder and vocoder train like our own and fit into the same model folder."""

from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from transformers import SpeechT5HifiGan

from stemweave.model import StemModel
from stemweave.training.networks import AutoencoderPass, load_component
from tests.training.command import change, train

AUTOENCODER_KL = {
    "block_out_channels": [8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "layers_per_block": 1,
    "latent_channels": 2,
    "norm_num_groups": 4,
}
HIFIGAN = {
    "upsample_initial_channel": 16,
    "upsample_rates": [8, 8, 5],
    "upsample_kernel_sizes": [16, 16, 11],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3]],
}


def test_the_papers_kinds_make_a_model(run, config: Path, tmp_path: Path):
    change(config, "vae", kind="autoencoder_kl", model=AUTOENCODER_KL)
    hifigan = {"mel_weight": 45.0, "spectral_weight": 0.0}
    change(config, "vocoder", kind="hifigan", model=HIFIGAN, **hifigan)
    change(config, "denoiser", latents="sample")
    train(run, "vae", config, tmp_path / "vae")
    vae = tmp_path / "vae" / "export"
    train(run, "denoiser", config, tmp_path / "denoiser", "--vae", vae)
    train(run, "vocoder", config, tmp_path / "vocoder", "--vae", vae)
    train(run, "vae", config, tmp_path / "second", "--init", vae)

    trained = load_component("vae", vae)
    assert type(trained) is AutoencoderKL and trained.config.scaling_factor != 0.18215
    vocoder = tmp_path / "vocoder" / "export"
    assert type(load_component("vocoder", vocoder)) is SpeechT5HifiGan
    parts = ["--vae", vae, "--vocoder", vocoder, "--denoiser", tmp_path / "denoiser" / "export"]
    result = run("assemble", config, tmp_path / "model", *parts)
    assert result.code == 0, result.err
    pipe = StemModel.from_pretrained(tmp_path / "model")
    assert {p.dtype for p in pipe.vocoder.parameters()} == {torch.float32}
    assert pipe.generate(0.5)["mixture"].shape == (1, 8000)
    # from a half precision model folder, too, training begins in full precision
    assembled = load_component("vocoder", tmp_path / "model" / "vocoder")
    assert assembled.dtype == torch.float32


def test_posterior_of_the_papers_autoencoder():
    torch.manual_seed(0)
    vae = AutoencoderKL(in_channels=1, out_channels=1, **AUTOENCODER_KL)
    log_mel = torch.randn(2, 1, 16, 8)
    generator = torch.Generator().manual_seed(1)
    reconstruction, posterior = AutoencoderPass(vae)(log_mel, generator)
    latents = posterior.mean + posterior.std * torch.randn(
        posterior.mean.shape, generator=torch.Generator().manual_seed(1)
    )
    assert torch.allclose(reconstruction, vae.decode(latents).sample, atol=1e-6)


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("vae", {"model": {"latents": 2}}, "vae.model.latents: PatchVAE has no such setting"),
        ("vae", {"model": {"hidden_channels": 9}}, "vae.model does not describe a PatchVAE"),
        (
            "vae",
            {"kind": "autoencoder_kl", "model": {"widths": [8]}},
            "vae.model.widths: AutoencoderKL has no such setting",
        ),
        ("vocoder", {"kind": "hifigan", "model": {}}, "62.5 frames a second, but log_mel has 50"),
        ("vocoder", {"model": {"num_mels": 16}}, "16 bands, but log_mel has 32"),
    ],
)
def test_networks_that_cannot_be(
    run, config: Path, tmp_path: Path, stage: str, settings: dict, message: str
):
    change(config, stage, **settings)
    result = run("train", stage, config, "--run", tmp_path / "run")
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_are_refused(run, config: Path, vae: Path, tmp_path: Path):
    change(config, "vae", model={"latent_channels": 4, "hidden_channels": 8, "num_blocks": 1})
    result = run("train", "vae", config, "--run", tmp_path / "other", "--init", vae)
    assert result.code == 2 and "does not fit vae.model" in result.err
    result = run("train", "vocoder", config, "--run", tmp_path / "other", "--init", vae)
    assert result.code == 2 and "holds a PatchVAE, which is no vocoder" in result.err


def test_attention_along_time_may_be_added_to_a_trained_denoiser(run, config, vae, tmp_path: Path):
    train(run, "denoiser", config, tmp_path / "first", "--vae", vae)
    first = tmp_path / "first" / "export"
    model = yaml.safe_load(config.read_text())["denoiser"]["model"]
    change(config, "denoiser", model={**model, "time_attention_levels": [1]})
    train(run, "denoiser", config, tmp_path / "second", "--vae", vae, "--init", first)
    weights = load_file(tmp_path / "second/export/diffusion_pytorch_model.safetensors")
    last = model["blocks_per_level"]
    assert weights[f"up_blocks.1.{last}.project.weight"].abs().max() > 0  # it has learned
