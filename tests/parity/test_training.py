"""Our training against the reference's, whose step is written out a second time here."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from torch import Tensor, nn

from benchmarks import unet3d_reference
from stemweave.data.latents import LatentBatch
from stemweave.training import stage_denoiser
from stemweave.training.loop import TrainingRun
from stemweave.training.optimiser import learning_rate_factor
from stemweave.training.settings import load_settings
from stemweave.training.stage_denoiser import DenoiserStage
from stemweave.training.stage_settings import OptimiserSettings, StageSettings
from stemweave.training.stage_vae import VAEStage
from stemweave.training.start import load_songs
from tests.training.conftest import data, one_thread, write_settings  # noqa: F401

STEPS = 100
WARMUP = 20
RATE = 1e-3
DECAY = 0.9999


class ReferenceTraining:
    """AdamW as torch's defaults have it, its learning rate warmed up from zero, and the average.

    Everything is written out, and the network's layers are composed plainly.
    """

    def __init__(self, network: nn.Module, weight_decay: float = 0.01) -> None:
        self.network, self.weight_decay = network, weight_decay
        self.parameters = list(network.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        betas = torch.from_numpy(np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)
        self.alphas = torch.cumprod(1 - betas, dim=0)
        self.global_step = 0

    def step(self, stems: Tensor, mixture: Tensor, kept: Tensor, n: Tensor, noise: Tensor) -> float:
        """One step on scaled latents; ``kept`` (B,) says whose condition is not dropped."""
        alpha = self.alphas[n].reshape(-1, 1, 1, 1, 1)
        noisy = alpha.sqrt() * stems + (1 - alpha).sqrt() * noise
        condition = torch.where(kept[:, None, None, None], mixture, torch.zeros_like(mixture))
        prediction = unet3d_reference.predict(self.network, noisy, n, condition)
        loss = nn.functional.mse_loss(prediction, noise)
        gradients = torch.autograd.grad(loss, self.parameters)
        rate = RATE * min(self.global_step / WARMUP, 1.0)
        self.global_step += 1
        k = self.global_step
        decay = min(DECAY, (1 + k) / (10 + k))
        with torch.no_grad():
            for index, gradient in enumerate(gradients):
                weight = self.parameters[index]
                self.first[index] = 0.9 * self.first[index] + 0.1 * gradient
                self.second[index] = 0.999 * self.second[index] + 0.001 * gradient**2
                first = self.first[index] / (1 - 0.9**k)
                second = self.second[index] / (1 - 0.999**k)
                update = first / (second.sqrt() + 1e-8) + self.weight_decay * weight
                weight.sub_(rate * update)
                self.average[index].sub_((1 - decay) * (self.average[index] - weight))
        return loss.item()


@pytest.fixture
def paper_stage(data: Path, tmp_path: Path) -> DenoiserStage:  # noqa: F811
    """The tiny setting with the paper's kind of network, schedule and shares."""
    path = write_settings(data, tmp_path)
    content = yaml.safe_load(path.read_text())
    paper = yaml.safe_load((Path("configs") / "paper.yaml").read_text())
    taken = (
        "scheduler", "latents", "separation_share", "arrangement_share",
        "own_timesteps_probability", "pure_noise_probability",
    )  # fmt: skip
    content["log_mel"]["num_mels"] = 16
    content["mixing"] = paper["mixing"]
    content["denoiser"] = {
        **{name: paper["denoiser"][name] for name in taken},
        "optimiser": {
            **paper["denoiser"]["optimiser"], "kind": "adamw", "weight_decay": 0.01,
            "learning_rate": RATE, "warmup_steps": WARMUP,
        },
        "kind": "unet3d",
        "model": {"model_channels": 32, "channel_mult": [1], "num_res_blocks": 1},
        "batch_size": 2, "crop_frames": 8, "steps": STEPS, "shard_size": 8, "first_shards": 1,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    settings = load_settings(path)
    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=2, block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1, norm_num_groups=4, scaling_factor=0.7,
    )  # fmt: skip
    stage = DenoiserStage(settings, *load_songs(settings), vae)
    nn.Module.double(stage.network)  # Adam blows rounding errors up where gradients are zero
    return stage


