"""The settings that we ship: the paper's constants, and sizes of what they describe."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stemweave.checkpoints.importer import PAPER_SAMPLING, PAPER_SCHEDULE
from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.errors import InputError
from stemweave.model import TaskSettings
from stemweave.models.acceleration import computes_in_bfloat16
from stemweave.models.earlier_versions import current_state
from stemweave.models.part import dequantised
from stemweave.models.vae import strides_of
from stemweave.training import trial
from stemweave.training.finetune import load_base, resolved
from stemweave.training.networks import (
    autoencoder_in,
    make_autoencoder,
    make_denoiser,
    make_refiner,
    make_sharpener,
    make_vocoder,
)
from stemweave.training.settings import RunSettings, load_settings
from stemweave.training.trial import require_network

CONFIGS = Path(__file__).parent.parent.parent / "configs"
NOT_COUNTED = ("window", "basis")
"""Ends of names of what a file holds beside weights."""

# arXiv 2409.12346 and the configuration published with it
PAPER = {
    "stems": ("bass", "drums", "guitar", "piano"),
    "require_all_stems": True,
    "channels": 1,
    "log_mel.sample_rate": 16000,
    "log_mel.n_fft": 1024,
    "log_mel.win_length": 1024,
    "log_mel.hop_length": 160,
    "log_mel.num_mels": 64,
    "log_mel.f_min": 0,
    "log_mel.f_max": 8000,
    "log_mel.segment_frames": 1024,
    "log_mel.log_floor": 1e-5,
    "mixing.reference_rms": None,
    "mixing.stem_gain_std_db": 0,
    "mixing.level_std_db": 0,
    "mixing.equaliser_std_db": 0,
    "mixing.stem_drop_probability": 0,
    "mixing.cross_song_probability": 0,
    "mixing.clip_mixture": True,
    "vae.optimiser.learning_rate": 0,
    "vae.scale_of": "stem_samples",
    "vae.scale_crops": 3,
    "denoiser.latents": "sample",
    "denoiser.arrangement_share": 0,
    "denoiser.own_timesteps_probability": 0,
    "denoiser.pure_noise_probability": 0,
    "denoiser.optimiser.kind": "adam",
    "denoiser.optimiser.learning_rate": 3e-5,
    "denoiser.optimiser.weight_decay": 0,
    "denoiser.optimiser.betas": (0.9, 0.999),
    "denoiser.optimiser.schedule": "constant",
    "denoiser.optimiser.warmup_steps": 1000,
    "denoiser.optimiser.warmup_from_zero": True,
    "denoiser.optimiser.clip_norm": float("inf"),
    "denoiser.optimiser.ema_decay": 0.9999,
    "denoiser.crop_frames": 1024,
}
PAPERS_CODE = {
    "denoiser.optimiser.kind": "adamw",
    "denoiser.optimiser.weight_decay": 0.01,
    "denoiser.batch_size": 3,
    "denoiser.steps": 1_043_000,
    "sampling.separation_guidance": 1,
}
"""What its authors' code and configuration have otherwise."""


