"""Our modules against the reference implementation's numbers."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from stemweave.checkpoints import weights
from stemweave.models.log_mel import LogMel
from stemweave.models.unet3d import UNet3D

from . import reference as ref

PAPER_SCHEDULE = dict(
    num_train_timesteps=1000,
    beta_start=0.0015,
    beta_end=0.0195,
    beta_schedule="scaled_linear",
    clip_sample=False,
    set_alpha_to_one=False,
    steps_offset=1,
    prediction_type="epsilon",
)


def test_log_mel():
    seconds = torch.arange(163840, dtype=torch.float64) / 16000
    noise = ref.draw("input:mel.noise", [163840])
    waveform = (
        0.3 * torch.sin(2 * torch.pi * 220 * seconds)
        + 0.2 * torch.sin(2 * torch.pi * (440 + 300 * seconds) * seconds)
        + 0.02 * noise
    ).float()
    log_mel = LogMel()
    ours = log_mel(waveform, all_frames=True).T
    assert (ours - ref.expected("mel.log_mel")).abs().max() < 1e-4
    assert torch.equal(log_mel(waveform), ours.T[:1024])


@pytest.fixture(scope="module")
def unet() -> UNet3D:
    config = dict(ref.SPEC["unet"]["config"])
    config["stems"] = ["bass", "drums", "guitar", "piano"]
    network = UNet3D(**config).eval()
    state = ref.reference_weights("unet")
    network.load_state_dict(weights.unet3d_state(state), strict=True)
    read = weights.unet3d_config(state)
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in read.items()} == {
        k: config[k] for k in read
    }
    return network


@pytest.mark.parametrize("name", ["conditional", "unconditional"])
def test_unet3d(unet: UNet3D, name: str):
    latents = ref.reference_input("unet.z")
    mixture = ref.reference_input("unet.mixture")[:, 0]
    timestep = torch.tensor(ref.SPEC["unet"]["timesteps"])
    with torch.no_grad():
        ours = unet(latents, timestep, mixture if name == "conditional" else None)
        zeros = unet(latents, timestep, torch.zeros_like(mixture))
    ref.assert_close(ours, f"unet.{name}")
    if name == "unconditional":
        assert torch.equal(ours, zeros)


def test_unet3d_gradient_checkpointing_changes_nothing(unet: UNet3D):
    latents = ref.reference_input("unet.z")[:1, ..., :8, :8]
    mixture = ref.reference_input("unet.mixture")[:1, 0, :, :8, :8]
    plain = unet(latents, torch.tensor([3]), mixture).square().mean()
    plain.backward()
    gradient = unet.time_embed[0].weight.grad.clone()
    unet.zero_grad()
    unet.gradient_checkpointing = True
    unet(latents, torch.tensor([3]), mixture).square().mean().backward()
    unet.gradient_checkpointing = False
    assert torch.allclose(unet.time_embed[0].weight.grad, gradient, rtol=1e-4, atol=1e-7)


def test_unet3d_refuses_known_positions(unet: UNet3D):
    latents = ref.reference_input("unet.z")
    with pytest.raises(ValueError, match="replacement"):
        unet(latents, torch.tensor([3, 3]), None, torch.ones(2, 4, 32, dtype=torch.bool))


def test_vae():
    state = ref.reference_weights("vae")
    config = weights.vae_config(state)
    vae = AutoencoderKL(**config).eval()
    vae.load_state_dict(weights.vae_state(state, config), strict=True)
    with torch.no_grad():
        moments = vae.encode(ref.reference_input("vae.log_mel")).latent_dist.parameters
        decoded = vae.decode(ref.reference_input("vae.latents")).sample
    ref.assert_close(moments, "vae.moments")
    ref.assert_close(decoded, "vae.decoded")


def load_vocoder(state: dict[str, torch.Tensor]) -> SpeechT5HifiGan:
    vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**weights.hifigan_config(state))).eval()
    vocoder.load_state_dict(weights.hifigan_state(state), strict=True)
    return vocoder


def test_vocoder():
    vocoder = load_vocoder(ref.reference_weights("hifigan"))
    with torch.no_grad():
        ours = vocoder(ref.reference_input("hifigan.log_mel").transpose(1, 2))
    ref.assert_close(ours[:, None], "hifigan.waveform")


def test_vocoder_weight_norm_is_folded():
    plain = ref.reference_weights("hifigan")
    shapes = ref.SPEC["hifigan_keys_with_weight_norm"]
    normed = {}
    for name in shapes:
        if name.endswith("weight_v"):
            normed[name] = plain[name[:-2]] * 3.0
        elif name.endswith("weight_g"):
            weight = plain[name[:-2]]
            normed[name] = torch.linalg.vector_norm(
                weight, dim=tuple(range(1, weight.ndim)), keepdim=True
            )
        else:
            normed[name] = plain[name]
        assert list(normed[name].shape) == shapes[name]
    with torch.no_grad():
        ours = load_vocoder(normed)(ref.reference_input("hifigan.log_mel").transpose(1, 2))
    ref.assert_close(ours[:, None], "hifigan.waveform")


def test_schedule():
    scheduler = DDIMScheduler(**PAPER_SCHEDULE)
    ours, theirs = scheduler.alphas_cumprod, ref.expected("diffusion.alphas_cumprod")
    # diffusers multiplies a thousand factors in float32, the reference in float64
    assert torch.allclose(ours.double(), theirs.double(), rtol=3e-5, atol=0)
    for steps in (10, 50, 200):
        scheduler.set_timesteps(steps)
        assert np.array_equal(
            scheduler.timesteps.numpy()[::-1], ref.EXPECTED[f"ddim.timesteps_{steps}"]
        )


def test_ddim_trajectory():
    from stemweave.diffusion.sampler import sample

    ours = sample(
        lambda latents, timestep, known: (
            torch.tanh(0.7 * latents) + 0.001 * timestep.float()[:, None, None, None, None]
        ),
        DDIMScheduler(**PAPER_SCHEDULE),
        ref.reference_input("ddim.x_T"),
        10,
    )
    ref.assert_close(ours, "ddim.x_0")


def test_paper_sizes():
    """Every published key has its place with its shape; 305.17 M parameters."""

    def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in state.items()}

    def published(keys: str) -> dict[str, torch.Tensor]:
        return {name: torch.empty(shape, device="meta") for name, shape in ref.SPEC[keys].items()}

    with torch.device("meta"):
        network = UNet3D()
        vae = AutoencoderKL(**weights.vae_config(published("vae_paper_keys")))
        vocoder_config = weights.hifigan_config(published("hifigan_paper_keys_with_weight_norm"))
        vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**vocoder_config))
    unet_keys = published("unet_paper_keys")
    assert shapes(weights.unet3d_state(unet_keys)) == shapes(network.state_dict())
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(305.17, abs=0.005)
    config = weights.vae_config(published("vae_paper_keys"))
    vae_keys = weights.vae_state(published("vae_paper_keys"), config)
    assert shapes(vae_keys) == shapes(vae.state_dict())
    assert sum(p.numel() for p in vae.parameters()) / 1e6 == pytest.approx(55.4, abs=0.05)
    vocoder_keys = weights.hifigan_state(published("hifigan_paper_keys_with_weight_norm"))
    assert shapes(vocoder_keys) == shapes(vocoder.state_dict())
    assert sum(p.numel() for p in vocoder.parameters()) / 1e6 == pytest.approx(55.3, abs=0.05)