def test_a_hundred_steps(
    paper_stage: DenoiserStage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one_thread: None,  # noqa: F811
):
    theirs = ReferenceTraining(copy.deepcopy(paper_stage.network))
    run = TrainingRun(paper_stage, tmp_path / "run", 0, "no", "cpu")
    drawn = {}

    def recorded(module, name: str) -> None:
        draw = getattr(module, name)

        def wrapper(*arguments, **options):
            drawn[name] = draw(*arguments, **options)
            return drawn[name]

        monkeypatch.setattr(module, name, wrapper)

    latents = paper_stage.shards.latents

    def in_double(*arguments) -> LatentBatch:
        batch = latents(*arguments)
        return LatentBatch(batch.stems.double(), batch.mixture.double(), batch.coherent)

    monkeypatch.setattr(paper_stage.shards, "latents", in_double)
    recorded(paper_stage.shards, "latents")
    recorded(stage_denoiser, "draw_situation")
    recorded(stage_denoiser.sampler, "draw_noise")
    dropped = 0
    for step in range(STEPS):
        figures = run.train_step()
        batch, situation = drawn["latents"], drawn["draw_situation"]
        assert (situation.timestep == situation.timestep[:, :1]).all()
        loss = theirs.step(
            batch.stems,
            batch.mixture,
            situation.has_mixture,
            situation.timestep[:, 0],
            drawn["draw_noise"].double(),
        )
        assert figures["loss"] == pytest.approx(loss, rel=1e-5), step
        dropped += int((~situation.has_mixture).sum())
    assert 0.02 < dropped / (2 * STEPS) < 0.2
    assert figures["loss"] < 0.9  # it has learnt something
    for ours, their in zip(run.parameters, theirs.parameters, strict=True):
        assert (ours - their).abs().max() < 1e-5
    for ours, their in zip(run.average.shadow_params, theirs.average, strict=True):
        assert (ours - their).abs().max() < 1e-5


class Drift:
    """A stage whose weight goes on by 1 at every step."""

    def __init__(self, decay: float) -> None:
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        optimiser = OptimiserSettings(
            kind="adam", learning_rate=1.0, betas=(0.0, 0.0), weight_decay=0.0, warmup_steps=0,
            schedule="constant", clip_norm=float("inf"), ema_decay=decay,
        )  # fmt: skip
        self.settings = StageSettings(optimiser=optimiser)

    def loss(self, network, *_):
        return -network(torch.ones(1, 1)).sum(), {}


@pytest.mark.parametrize("decay", [DECAY, 0.5])
def test_the_average_of_forty_updates(tmp_path: Path, decay: float):
    run = TrainingRun(Drift(decay), tmp_path, 0, "no", "cpu")  # type: ignore[arg-type]
    average = 0.0
    for k in range(1, 41):
        run.train_step()
        kept = min(decay, (1 + k) / (10 + k))
        average = kept * average + (1 - kept) * k
        assert run.parameters[0].item() == pytest.approx(k, rel=1e-6)
        assert run.average.shadow_params[0].item() == pytest.approx(average, rel=1e-6), k


def test_the_latents_scale_is_that_of_the_first_batchs_stems(data: Path, tmp_path: Path):  # noqa: F811
    path = write_settings(data, tmp_path)
    content = yaml.safe_load(path.read_text())
    content["mixing"] = yaml.safe_load((Path("configs") / "paper.yaml").read_text())["mixing"]
    content["vae"].update(
        kind="autoencoder_kl", scale_of="stem_samples", scale_crops=3, crop_frames=32,
        model={
            "block_out_channels": [8, 8, 8], "layers_per_block": 1, "latent_channels": 2,
            "norm_num_groups": 4, "down_block_types": ["DownEncoderBlock2D"] * 3,
            "up_block_types": ["UpDecoderBlock2D"] * 3,
        },
    )  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    settings = load_settings(path)
    stage = VAEStage(settings, *load_songs(settings))
    with torch.no_grad():
        stage.export(stage.network, tmp_path / "export")
        batch = stage.mels(stage.train, 3, stage.mix_settings, np.random.default_rng(2))
        stems = torch.cat([batch[start : start + 4] for start in (0, 5, 10)])  # no mixtures
        moments = stage.network.vae.encode(stems).latent_dist.parameters
    mean, log_variance = moments.chunk(2, dim=1)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(settings.seed))
    drawn = mean + (0.5 * log_variance).exp() * noise
    scale = AutoencoderKL.from_pretrained(tmp_path / "export").config.scaling_factor
    assert scale == pytest.approx(1 / drawn.flatten().std().item(), rel=1e-6)
    assert scale != pytest.approx(1 / mean.flatten().std().item(), rel=1e-2)


@pytest.mark.parametrize("preset", ["paper", "paper_code"])
def test_the_warm_up(preset: str):
    optimiser = load_settings(Path("configs") / f"{preset}.yaml").denoiser.optimiser
    factor = learning_rate_factor(optimiser, 391_000)
    for step in (0, 1, 2, 500, 999, 1000, 1001, 390_000):
        assert factor(step) == pytest.approx(min(step / 1000, 1.0), abs=1e-12)
