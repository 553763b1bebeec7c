"""A saved model is what it was; commands read and import no more than they use."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from stemweave.errors import InputError
from stemweave.model import StemModel, load_model
from stemweave.models.parts import PARTS
from stemweave.models.vocoder import SpectralVocoder


def test_what_is_saved_is_what_is_loaded(tiny_pipe, tiny_model, tmp_path):
    noise = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(1))
    StemModel.from_pretrained(tiny_model).save_pretrained(tmp_path)
    found = []
    for model in (tiny_pipe, load_model(tiny_model), StemModel.from_pretrained(tmp_path)):
        generator = torch.Generator().manual_seed(0)
        found.append(model.separate(noise, 22_050, generator=generator))
        found[-1] |= model.generate(1.0, generator=generator)
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert all(torch.allclose(other[key], found[0][key], atol=1e-5) for key in other)


@pytest.mark.parametrize(
    ("part", "entry", "words"),
    [
        ("vocoder", ["elsewhere", "Unknown"], "holds a Unknown, which is no part that is known"),
        ("vae", ["stemweave.gone", "PatchVAE"], None),
        ("bar_timestep", 600, None),  # of earlier versions
        ("bar_timesteps", 600, "unknown settings"),
    ],
)
def test_parts_are_known_by_their_names(tiny_model, tmp_path, part, entry, words):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, part: entry}))
    if words is None:  # where its module was once does not matter
        assert load_model(folder).vae is not None
        return
    with pytest.raises(InputError, match=words):
        load_model(folder)


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
    read = {name for name in PARTS if vars(model).get(name) is not None}
    assert read == {"log_mel", "refiner", "sharpener"}
    model.alter("denoiser", lambda network: network.register_buffer("altered", torch.ones(1)))
    assert "denoiser" not in vars(model)
    assert model.denoiser.altered == 1 and model.denoiser is model.denoiser


def modules_after(*arguments: str) -> set[str]:
    """What ``stemweave ARGUMENTS`` has imported when it ends."""
    code = (
        "import sys, atexit, json\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
        f"sys.argv = ['stemweave', *{list(arguments)!r}]\n"
        "from stemweave.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


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


def test_help_imports_nothing_heavy():
    assert not modules_after("--help") & {"torch", "numpy", "soundfile", "matplotlib", "diffusers"}


def test_separation_imports_no_other_framework(tmp_path):
    song = tmp_path / "song.wav"
    soundfile.write(song, 0.1 * np.random.default_rng(0).standard_normal(8000), 16000)
    imported = modules_after("separate", str(song), "-o", str(tmp_path / "out"))
    assert "torch" in imported
    others = {"diffusers", "transformers", "accelerate", "peft", "scipy", "torch._dynamo"}
    assert not imported & {*others, "matplotlib"}


def test_a_misspelt_setting_is_an_error(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    path = folder / "vae" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hiden_channels": 3}))
    with pytest.raises(InputError, match=r"vae\.hiden_channels"):
        StemModel.from_pretrained(folder)
    with pytest.raises(InputError, match="not a model folder"):
        StemModel.from_pretrained(tmp_path)


def test_parts_that_do_not_fit_are_refused(tiny_pipe):
    parts = {**tiny_pipe.components, "vocoder": SpectralVocoder(num_mels=32, sample_rate=24000)}
    with pytest.raises(InputError, match="75 mel frames a second, not 50"):
        StemModel(**parts)
