"""The fast way to a model gives the model; commands import no more than they use."""

import gc
import json
import shutil
import subprocess
import sys
from typing import Any

import pytest
import torch

from stemweave.checkpoints.loaded_model import PARTS, LoadedModel
from stemweave.checkpoints.loading import NOT_NEEDED, hidden, load_model, uncollected
from stemweave.checkpoints.model_folder import BUNDLED_MODEL, has_own_parts_only
from stemweave.errors import InputError
from stemweave.pipeline import StemweavePipeline


def test_loaded_model_gives_what_the_pipeline_gives(tiny_model):
    noise = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(1))
    found = []
    for model in (load_model(str(tiny_model)), StemweavePipeline.from_pretrained(tiny_model)):
        generator = torch.Generator().manual_seed(0)
        stems = model.separate(noise, 22_050, generator=generator)
        piece = model.generate(1.0, generator=generator)
        found.append((stems, piece))
    assert isinstance(load_model(str(tiny_model)), LoadedModel)
    for quick, slow in zip(*found, strict=True):
        assert quick.keys() == slow.keys()
        assert all(torch.allclose(quick[key], slow[key], atol=1e-5) for key in quick)


def test_models_with_foreign_parts_are_left_to_the_pipeline(tiny_model, tmp_path):
    assert has_own_parts_only(BUNDLED_MODEL) and has_own_parts_only(tiny_model)
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    index = json.loads((folder / "model_index.json").read_text())
    foreign = {**index, "vocoder": ["transformers", "SpeechT5HifiGan"]}
    (folder / "model_index.json").write_text(json.dumps(foreign))
    assert not has_own_parts_only(folder)
    assert not has_own_parts_only(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no model at"):
        load_model(str(tmp_path / "nowhere"))


def test_a_damaged_part_is_named(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cannot load the model part .*vae"):
        load_model(str(folder)).fetch(["vae"])
    shutil.copy(folder / "vocoder" / weights.name, weights)
    with pytest.raises(InputError, match=r"cannot load the model part .*vae"):
        load_model(str(folder)).generate(1.0)


def test_a_task_loads_its_own_parts_alone():
    model = load_model()
    model.separate(torch.zeros(16000), 16000)
    assert {"log_mel", "refiner", "sharpener"} == vars(model).keys() & set(PARTS)
    model.alter("denoiser", lambda network: network.register_buffer("altered", torch.ones(1)))
    assert "denoiser" not in vars(model)
    assert model.denoiser.altered == 1 and model.denoiser is model.denoiser


def test_hidden_packages_come_back():
    assert "antigravity" not in sys.modules
    with hidden("antigravity", "torch"):
        import torch as again  # imported before: it stays

        assert again is torch
        with pytest.raises(ModuleNotFoundError):
            import antigravity  # noqa: F401
    assert "antigravity" not in sys.modules


def at_the_end(expression: str, *arguments: str) -> Any:
    """``expression`` when ``stemweave ARGUMENTS`` ends."""
    code = (
        "import sys, atexit, gc, json\n"
        f"atexit.register(lambda: print('\\n' + json.dumps({expression})))\n"
        f"sys.argv = ['stemweave', *{list(arguments)!r}]\n"
        "from stemweave.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def modules_after(*arguments: str) -> set[str]:
    """What ``stemweave ARGUMENTS`` has imported when it ends."""
    return set(at_the_end("sorted(sys.modules)", *arguments))


def test_collection_waits_for_the_block_alone():
    with pytest.raises(ValueError, match="inside"), uncollected():
        assert not gc.isenabled()
        raise ValueError("inside")
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_model_is_freed():
    code = (
        "import gc, weakref\n"
        "from stemweave.cli.options import load\n"
        "model = load(None)\n"
        "denoiser = weakref.ref(model.denoiser)\n"
        "del model\n"
        "gc.collect()\n"
        "assert denoiser() is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_collected_at_the_end():
    assert at_the_end("gc.get_freeze_count()", "--help") > 10_000


def test_help_imports_nothing_heavy():
    assert not modules_after("--help") & {"torch", "numpy", "soundfile", "matplotlib", "diffusers"}


def test_a_task_imports_no_compiler_and_no_other_framework(tiny_model, tmp_path):
    arguments = ("generate", "-o", str(tmp_path / "out"), "--seconds", "1", "--steps", "1")
    imported = modules_after(*arguments, "--model", str(tiny_model))
    assert "torch" in imported
    assert not imported & {*NOT_NEEDED, "matplotlib"}
