"""Model folders: save → load gives equal output; wrong folders are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from stemweave.errors import InputError
from stemweave.model import StemModel
from stemweave.models.vocoder import SpectralVocoder


def test_save_and_load_give_equal_output(tiny_pipe: StemModel, tiny_model: Path):
    loaded = StemModel.from_pretrained(tiny_model)
    parts = {"log_mel", "vae", "denoiser", "scheduler", "vocoder"}
    assert parts <= {path.name for path in tiny_model.iterdir()}
    assert loaded.config.reference_rms == 0.1 and loaded.config.generation_steps == 2
    pieces = [
        pipe.generate(1.0, generator=torch.Generator().manual_seed(3))
        for pipe in (tiny_pipe, loaded)
    ]
    for name in pieces[0]:
        assert torch.equal(pieces[0][name], pieces[1][name])


def test_a_misspelt_setting_is_an_error(tiny_model: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    path = copy / "vae" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hiden_channels": 3}))
    with pytest.raises(InputError, match=r"vae\.hiden_channels"):
        StemModel.from_pretrained(copy)


@pytest.mark.parametrize("name", ["missing", "."])
def test_no_model(tmp_path: Path, name: str):
    with pytest.raises(InputError, match="model"):
        StemModel.from_pretrained(tmp_path / name)


def test_parts_that_do_not_fit_are_refused(tiny_pipe: StemModel):
    parts = {name: getattr(tiny_pipe, name) for name in ("log_mel", "vae", "denoiser", "scheduler")}
    with pytest.raises(InputError, match="75 mel frames a second, not 50"):
        StemModel(**parts, vocoder=SpectralVocoder(num_mels=32, sample_rate=24000))