def value_of(settings: RunSettings, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_the_papers_constants():
    settings = load_settings(CONFIGS / "paper.yaml")
    for key, expected in PAPER.items():
        assert value_of(settings, key) == expected, key
    assert 1 - settings.denoiser.separation_share == pytest.approx(0.1)  # condition dropped
    assert settings.denoiser.model_dump()["scheduler"] == PAPER_SCHEDULE
    expected = {**asdict(TaskSettings()), **PAPER_SAMPLING, "sampler": "ddim"}
    assert expected.pop("reference_rms") is settings.mixing.reference_rms is None
    assert expected.pop("clip_mixture") is settings.mixing.clip_mixture is True
    assert settings.sampling.model_dump() == expected


def test_the_papers_code_differs_in_what_it_says():
    paper, code = (load_settings(CONFIGS / f"{name}.yaml") for name in ("paper", "paper_code"))
    for key, expected in PAPERS_CODE.items():
        assert value_of(code, key) == expected != value_of(paper, key), key
    for section in ("denoiser", "sampling"):
        keys = [key.removeprefix(section + ".") for key in PAPERS_CODE if key.startswith(section)]
        ours, theirs = (flat(getattr(one, section).model_dump()) for one in (code, paper))
        assert sorted(key for key in ours if ours[key] != theirs[key]) == sorted(keys)
    same = paper.model_copy(update={"denoiser": code.denoiser, "sampling": code.sampling})
    assert same == code


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inner = flat(value) if isinstance(value, dict) else {"": value}
        found |= {f"{key}.{name}".rstrip("."): one for name, one in inner.items()}
    return found


def test_a_file_may_say_only_how_it_differs(tmp_path: Path):
    (tmp_path / "base.yaml").write_text("data: [songs]\ndenoiser: {steps: 7, batch_size: 2}\n")
    (tmp_path / "below").mkdir()
    changed = tmp_path / "below" / "changed.yaml"
    changed.write_text("extends: ../base.yaml\nseed: 3\ndenoiser: {steps: 9}\n")
    settings = load_settings(changed)
    assert (settings.seed, settings.denoiser.steps, settings.denoiser.batch_size) == (3, 9, 2)
    for text, message in (
        ("extends: changed.yaml", "extends itself"),
        ("extends: nothing.yaml", "cannot read settings"),
        ("extends: ../base.yaml\ndenoiser: {stepz: 9}", "changed.yaml: denoiser.stepz"),
        ("- 3", "holds no settings"),
        ("seed: 3", "data: Field required"),
        ("data: [", "is not valid YAML"),
    ):
        changed.write_text(text)
        with pytest.raises(InputError, match=message):
            load_settings(changed)


def networks(settings: RunSettings) -> dict[str, Any]:
    """Those of a preset, without weights."""
    with torch.device("meta"):
        vae = autoencoder_in(make_autoencoder(settings))
        found = {"vae": vae, "vocoder": make_vocoder(settings)}
        found["denoiser"] = make_denoiser(settings, vae)
        if settings.refiner.model:
            found["refiner"] = make_refiner(settings)
        if settings.sharpener.model:
            found["sharpener"] = make_sharpener(settings)
    return found


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_sizes():
    settings = load_settings(CONFIGS / "paper.yaml")
    found = networks(settings)
    mel, strides = settings.log_mel, strides_of(found["vae"].config)
    assert mel.segment_frames * mel.hop_length / mel.sample_rate == 10.24
    assert found["denoiser"].config.latent_channels == 8
    assert (mel.segment_frames // strides[0], mel.num_mels // strides[1]) == (256, 16)
    millions = {name: round(count(network) / 1e6, 2) for name, network in found.items()}
    assert millions == {"denoiser": 305.17, "vae": 55.38, "vocoder": 55.26}


def test_the_large_preset():
    settings = load_settings(CONFIGS / "large.yaml")
    found, mel = networks(settings), settings.log_mel
    assert mel.sample_rate == 44100 and settings.channels == 2
    assert 0.9e9 < count(found["denoiser"]) < 1.1e9
    assert found["denoiser"].config.latent_channels == 2 * 16
    strides = strides_of(found["vae"].config)
    assert (mel.segment_frames // strides[0], mel.num_mels // strides[1]) == (128, 16)
    assert settings.denoiser.model["latent_bands"] == mel.num_mels // strides[1]
    assert 11.8 < mel.segment_frames * mel.hop_length / mel.sample_rate < 11.9


def test_the_presets_are_the_bundled_model():
    found = networks(load_settings(CONFIGS / "bundled.yaml"))
    found["vocoder"] = make_vocoder(load_settings(CONFIGS / "vocoder.yaml"))
    for name, network in found.items():
        state = load_file(BUNDLED_MODEL / name / "diffusion_pytorch_model.safetensors")
        state = current_state(type(network).__name__, dequantised(state))
        stored = [
            weights
            for key, weights in state.items()
            # conditions and their words come with the generator's songs
            if not key.endswith(NOT_COUNTED) and not key.startswith("conditions.")
        ]
        assert sum(weights.numel() for weights in stored) == count(network), name


def test_every_preset_is_valid():
    for path in CONFIGS.glob("*.yaml"):
        load_settings(path)


def test_automatic_precision_is_what_the_machine_computes_in(tmp_path: Path):
    path = tmp_path / "settings.yaml"
    path.write_text("data: [songs]\nmixed_precision: auto\n")
    expected = "bf16" if computes_in_bfloat16() else "no"
    assert load_settings(path).mixed_precision == expected
    if not torch.cuda.is_available():
        flags = Path("/proc/cpuinfo").read_text().split()
        assert computes_in_bfloat16() == bool({"avx512_bf16", "amx_bf16"} & set(flags))


def test_the_papers_training_as_a_dry_run(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial, "flops_here", lambda bfloat16: 1e11)
    done = run("train", "denoiser", CONFIGS / "paper.yaml", "--dry-run")
    assert done.code == 0, done.err
    for text in (
        "denoiser: 305.17 M parameters; 391000 steps",
        "GiB a process at most",
        " hours here (100 GFLOP/s of products)",
        "hours on an H100 (35% of 989 TFLOP/s)",
        "data: data/slakh2100 (not here: data/slakh2100)",
    ):
        assert text in done.out, done.out
    assert not list(tmp_path.iterdir())


def test_the_cost_of_a_linear_layer():
    layer = torch.nn.Linear(8, 4, bias=False, device="meta")
    flops, live_bytes = trial.cost_of_step(layer, [torch.zeros(2, 8, device="meta")])
    assert flops == 2 * (2 * 2 * 8 * 4)  # products forward, and for the gradient of its weights
    out, gradient = 4 * 2 * 4, 4 * 8 * 4
    assert out + gradient <= live_bytes <= 2 * gradient + 3 * out  # and a copy, the squares


@pytest.mark.parametrize(
    ("name", "parts"),
    {
        "bundled": ["vae", "denoiser"], "mask": ["refiner", "sharpener"], "vocoder": ["vocoder"],
        "generator": ["denoiser"], "paper": ["vae", "denoiser"],
        "large": ["vae", "denoiser", "refiner", "vocoder"],
    }.items(),
)  # fmt: skip
def test_networks_of_presets_take_their_crops(name: str, parts: list[str]):
    settings = load_settings(CONFIGS / f"{name}.yaml")
    base = load_base(settings)
    for part in parts:
        own = resolved(settings, base) if base is not None else settings
        require_network(part, own, base.vae if base is not None else None)
