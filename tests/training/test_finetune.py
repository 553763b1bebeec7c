"""An existing model trained further on other songs, for other stems, whole or by LoRA."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from stemweave.model import StemModel
from stemweave.models.compact import CompactUNet
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import MaskSharpener
from stemweave.models.unet3d import UNet3D
from stemweave.training.lora import add_lora, has_lora, merged
from stemweave.training.stem_map import mapped_state, sources
from tests.conftest import make_tiny_pipeline

STEMS = ("bass", "drums", "guitar", "piano")
MAP = "beat=drums,low=bass,chords=piano"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a refiner and a sharpener, all of which answer to their inputs."""
    pipe = make_tiny_pipeline()
    refiner = MaskRefiner(num_mels=32, block_channels=(16, 32), attention_levels=())
    own = {"num_components": 2, "later_components": 3}
    sharpener = MaskSharpener(num_bins=128, channels=8, dilations=(1,), n_fft=512, **own)
    for layer in (refiner.conv_out, sharpener.conv_out, pipe.denoiser.conv_out):
        torch.nn.init.normal_(layer.weight, std=0.1)
    pipe.refiner = refiner
    pipe.sharpener = sharpener
    folder = tmp_path_factory.mktemp("base") / "model"
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture
def songs(data: Path, tmp_path: Path) -> Path:
    """The same songs as three stems with names of their own; one is the sum of two files."""
    lines = []
    for line in (data / "manifest.jsonl").read_text().splitlines():
        song = json.loads(line)
        song["path"] = str(data / song["path"])
        song["stems"] = ["beat", "low", "chords"]
        files = {"beat": ["drums"], "low": ["bass"], "chords": ["guitar", "piano"]}
        song["files"] = {stem: [f"{name}.flac" for name in names] for stem, names in files.items()}
        lines.append(json.dumps(song) + "\n")
    manifest = tmp_path / "songs.jsonl"
    manifest.write_text("".join(lines))
    return manifest


@pytest.fixture
def finetune(config: Path) -> Path:
    """Settings that say how to train only; the model says the rest."""
    content = yaml.safe_load(config.read_text())
    for name in ("log_mel", "vae", "vocoder"):
        del content[name]
    content["data"] = ["nowhere"]
    content["mixed_precision"] = "auto"  # decided when loaded, which must not settle the rest
    del content["denoiser"]["model"], content["denoiser"]["scheduler"]
    del content["refiner"]["model"], content["sharpener"]["model"]
    config.write_text(yaml.safe_dump(content))
    return config


