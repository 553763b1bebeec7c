"""Published files, written small with exactly their keys, through ``stemweave import``."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from stemweave.checkpoints import weights
from stemweave.model import StemModel
from tests.parity import reference as ref

from .checkpoint_files import msgld_checkpoint


def check_model(folder: Path) -> None:
    """The averaged weights are in use and every part gives the reference's output."""
    pipe = StemModel.from_pretrained(folder)
    assert pipe.vae.config.scaling_factor == pytest.approx(0.7)
    assert pipe.config.separation_guidance == 2.0 and pipe.config.sample_posterior
    with torch.no_grad():
        ours = pipe.denoiser(
            ref.reference_input("unet.z"),
            torch.tensor(ref.SPEC["unet"]["timesteps"]),
            ref.reference_input("unet.mixture")[:, 0],
        )
        decoded = pipe.vae.decode(ref.reference_input("vae.latents")).sample
        waveform = pipe.vocoder(ref.reference_input("hifigan.log_mel").transpose(1, 2))
    ref.assert_close(ours, "unet.conditional")
    ref.assert_close(decoded, "vae.decoded")
    ref.assert_close(waveform[:, None], "hifigan.waveform")


def test_one_file_with_everything(run, tmp_path: Path):
    torch.save(msgld_checkpoint(), tmp_path / "msgld.ckpt")
    result = run("import", tmp_path / "msgld.ckpt", tmp_path / "model")
    assert result.code == 0, result.err
    assert "CC-BY-NC-SA" in (tmp_path / "model" / "LICENCE.txt").read_text()
    check_model(tmp_path / "model")
    again = run("import", tmp_path / "msgld.ckpt", tmp_path / "model")
    assert again.code == 2 and "--overwrite" in again.err


def test_parts_in_musicldms_own_files(run, tmp_path: Path):
    torch.save(msgld_checkpoint(with_first_stage=False), tmp_path / "msgld.ckpt")
    torch.save({"state_dict": ref.reference_weights("vae")}, tmp_path / "vae-ckpt.ckpt")
    torch.save({"generator": ref.reference_weights("hifigan")}, tmp_path / "hifigan-ckpt.ckpt")
    command = ["import", tmp_path / "msgld.ckpt", tmp_path / "model"]
    without = run(*command)
    assert without.code == 2 and "holds no VAE" in without.err
    assert not (tmp_path / "model").exists()
    result = run(
        *command, "--vae", tmp_path / "vae-ckpt.ckpt", "--vocoder", tmp_path / "hifigan-ckpt.ckpt"
    )
    assert result.code == 0, result.err
    check_model(tmp_path / "model")


def test_a_musicldm_folder(run, tmp_path: Path):
    vae_state, hifigan_state = ref.reference_weights("vae"), ref.reference_weights("hifigan")
    config = weights.vae_config(vae_state)
    vae = AutoencoderKL(**config)
    vae.load_state_dict(weights.vae_state(vae_state, config))
    vae.save_pretrained(tmp_path / "musicldm" / "vae")
    vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**weights.hifigan_config(hifigan_state)))
    vocoder.load_state_dict(weights.hifigan_state(hifigan_state))
    vocoder.save_pretrained(tmp_path / "musicldm" / "vocoder")
    torch.save(msgld_checkpoint(with_first_stage=False), tmp_path / "msgld.ckpt")
    command = ["import", tmp_path / "msgld.ckpt", tmp_path / "model"]
    result = run(*command, "--musicldm", tmp_path / "musicldm")
    assert result.code == 0, result.err
    check_model(tmp_path / "model")
    shutil.rmtree(tmp_path / "musicldm" / "vocoder")
    broken = run(*command, "--musicldm", tmp_path / "musicldm", "--overwrite")
    assert broken.code == 2 and "musicldm" in broken.err
    check_model(tmp_path / "model")  # what was there is still there


def test_bad_checkpoints(run, tmp_path: Path):
    """One sentence, and no model; ``test_checkpoint_contents`` has more of them."""
    (tmp_path / "bad.ckpt").write_text("text")
    torch.save(msgld_checkpoint(), tmp_path / "good.ckpt")
    for name, message in (
        ("bad", "damaged"), ("none", "does not exist"), ("good", "name them all"),
    ):  # fmt: skip
        result = run("import", tmp_path / f"{name}.ckpt", tmp_path / "model", "--stems", "a,b")
        assert result.code == 2 and message in result.err and not (tmp_path / "model").exists()


def test_wrong_places_and_names_for_the_model(run, tmp_path: Path):
    torch.save(msgld_checkpoint(), tmp_path / "good.ckpt")
    (tmp_path / "file").write_text("mine")
    command = ["import", tmp_path / "good.ckpt"]
    twice = run(*command, tmp_path / "model", "--stems", "a,a,b,c")
    assert twice.code == 2 and "--stems" in twice.err
    taken = run(*command, tmp_path / "file", "--overwrite")
    assert taken.code == 2 and "is a file" in taken.err
    below = run(*command, tmp_path / "file" / "model")
    assert below.code == 2 and "cannot write" in below.err
    assert {path.name for path in tmp_path.iterdir()} == {"good.ckpt", "file"}
    assert (tmp_path / "file").read_text() == "mine"
