"""Published checkpoints → a model folder that ``StemModel`` loads.

MSG-LD's checkpoints (PyTorch Lightning) hold all parts in one file; MusicLDM's VAE and vocoder are
files of their own, or a ``musicldm`` folder in diffusers' layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from stemweave.checkpoints import weights
from stemweave.checkpoints.model_folder import check_source
from stemweave.checkpoints.reading import finite_number, printable, read_weights
from stemweave.errors import InputError
from stemweave.model import StemModel
from stemweave.models.log_mel import LogMel
from stemweave.models.unet3d import UNet3D
from stemweave.stems import STEMS

LICENCE_NOTE = (
    "The published MusicLDM and MSG-LD weights are CC-BY-NC-SA 4.0: for non-commercial use, with "
    "attribution, and what you derive from them stays under the same licence."
)

PAPER_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.0015, "beta_end": 0.0195,
    "beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False,
    "steps_offset": 1, "timestep_spacing": "leading", "prediction_type": "epsilon",
}  # fmt: skip
"""The paper's noise schedule for diffusers' ``DDIMScheduler``."""

PAPER_SAMPLING: dict[str, Any] = {
    "clip_mixture": True, "separation_steps": 200, "separation_guidance": 2.0,
    "generation_steps": 200, "eta": 1.0, "sample_posterior": True,
}  # fmt: skip
"""The paper's sampling settings where they are not those of ``TaskSettings``."""


def import_checkpoint(
    source: str,
    *,
    vae: Path | None = None,
    vocoder: Path | None = None,
    musicldm: str | None = None,
    stems: tuple[str, ...] = STEMS,
) -> StemModel:
    """A pipeline from published weights; write it with ``save_pretrained``.

    Args:
        source: MSG-LD checkpoint (``.ckpt``); EMA weights are taken if it has them.
        vae, vocoder: MusicLDM's ``vae-ckpt.ckpt`` and ``hifigan-ckpt.ckpt``, if the checkpoint does
            not hold these parts (or to replace them).
        musicldm: folder or hub id in diffusers' layout to take VAE and vocoder from.

    Raises:
        InputError: if a file cannot be read, a part is in none of the sources, or keys are missing.
    """
    state = read_weights(Path(source))
    unet = _unet_weights(state, stems)
    if musicldm is not None:
        vae_model, vocoder_model = load_musicldm(musicldm)
    else:
        vae_model = _load_vae(_part(vae, state, "first_stage_model.", "VAE"))
        vocoder_model = _load_vocoder(
            _part(vocoder, state, "first_stage_model.vocoder.", "vocoder")
        )
    if "scale_factor" not in state:
        raise InputError(f"{source} has no scale_factor, so its latents' scale is unknown")
    scale = finite_number(state["scale_factor"], "scale_factor")
    vae_model.register_to_config(scaling_factor=scale)
    denoiser = _load_unet(unet, stems, vae_model.config.latent_channels)
    return StemModel(
        LogMel(), vae_model, denoiser, DDIMScheduler(**schedule_of(state)), vocoder_model,
        **PAPER_SAMPLING,
    )  # fmt: skip


def schedule_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The paper's schedule with the checkpoint's own ``betas``, if it has other ones."""
    betas = state.get("betas")
    if betas is None:
        return PAPER_SCHEDULE
    if betas.ndim != 1 or len(betas) < 2 or not bool(((betas > 0) & (betas < 1)).all()):
        raise InputError("the checkpoint's betas are no noise schedule: they must be in (0, 1)")
    paper = DDIMScheduler(**PAPER_SCHEDULE).betas
    if betas.shape == paper.shape and torch.allclose(betas, paper, rtol=1e-4):
        return PAPER_SCHEDULE
    return {
        **PAPER_SCHEDULE, "num_train_timesteps": len(betas), "trained_betas": betas.tolist()
    }  # fmt: skip


def ema_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights below ``model.`` as the running average has them (its names have no dots).

    Without ``model_ema.*`` the plain weights are returned. Raises ``InputError`` if the average
    covers only some of them, or is there alone and has weights that no U-Net has.
    """
    prefix = "model."
    plain = _beginning(state, prefix)
    average = _below(state, "model_ema.")
    for counter in ("decay", "num_updates"):
        average.pop(counter, None)
    if not average:
        return plain
    if not plain:
        start = "diffusion_model"
        flat = [name.removeprefix(start) for name in average if name.startswith(start)]
        dotted = weights.with_dots(flat)
        unknown = sorted(average.keys() - {start + name for name in dotted})
        if unknown:
            raise InputError(
                f"the running average has {len(unknown)} weights that no U-Net has, e.g. "
                f"{printable(unknown[0])}"
            )
        return {f"{prefix}{start}.{dotted[name]}": average[start + name] for name in flat}
    flat_names = {name: name[len(prefix) :].replace(".", "") for name in plain}
    missing = [name for name, flat_name in flat_names.items() if flat_name not in average]
    if missing:
        raise InputError(
            f"the running average lacks {len(missing)} weights, e.g. {printable(missing[0])}"
        )
    return {name: average[flat_name] for name, flat_name in flat_names.items()}


