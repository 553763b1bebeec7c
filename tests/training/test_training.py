"""Every stage through the real command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from stemweave.model import StemModel
from stemweave.models.compact import CompactUNet
from stemweave.models.refiner import MaskRefiner
from stemweave.training.networks import load_component, make_refiner
from stemweave.training.settings import RunSettings, load_settings
from stemweave.training.situations import draw_situation
from stemweave.training.stage_sharpener import SharpenerStage
from stemweave.training.start import load_songs
from tests.training.command import change, last_log, train


def test_two_steps_of_every_stage_make_a_model(run, config: Path, vae: Path, tmp_path: Path):
    train(run, "denoiser", config, tmp_path / "denoiser", "--vae", vae)
    train(run, "vocoder", config, tmp_path / "vocoder", "--vae", vae)
    train(run, "refiner", config, tmp_path / "refiner")
    refiner = tmp_path / "refiner" / "export"
    train(run, "sharpener", config, tmp_path / "sharpener", "--refiner", refiner)
    figures = {
        "vae": "val_mse", "denoiser": "val_separation", "vocoder": "val_spectral",
        "refiner": "val_si_sdri_db", "sharpener": "val_si_sdri_db",
    }  # fmt: skip
    for stage, figure in figures.items():
        folder = tmp_path / stage
        component = load_component(stage, folder / "export")
        assert all(torch.isfinite(p).all() for p in component.parameters())
        if stage == "denoiser":
            loudest = torch.tensor(component.config.max_log_mels)
            assert len(loudest) == len(component.config.stems) and loudest.isfinite().all()
        logged = last_log(folder)
        assert logged["step"] == 2 and logged[figure] != 0
        assert list((folder / "tensorboard").iterdir())
        assert load_settings(folder / "settings.yaml").seed == 0
    assert load_component("vae", vae).config.scaling_factor != 1.0
    parts = [one for stage in figures for one in (f"--{stage}", tmp_path / stage / "export")]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "LICENCE.md").write_text("ours")
    refused = run("assemble", config, tmp_path / "model", *parts)
    assert refused.code == 2 and "--overwrite" in refused.err
    result = run("assemble", config, tmp_path / "model", *parts, "--overwrite")
    assert result.code == 0, result.err
    assert (tmp_path / "model" / "LICENCE.md").read_text() == "ours"
    stored = load_file(tmp_path / "model" / "denoiser" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    pipe = StemModel.from_pretrained(tmp_path / "model")
    assert pipe.denoiser.dtype == torch.float32 and pipe.config.reference_rms == 0.1
    assert pipe.refiner is not None and pipe.sharpener is not None
    mixture = 0.1 * torch.randn(1, 8000)
    stems = pipe.separate(mixture, sample_rate=16000)
    assert torch.allclose(sum(stems.values()), mixture, atol=1e-5)
    assert set(pipe.generate(0.5)) == {"bass", "drums", "guitar", "piano", "mixture"}
    wrong = run("assemble", config, tmp_path / "other", "--vae", tmp_path)
    assert wrong.code == 2 and "no trained vae" in wrong.err
    assert not (tmp_path / "other").exists()


def test_every_other_crop_has_the_factors_of_a_second_pass(run, config: Path, tmp_path: Path):
    settings = load_settings(config)
    refiner = make_refiner(settings)
    refiner.save_pretrained(tmp_path / "refiner")
    train(run, "sharpener", config, tmp_path / "run", "--refiner", tmp_path / "refiner")
    shards = [load_file(path) for path in settings.cache.glob("*/shard_000000.safetensors")]
    templates = shards[0]["templates"].float()
    assert templates.shape[-1] == 3
    audible = templates.flatten(1, -2).amax(dim=1) > 0
    assert audible[1::2].all() and audible[::2, :2].all() and not audible[::2, 2].any()


def test_log_mels_of_separated_stems_count_by_their_weight(config: Path):
    settings = load_settings(config)
    refiner = make_refiner(settings)

    def loss(mel_weight: float) -> tuple[float, dict[str, float]]:
        weighted = settings.sharpener.model_copy(update={"mel_weight": mel_weight})
        of_all = settings.model_copy(update={"sharpener": weighted})
        stage = SharpenerStage(of_all, *load_songs(of_all), refiner)
        found, figures = stage.loss(stage.network, 1, np.random.default_rng(0), torch.Generator())
        found.backward()
        gradients = [weights.grad for weights in stage.network.parameters()]
        assert all(grad.isfinite().all() for grad in gradients if grad is not None)
        return found.item(), figures

    (plain, _), (weighted, figures) = loss(0.0), loss(2.0)
    assert figures["log_mel_mse"] > 0.1
    assert weighted - plain == pytest.approx(2 * figures["log_mel_mse"], rel=1e-3)


def test_a_sharpener_wants_a_refiner_of_its_stems(run, config: Path, tmp_path: Path):
    MaskRefiner(3, 32, (16, 32)).save_pretrained(tmp_path / "refiner")
    result = run("train", "sharpener", config, "--refiner", tmp_path / "refiner")
    assert result.code == 2 and "the refiner has 3 stems, the settings 4" in result.err, result.err


def test_a_compiled_run_is_the_same_and_validates_uncompiled(
    run, config: Path, vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained: list[bool] = []

    def backend(graph, inputs):
        trained.append(torch.is_grad_enabled())
        return graph.forward

    plain_compile = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda one: plain_compile(one, backend=backend))
    change(config, "denoiser", steps=3, validate_every_steps=1, examples=0)
    train(run, "denoiser", config, tmp_path / "plain", "--vae", vae)
    assert not trained
    change(config, None, compile=True)
    train(run, "denoiser", config, tmp_path / "compiled", "--vae", vae)
    assert trained and all(trained)
    plain, compiled = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"]
        for name in ("plain", "compiled")
    )
    for name, weights in plain.items():
        torch.testing.assert_close(compiled[name], weights, rtol=1e-4, atol=1e-5)


def test_a_run_is_not_compiled_without_a_compiler(
    run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CXX", "no-such-compiler")
    change(config, None, compile=True)
    outcome = run("train", "vae", config, "--run", tmp_path / "vae", "--device", "cpu")
    assert outcome.code == 2 and "no-such-compiler is not installed" in outcome.err


def test_missing_components_and_songs(run, config: Path, tmp_path: Path):
    result = run("train", "denoiser", config, "--vae", tmp_path / "no", "--run", tmp_path / "run")
    assert result.code == 2 and "no trained vae" in result.err
    content = yaml.safe_load(config.read_text())
    content["data"] = [str(tmp_path / "nothing")]
    config.write_text(yaml.safe_dump(content))
    result = run("train", "vae", config, "--run", tmp_path / "run")
    assert result.code == 2 and "not a folder of songs" in result.err


def test_tasks_share_the_batch_as_configured(config: Path):
    import numpy as np

    settings = load_settings(config).denoiser
    rng = np.random.default_rng(0)
    coherent = torch.ones(4000, dtype=torch.bool)
    coherent[:1000] = False
    drawn = draw_situation(settings, coherent, 4, 8, 1000, rng)
    assert drawn.has_mixture[:1000].all() and not drawn.known[:1000].any()
    arranged = drawn.known[1000:].flatten(1).any(1).float().mean()
    assert arranged == pytest.approx(settings.arrangement_share, abs=0.05)
    separated = (drawn.has_mixture & ~drawn.known.flatten(1).any(1))[1000:].float().mean()
    assert separated == pytest.approx(settings.separation_share, abs=0.05)
    wholly_given = drawn.known.all(2)
    assert wholly_given.any() and (drawn.timestep[wholly_given] == 0).all()


def test_timesteps_are_drawn_nearer_to_noise_if_wanted(config: Path):
    import numpy as np

    settings = load_settings(config).denoiser.model_copy(
        update={"timestep_shift": 3.0, "separation_share": 0.0, "own_timesteps_probability": 0.5}
    )
    coherent = torch.ones(4000, dtype=torch.bool)
    drawn = draw_situation(settings, coherent, 4, 8, 1000, np.random.default_rng(0))
    drawn_freely = drawn.timestep[~drawn.known.all(2)]
    assert (drawn_freely >= 749).float().mean() == pytest.approx(0.5, abs=0.03)
    assert drawn_freely.max() == 999


def test_fine_tuning_starts_from_given_weights(run, config: Path, vae: Path, tmp_path: Path):
    train(run, "denoiser", config, tmp_path / "first", "--vae", vae)
    change(config, "denoiser", optimiser={"learning_rate": 0.0, "ema_decay": 0.0})
    init = tmp_path / "first" / "export"
    train(run, "denoiser", config, tmp_path / "second", "--vae", vae, "--init", init)
    one, two = (CompactUNet.from_pretrained(tmp_path / n / "export") for n in ("first", "second"))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


def test_two_trainings_do_not_share_a_folder(run, config: Path, tmp_path: Path):
    import fcntl

    (tmp_path / "vae").mkdir()
    with (tmp_path / "vae" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run("train", "vae", config, "--run", tmp_path / "vae")
    assert result.code == 2 and "another training" in result.err
    train(run, "vae", config, tmp_path / "vae")


def test_settings_in_the_docs_are_valid():
    import re

    page = (Path(__file__).parent.parent.parent / "docs" / "training.md").read_text()
    found = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found
    for block in found:
        settings = yaml.safe_load(block)
        settings.pop("extends", None)  # whole files; their commands are run by test_walks
        RunSettings.model_validate({"data": ["songs"], **settings})
