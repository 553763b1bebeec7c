"""The networks that settings ask for, and the ones in folders: ours and the paper's."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from stemweave.data.song_conditions import sounds_in
from stemweave.data.tar_songs import Songs, songs_at_hand
from stemweave.errors import InputError
from stemweave.io.own_code import imported, is_own
from stemweave.models.analyser import SongAnalyser
from stemweave.models.compact import CompactUNet, TimeAttention
from stemweave.models.conditions import ConditionNetwork
from stemweave.models.part import Part, SavedPart
from stemweave.models.provenance import trained
from stemweave.models.refiner import FRONT_END, MaskRefiner, Repetition
from stemweave.models.score_transformer import ScoreTransformer
from stemweave.models.sharpener import SPECTRUM, DilatedBlock, MaskSharpener
from stemweave.models.unet3d import UNet3D
from stemweave.models.vae import PatchVAE, Posterior
from stemweave.models.vocoder import SpectralVocoder, frame_rate_of
from stemweave.music.instruments import INSTRUMENTS
from stemweave.music.styles import STYLES
from stemweave.stems import STEMS
from stemweave.training.settings import LogMelSettings, RunSettings
from stemweave.training.stem_map import mapped_state

COMPONENTS: dict[str, tuple[Any, ...]] = {
    "vae": (PatchVAE, AutoencoderKL),
    "denoiser": (CompactUNet, UNet3D),
    "refiner": (MaskRefiner,),
    "sharpener": (MaskSharpener,),
    "vocoder": (SpectralVocoder, SpeechT5HifiGan),
    "score_model": (ScoreTransformer,),
    "analyser": (SongAnalyser,),
}

DENOISERS: dict[str, type[Part]] = {"compact": CompactUNet, "unet3d": UNet3D}


class AutoencoderPass(nn.Module):
    """diffusers' ``AutoencoderKL`` with the forward pass of ``PatchVAE``.

    Its own does not give the posterior, of which the loss needs the divergence.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(
        self, log_mel: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Posterior]:
        """Reconstruction of ``log_mel`` (N, 1, F, M) from a sampled latent, and its posterior."""
        moments = self.vae.encode(log_mel).latent_dist.parameters
        posterior = Posterior(moments.float())
        return self.vae.decode(posterior.sample(generator)).sample, posterior


def autoencoder_in(network: Any) -> Any:
    """The autoencoder itself, with ``encode``, ``decode`` and ``save_pretrained``."""
    return network.vae if isinstance(network, AutoencoderPass) else network


def make_autoencoder(settings: RunSettings) -> nn.Module:
    """``PatchVAE`` or the paper's ``AutoencoderKL`` (in an ``AutoencoderPass``), untrained.

    Raises:
        InputError: if the network has no such argument or refuses its value.
    """
    model = settings.vae.model
    if settings.vae.kind == "patch":
        return _make(PatchVAE, model, "vae.model")
    channels = {"in_channels": 1, "out_channels": 1}
    return AutoencoderPass(_make(AutoencoderKL, {**channels, **model}, "vae.model"))


def make_denoiser(settings: RunSettings, vae: Any, songs: Songs = ()) -> Any:
    """``CompactUNet``, the paper's ``UNet3D`` or one's own for the latents of ``vae``, untrained.

    In stereo the latents of both channels lie side by side along C. With conditions, the sounds
    are those of ``songs``.

    Raises:
        InputError: if the network has no such argument, refuses its value, or does not fit ``vae``.
    """
    kind = DENOISERS.get(settings.denoiser.kind) or imported(settings.denoiser.kind)
    if not (isinstance(kind, type) and issubclass(kind, Part)):
        raise InputError(f"denoiser.kind {settings.denoiser.kind} is no stemweave.models.part.Part")
    latent_channels = settings.channels * vae.config.latent_channels
    model = {"stems": settings.stems, "latent_channels": latent_channels, **settings.denoiser.model}
    if model["latent_channels"] != latent_channels:
        raise InputError(
            f"denoiser.model.latent_channels is {model['latent_channels']}, but {settings.channels}"
            f" × {vae.config.latent_channels} of the autoencoder are there"
        )
    if settings.denoiser.conditions is not None and "vocabulary" not in model:
        model["vocabulary"] = _vocabulary(settings, songs)
    network = _make(kind, model, "denoiser.model")
    if settings.denoiser.gradient_checkpointing:
        network.gradient_checkpointing = True
    return network


def _vocabulary(settings: RunSettings, songs: Songs) -> dict[str, Any]:
    """Arguments of ``ConditionNetwork``: names as they are now, so that later ones do not count."""
    assert settings.denoiser.conditions is not None
    return {
        "styles": list(STYLES),
        "instruments": {
            stem: list(INSTRUMENTS[stem]) for stem in settings.stems if stem in INSTRUMENTS
        },
        "sounds": sounds_in(songs_at_hand(songs), settings.stems),
        "num_mels": settings.log_mel.num_mels,
        "f_max": settings.log_mel.f_max,
        "channels": settings.denoiser.conditions.channels,
    }