@pytest.fixture
def own_precision() -> Iterator[None]:
    """Accelerate holds a process to the precision of its first training."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("own_precision")
def test_other_stems_by_lora(run, finetune: Path, base: Path, songs: Path, tmp_path: Path):
    options = ["--init", base, "--data", songs, "--map", MAP, "--device", "cpu"]
    denoiser, refiner = tmp_path / "denoiser", tmp_path / "refiner"
    result = run("train", "denoiser", finetune, *options, "--lora", "2", "--run", denoiser)
    assert result.code == 0, result.err
    network = CompactUNet.from_pretrained(denoiser / "export")
    assert network.config.stems == ["beat", "low", "chords"] and not has_lora(network)
    weights = load_file(denoiser / "export" / "diffusion_pytorch_model.safetensors")
    adapter = load_file(denoiser / "export" / "adapter" / "adapter_model.safetensors")
    assert sum(t.numel() for t in adapter.values()) < sum(t.numel() for t in weights.values()) / 2
    written = yaml.safe_load((denoiser / "settings.yaml").read_text())
    assert written["finetune"]["rank"] == 2 and written["log_mel"]["num_mels"] == 32
    resolved = denoiser / "settings.yaml"
    result = run("train", "refiner", finetune, *options, "--run", refiner)
    assert result.code == 0, result.err
    result = run("train", "sharpener", finetune, *options, "--run", tmp_path / "sharpener")
    assert result.code == 0, result.err
    parts = ["--denoiser", denoiser / "export", "--refiner", refiner / "export",
             "--sharpener", tmp_path / "sharpener" / "export"]  # fmt: skip
    models = {}
    for name, given in (("before", []), ("after", parts)):
        result = run("assemble", resolved, tmp_path / name, *given)
        assert result.code == 0, result.err
        models[name] = StemModel.from_pretrained(tmp_path / name)
        waveform = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
        stems = models[name].separate(waveform, 16000)
        assert list(stems) == ["beat", "low", "chords"]
        assert torch.allclose(sum(stems.values()), waveform, atol=1e-6)
    before, after = (models[name].denoiser.conv_in.weight for name in ("before", "after"))
    assert before.shape == after.shape and not torch.equal(before, after)
    assert all(len(model.sharpener.conv_out.bias) == 3 for model in models.values())
    original = StemModel.from_pretrained(base)
    kept, ours = original.vae.decoder[0].weight, models["before"].vae.decoder[0].weight
    assert torch.allclose(kept, ours, atol=1e-3)  # half precision on disk
    resumed = run("train", "denoiser", resolved, "--run", denoiser)
    assert resumed.code == 0 and "already at 2 of 2 steps" in resumed.out, resumed.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--map", "vocals=voice"], "model's stems are bass, drums"),
        (["--map", "vocals"], "NEW=OLD"),
        (["--map", "vocals=piano", "--init", "nothing"], "need a model"),
    ],
)
def test_wrong_options(run, finetune: Path, base: Path, tmp_path: Path, options, message):
    result = run("train", "denoiser", finetune, "--init", base, *options, "--run", tmp_path / "r")
    assert result.code == 2 and message in result.err, result.err
    assert not (tmp_path / "r").exists()


def test_settings_must_not_contradict_the_model(run, finetune: Path, base: Path, tmp_path: Path):
    content = yaml.safe_load(finetune.read_text())
    cases = {
        "log_mel": {"log_mel": {"num_mels": 64}},
        "no stem vocals": {"stems": ["vocals", "drums"]},
    }
    for message, change in cases.items():
        finetune.write_text(yaml.safe_dump({**content, **change}))
        result = run("train", "denoiser", finetune, "--init", base, "--run", tmp_path / "r")
        assert result.code == 2 and message in result.err, result.err


def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    compact = CompactUNet(
        latent_channels=2, latent_bands=8, block_channels=(16, 32), blocks_per_level=1,
        attention_levels=(1,), embedding_channels=16,
    )  # fmt: skip
    paper = UNet3D(
        latent_channels=2, model_channels=32, channel_mult=(1, 2), num_res_blocks=1,
        attention_resolutions=(2,),
    )  # fmt: skip
    refiner = MaskRefiner(num_mels=8, block_channels=(16, 32), attention_levels=())
    sharpener = MaskSharpener(num_bins=16, channels=8, dilations=(1,), num_components=2)
    for layer in (compact.conv_out, paper.out[2], refiner.conv_out, sharpener.conv_out):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return {"compact": compact, "unet3d": paper, "refiner": refiner, "sharpener": sharpener}


def output(name: str, network: torch.nn.Module, stems: list[int]) -> torch.Tensor:
    """Of inputs that belong to the stems."""
    generator = torch.Generator().manual_seed(1)
    if name == "refiner":
        mixture = torch.randn(1, 8, 8, generator=generator)
        return network(mixture, torch.randn(1, 4, 8, 8, generator=generator)[:, stems])
    if name == "sharpener":
        spectrum = torch.randn(1, 17, 8, dtype=torch.complex64, generator=generator)
        masks = torch.rand(1, 4, 17, 8, generator=generator)
        return network(spectrum, (masks / masks.sum(1, keepdim=True))[:, stems])
    latents = torch.randn(1, 4, 2, 8, 8, generator=generator)[:, stems]
    mixture = torch.randn(1, 2, 8, 8, generator=generator)
    return network(latents, torch.tensor([300]), mixture)


@pytest.mark.parametrize("name", ["compact", "unet3d", "refiner", "sharpener"])
@torch.no_grad()
def test_stems_in_another_order_are_the_same_model(name: str):
    network = networks()[name]
    order = [2, 0, 3, 1]
    expected = output(name, network, [0, 1, 2, 3])[:, order]
    network.load_state_dict(mapped_state(network, 4, order))
    assert torch.allclose(output(name, network, order), expected, atol=1e-4)


@torch.no_grad()
def test_another_number_of_stems_hears_the_same_timestep():
    network = networks()["compact"]
    fewer = CompactUNet.from_config({**network.config, "stems": ["a", "b", "c"]})
    fewer.load_state_dict(mapped_state(network, 4, [1, 3, 3]))
    whole = network.timestep_embedding(torch.full((1, 4), 300))
    assert torch.allclose(fewer.timestep_embedding(torch.full((1, 3), 300)), whole, atol=1e-5)


def test_sources():
    assert sources(STEMS, ("vocals", "drums"), {"vocals": "piano"}) == [3, 1]


@pytest.fixture
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_precision")  # single's rounding is 1e-4 on some CPUs
@pytest.mark.parametrize("name", ["compact", "unet3d"])
def test_lora_is_merged_exactly(name: str):
    network = networks()[name]
    before = output(name, network, [0, 1, 2, 3])
    add_lora(network, rank=2, alpha=4.0)
    assert torch.allclose(output(name, network, [0, 1, 2, 3]), before, atol=1e-6)
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert trained and all(".lora_" in parameter for parameter in trained)
    optimiser = torch.optim.SGD(trained.values(), lr=0.1)
    for _ in range(2):  # the second matrix has a gradient from the second step on
        optimiser.zero_grad()
        output(name, network, [0, 1, 2, 3]).square().mean().backward()
        optimiser.step()
    after = output(name, network, [0, 1, 2, 3])
    assert not torch.allclose(after, before, atol=1e-3)
    plain = merged(network)
    assert torch.allclose(output(name, plain, [0, 1, 2, 3]), after, atol=1e-4)