@contextmanager
def _laid_out(part: str) -> Iterator[None]:
    """In the block, weights that are missing or of other shapes are one sentence."""
    try:
        yield
    except KeyError as error:
        missing = printable(str(error.args[0]))
        raise InputError(f"the {part} lacks weights, e.g. {missing}: is the file whole?") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"the {part}'s weights have other shapes than a {part}'s") from e


def _unet_weights(state: Mapping[str, Tensor], stems: tuple[str, ...]) -> dict[str, Tensor]:
    """The U-Net's averaged weights under the reference's names, if it has so many stems."""
    prefix = "model.diffusion_model."
    reference = _below(ema_weights(state), prefix)
    first = reference.get("input_blocks.0.0.weight")
    if first is None:
        raise InputError(f"the checkpoint has no U-Net ({prefix}*): give an MSG-LD checkpoint")
    if first.ndim == 5 and first.shape[1] != len(stems):
        raise InputError(
            f"the checkpoint has {first.shape[1]} stems; name them all, in their order"
        )
    return reference


def _load_unet(
    reference: Mapping[str, Tensor], stems: tuple[str, ...], latent_channels: int
) -> UNet3D:
    with _laid_out("U-Net"):
        config: dict[str, Any] = weights.unet3d_config(reference)
        network = UNet3D(stems=stems, latent_channels=latent_channels, **config)
        state = weights.unet3d_state(reference)
    _load(network, state, "U-Net")
    return network


def _load_vae(reference: Mapping[str, Tensor]) -> AutoencoderKL:
    reference = _beginning(reference, "encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
    with _laid_out("VAE"):
        config: dict[str, Any] = weights.vae_config(reference)
        vae = AutoencoderKL(**config)
        state = weights.vae_state(reference, config)
    if len(state) < len(reference):  # diffusers' converter passes over what it does not know
        unused = len(reference) - len(state)
        raise InputError(f"the VAE has {unused} weights that MusicLDM's has not")
    _load(vae, state, "VAE")
    return vae


def _load_vocoder(reference: Mapping[str, Tensor]) -> SpeechT5HifiGan:
    reference = _beginning(reference, "conv_pre.", "ups.", "resblocks.", "conv_post.")
    with _laid_out("vocoder"):
        vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**weights.hifigan_config(reference)))
        state = weights.hifigan_state(reference)
    _load(vocoder, state, "vocoder")
    return vocoder


def _beginning(state: Mapping[str, Tensor], *starts: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith(starts)}


def load_musicldm(source: str) -> tuple[AutoencoderKL, SpeechT5HifiGan]:
    """VAE and vocoder of a ``musicldm`` folder or hub id in diffusers' layout."""
    check_source(source, "vae/config.json")
    try:
        return (
            AutoencoderKL.from_pretrained(source, subfolder="vae"),
            SpeechT5HifiGan.from_pretrained(source, subfolder="vocoder"),
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = printable(str(error).splitlines()[0])
        raise InputError(f"cannot load vae and vocoder from {source}: {reason}") from error


def _part(
    path: Path | None, state: Mapping[str, Tensor], prefix: str, name: str
) -> dict[str, Tensor]:
    """A part's weights from its own file, else from the checkpoint."""
    probe = "conv_pre.bias" if name == "vocoder" else "encoder.conv_in.weight"
    if path is not None:
        tensors = read_weights(path)
        for start in ("", prefix, "generator."):
            part = _below(tensors, start)
            if probe in part:
                return part
        raise InputError(f"{path} holds no {name}: it has no {probe}")
    part = _below(state, prefix)
    if probe not in part:
        raise InputError(
            f"the checkpoint holds no {name}: give a file that does, or MusicLDM's (a folder or "
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
            example = printable(keys[0])
            raise InputError(f"the {name} {problem} {len(keys)} weights, e.g. {example}")
    spoilt = [key for key, tensor in state.items() if not tensor.isfinite().all()]
    if spoilt:
        raise InputError(f"the {name} has NaN or infinite weights, e.g. in {printable(spoilt[0])}")
    module.load_state_dict(dict(state))