def make_refiner(settings: RunSettings) -> MaskRefiner:
    """``MaskRefiner`` for the settings' stems and bands, untrained; raises ``InputError``."""
    front_end = settings.log_mel.model_dump(include=set(FRONT_END))
    own = {"num_stems": len(settings.stems), "stems": list(settings.stems), **front_end}
    refiner: MaskRefiner = _make(MaskRefiner, {**own, **settings.refiner.model}, "refiner.model")
    return refiner


def make_sharpener(settings: RunSettings) -> MaskSharpener:
    """``MaskSharpener`` for the settings' stems and spectra, untrained; raises ``InputError``."""
    front_end = settings.log_mel.model_dump(include=set(SPECTRUM))
    own = {"num_stems": len(settings.stems), "num_bins": settings.log_mel.n_fft // 2, **front_end}
    arguments = {**own, **settings.sharpener.model}
    sharpener: MaskSharpener = _make(MaskSharpener, arguments, "sharpener.model")
    return sharpener


def make_vocoder(settings: RunSettings) -> nn.Module:
    """``SpectralVocoder`` or the paper's ``SpeechT5HifiGan``, untrained.

    Raises:
        InputError: if the network has no such argument, refuses its value, or does not fit the
            front end.
    """
    model, front_end = settings.vocoder.model, settings.log_mel
    if settings.vocoder.kind == "spectral":
        vocoder: nn.Module = _make(SpectralVocoder, model, "vocoder.model")
        _check_vocoder(vocoder, front_end)
        return vocoder
    own = {
        "model_in_dim": front_end.num_mels,
        "sampling_rate": front_end.sample_rate,
        "normalize_before": False,
    }
    config = _make(SpeechT5HifiGanConfig, {**own, **model}, "vocoder.model")
    vocoder = SpeechT5HifiGan(config)
    _check_vocoder(vocoder, front_end)
    return vocoder


def _check_vocoder(vocoder: Any, front_end: LogMelSettings) -> None:
    config = vocoder.config
    expected = {
        "bands": (getattr(config, "num_mels", None) or config.model_in_dim, front_end.num_mels),
        "frames a second": (frame_rate_of(config), front_end.sample_rate / front_end.hop_length),
    }
    for unit, (ours, theirs) in expected.items():
        if ours != theirs:
            raise InputError(f"vocoder.model has {ours:g} {unit}, but log_mel has {theirs:g}")


def _make(kind: Any, arguments: Mapping[str, Any], section: str) -> Any:
    """``kind(**arguments)``; raises ``InputError`` naming what it does not take."""
    unknown = sorted(set(arguments) - set(inspect.signature(kind.__init__).parameters))
    if unknown:
        raise InputError(f"{section}.{unknown[0]}: {kind.__name__} has no such setting")
    try:
        return kind(**arguments)
    except Exception as error:  # what a network raises at a value that nobody meant
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{section} does not describe a {kind.__name__}: {reason}") from error


def load_component(kind: str, folder: Path) -> Any:
    """A trained part of the model from its folder; raises ``InputError`` if there is none."""
    if not (folder / "config.json").exists():
        raise InputError(f"no trained {kind} in {folder}: train it first or name its folder")
    config = json.loads((folder / "config.json").read_text())
    name = config.get("_class_name") or (config.get("architectures") or ["?"])[0]
    if is_own(name):
        return SavedPart(folder, name).load()
    for component in COMPONENTS[kind]:
        if component.__name__ == name:
            return SavedPart(folder, name).load()
    known = ", ".join(component.__name__ for component in COMPONENTS[kind])
    raise InputError(f"{folder} holds a {name}, which is no {kind}: {known} are")


def load_weights(
    network: nn.Module, kind: str, folder: Path, stems: Sequence[str] | None = None
) -> None:
    """Start ``network`` from a trained part; raises ``InputError`` if it is not of its shape.

    What the part lacks and ``untrained`` names begins so; conditions are found by their names, and
    in a mask network ``stems``, of which new ones begin.
    """
    part = load_component(kind, folder)
    try:
        state = part.state_dict()
        if stems is not None:
            theirs = part.config.get("stems") or trained(part.config).get("stems") or STEMS
            indices = [theirs.index(stem) if stem in theirs else -1 for stem in stems]
            state = mapped_state(part, len(theirs), indices)
        network.load_state_dict(untrained(network) | renamed(state, part, network))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{folder} does not fit {kind}.model of the settings: {reason}") from error


def untrained(network: nn.Module) -> dict[str, Tensor]:
    """Weights that may be added to a trained network, since they change nothing at first.

    Attention along time, conditions, repetitions of a refiner's blocks, a sharpener's blocks.
    """
    added = (TimeAttention, ConditionNetwork, Repetition, DilatedBlock)
    return {
        f"{name}.{key}": value
        for name, module in network.named_modules()
        if isinstance(module, added)
        for key, value in module.state_dict().items()
    }


def renamed(state: dict[str, Tensor], trained: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """Weights of ``trained`` with those of its conditions in the order of the network's words."""
    own, theirs = getattr(network, "conditions", None), getattr(trained, "conditions", None)
    if own is None or theirs is None:
        return state
    taken = own.taken_over(theirs.state_dict(), theirs.words)
    return state | {f"conditions.{name}": tensor for name, tensor in taken.items()}
