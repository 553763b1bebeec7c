"""Published checkpoints → a model folder that ``StemweavePipeline`` loads.

MSG-LD's checkpoints (PyTorch Lightning) hold U-Net, EMA, VAE and vocoder in one file; MusicLDM's
VAE and vocoder are files of their own, or a ``musicldm`` folder in diffusers' layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from stemweave.audio.log_mel import LogMel
from stemweave.checkpoints import weights
from stemweave.files import InputError
from stemweave.models.unet3d import UNet3D
from stemweave.pipeline import StemweavePipeline
from stemweave.stems import STEMS

LICENCE_NOTE = (
    "The published MusicLDM and MSG-LD weights are CC-BY-NC-SA 4.0: for non-commercial use, with "
    "attribution, and what you derive from them stays under the same licence."
)

PAPER_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
}
"""The paper's noise schedule for diffusers' ``DDIMScheduler``."""

PAPER_SAMPLING: dict[str, Any] = {
    "clip_mixture": True,
    "separation_steps": 200,
    "separation_guidance": 2.0,
    "generation_steps": 200,
    "eta": 1.0,
    "sample_posterior": True,
}
"""The paper's sampling settings where they are not those of ``TaskSettings``."""


def import_checkpoint(
    source: str,
    *,
    vae: Path | None = None,
    vocoder: Path | None = None,
    musicldm: str | None = None,
    stems: tuple[str, ...] = STEMS,
) -> StemweavePipeline:
    """A pipeline from published weights; write it with ``save_pretrained``.

    Args:
        source: MSG-LD checkpoint (``.ckpt``); EMA weights are taken if it has them.
        vae, vocoder: MusicLDM's ``vae-ckpt.ckpt`` and ``hifigan-ckpt.ckpt``, if the checkpoint does
            not hold these parts (or to replace them).
        musicldm: folder or hub id in diffusers' layout to take VAE and vocoder from.

    Raises:
        InputError: if a file cannot be read, a part is in none of the sources, or keys are missing.
    """
    state, extra = read_checkpoint(Path(source))
    denoiser = _load_unet(state, stems)
    if musicldm is not None:
        vae_model, vocoder_model = load_musicldm(musicldm)
    else:
        vae_model = _load_vae(_part(vae, state, "first_stage_model.", "VAE", "--vae"))
        vocoder_model = _load_vocoder(
            _part(vocoder, state, "first_stage_model.vocoder.", "vocoder", "--vocoder")
        )
    if "scale_factor" not in extra:
        raise InputError(f"{source} has no scale_factor, so its latents' scale is unknown")
    vae_model.register_to_config(scaling_factor=float(extra["scale_factor"]))
    return StemweavePipeline(
        LogMel(), vae_model, denoiser, DDIMScheduler(**PAPER_SCHEDULE), vocoder_model,
        **PAPER_SAMPLING,
    )  # fmt: skip


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of a checkpoint and its scalar buffers; nothing in the file is executed."""
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist or is a folder: give the .ckpt file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a file that is no pickle raises depends on its bytes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is not a checkpoint of plain weights: {reason}") from error
    if isinstance(content, Mapping):
        for key in ("state_dict", "generator"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds no state_dict")
    tensors = {name: t.float() for name, t in content.items() if isinstance(t, Tensor)}
    scalars = {name: tensor for name, tensor in tensors.items() if tensor.numel() == 1}
    return tensors, scalars


def ema_weights(state: Mapping[str, Tensor], prefix: str = "model.") -> dict[str, Tensor]:
    """Weights below ``prefix`` as the running average has them (its names have no dots).

    Without ``model_ema.*`` the plain weights are returned. Raises ``InputError`` if the average
    covers only some of them.
    """
    plain = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    average = {name for name in state if name.startswith("model_ema.")}
    if not average - {"model_ema.decay", "model_ema.num_updates"}:
        return plain
    weights_, missing = {}, []
    for name in plain:
        key = "model_ema." + name[len(prefix) :].replace(".", "")
        if key in state:
            weights_[name] = state[key]
        else:
            missing.append(name)
    if missing:
        raise InputError(f"the running average lacks {len(missing)} weights, e.g. {missing[0]}")
    return weights_


def _load_unet(state: Mapping[str, Tensor], stems: tuple[str, ...]) -> UNet3D:
    prefix = "model.diffusion_model."
    reference = _below(ema_weights(state), prefix)
    if "input_blocks.0.0.weight" not in reference:
        raise InputError(f"the checkpoint has no U-Net ({prefix}*): give an MSG-LD checkpoint")
    config = weights.unet3d_config(reference)
    if reference["input_blocks.0.0.weight"].shape[1] != len(stems):
        raise InputError(
            f"the checkpoint has {reference['input_blocks.0.0.weight'].shape[1]} stems; name them "
            "in order with --stems"
        )
    network = UNet3D(stems=stems, **config)  # type: ignore[arg-type]
    _load(network, weights.unet3d_state(reference), "U-Net")
    return network


def _load_vae(reference: Mapping[str, Tensor]) -> AutoencoderKL:
    reference = {
        name: tensor
        for name, tensor in reference.items()
        if name.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv."))
    }
    config = weights.vae_config(reference)
    vae = AutoencoderKL(**config)
    _load(vae, weights.vae_state(reference, config), "VAE")
    return vae


def _load_vocoder(reference: Mapping[str, Tensor]) -> SpeechT5HifiGan:
    reference = {
        name: tensor
        for name, tensor in reference.items()
        if name.startswith(("conv_pre.", "ups.", "resblocks.", "conv_post."))
    }
    vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**weights.hifigan_config(reference)))
    _load(vocoder, weights.hifigan_state(reference), "vocoder")
    return vocoder


def load_musicldm(source: str) -> tuple[AutoencoderKL, SpeechT5HifiGan]:
    """VAE and vocoder of a ``musicldm`` folder or hub id in diffusers' layout."""
    try:
        return (
            AutoencoderKL.from_pretrained(source, subfolder="vae"),
            SpeechT5HifiGan.from_pretrained(source, subfolder="vocoder"),
        )
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot load vae and vocoder from {source}: {reason}") from error


def _part(
    path: Path | None, state: Mapping[str, Tensor], prefix: str, name: str, option: str
) -> dict[str, Tensor]:
    """A part's weights from its own file, else from the checkpoint."""
    probe = "conv_pre.bias" if name == "vocoder" else "encoder.conv_in.weight"
    if path is not None:
        tensors, _ = read_checkpoint(path)
        for start in ("", prefix, "generator.", "module."):
            part = _below(tensors, start)
            if probe in part:
                return part
        raise InputError(f"{path} ({option}) holds no {name}: it has no {probe}")
    part = _below(state, prefix)
    if probe not in part:
        raise InputError(
            f"the checkpoint holds no {name}: give one with {option} or --musicldm (a folder or "
            "hub id in diffusers' layout)"
        )
    return part


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}


def _load(module: torch.nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    expected = module.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    misshapen = [
        key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape
    ]
    for problem, keys in (
        ("lacks", missing), ("has unknown", unexpected), ("has another shape of", misshapen)
    ):  # fmt: skip
        if keys:
            raise InputError(f"the {name} {problem} {len(keys)} weights, e.g. {keys[0]}")
    module.load_state_dict(dict(state))
