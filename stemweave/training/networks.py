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
from stemweave.models.part import Part, SavedPart, read_object
from stemweave.models.provenance import trained
from stemweave.models.refiner import FRONT_END, MaskRefiner, Repetition
from stemweave.models.score_transformer import ScoreTransformer
from stemweave.models.sharpener import SPECTRUM, DilatedBlock, MaskSharpener
from stemweave.models.unet3d import UNet3D
from stemweave.models.vae import PatchVAE, Posterior
from stemweave.models.vocoder import SpectralVocoder, frame_rate_of
from stemweave.music.instruments import INSTRUMENT_CLASSES, INSTRUMENTS
from stemweave.music.styles import STYLES
from stemweave.stems import STEMS
from stemweave.training.losses import LONGEST_STFT
from stemweave.training.settings import RunSettings
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
NUM_ARGUMENTS = 5
"""Of a denoiser's ``forward``: itself, latents, timestep, mixture, known."""
NO_DIFFERENCE = {
    "scaling_factor", "max_log_mels", "dropout",
    "architectures", "dtype", "torch_dtype", "transformers_version",
}  # fmt: skip
"""Settings with which weights are taken over as they are."""


class AutoencoderPass(nn.Module):
    """diffusers' ``AutoencoderKL`` with the forward pass of ``PatchVAE``, posterior included."""

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
    """``PatchVAE`` or the paper's ``AutoencoderKL``, untrained; raises ``InputError``."""
    model = settings.vae.model
    if settings.vae.kind == "patch":
        return make_network(PatchVAE, model, "vae.model")
    channels = {"in_channels": 1, "out_channels": 1}
    return AutoencoderPass(make_network(AutoencoderKL, {**channels, **model}, "vae.model"))


def make_denoiser(settings: RunSettings, vae: Any, songs: Songs = ()) -> Any:
    """``CompactUNet``, the paper's ``UNet3D`` or one's own for the latents of ``vae``, untrained.

    In stereo the latents of both channels lie side by side along C. With conditions, the sounds
    are those of ``songs``.

    Raises:
        InputError: if the network has no such argument, refuses its value, does not fit ``vae``, or
            takes no such condition.
    """
    kind = DENOISERS.get(settings.denoiser.kind) or imported(settings.denoiser.kind)
    if not (isinstance(kind, type) and issubclass(kind, Part)):
        raise InputError(f"denoiser.kind {settings.denoiser.kind} is no stemweave.models.part.Part")
    _require_own_stems(settings, "denoiser")
    _require_taken(kind, settings.denoiser.extra_conditions)
    latent_channels = settings.channels * vae.config.latent_channels
    model = {"stems": settings.stems, "latent_channels": latent_channels, **settings.denoiser.model}
    if model["latent_channels"] != latent_channels:
        raise InputError(
            f"denoiser.model.latent_channels is {model['latent_channels']}, but {settings.channels}"
            f" × {vae.config.latent_channels} of the autoencoder are there"
        )
    if settings.denoiser.conditions is not None and "vocabulary" not in model:
        model["vocabulary"] = _vocabulary(settings, songs)
    network = make_network(kind, model, "denoiser.model")
    if settings.denoiser.gradient_checkpointing:
        network.gradient_checkpointing = True
    return network


def _require_own_stems(settings: RunSettings, part: str) -> None:
    """Raise ``InputError`` if the settings describe ``part`` for other stems than the run's."""
    model, stems = getattr(settings, part).model, list(settings.stems)
    named, number = model.get("stems", stems), model.get("num_stems", len(stems))
    for name, value, own in (("stems", named, stems), ("num_stems", number, len(stems))):
        if (list(value) if isinstance(value, list | tuple) else value) != own:
            raise InputError(
                f"{part}.model.{name} is {value}, but the stems are {', '.join(stems)}: "
                "make them agree"
            )


def _require_taken(kind: type[Part], extra_conditions: Mapping[str, str]) -> None:
    """Raise ``InputError`` for conditions that a denoiser has no argument for."""
    parameters = inspect.signature(kind.forward).parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    for name in extra_conditions:
        has_one = name in parameters and list(parameters).index(name) >= NUM_ARGUMENTS
        if not has_one and (name in parameters or not takes_any):
            raise InputError(
                f"denoiser.extra_conditions.{name}: {kind.__name__}.forward has no argument for it"
            )


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
    own = {"stems": list(settings.stems), **settings.log_mel.model_dump(include=set(FRONT_END))}
    refiner: MaskRefiner = _make_masks(MaskRefiner, settings, "refiner", own)
    return refiner


def make_sharpener(settings: RunSettings) -> MaskSharpener:
    """``MaskSharpener`` for the settings' stems and spectra, untrained; raises ``InputError``."""
    front_end = settings.log_mel.model_dump(include=set(SPECTRUM))
    own = {"num_bins": settings.log_mel.n_fft // 2, **front_end}
    sharpener: MaskSharpener = _make_masks(MaskSharpener, settings, "sharpener", own)
    return sharpener


def _make_masks(kind: Any, settings: RunSettings, part: str, own: dict[str, Any]) -> Any:
    _require_own_stems(settings, part)
    arguments = {"num_stems": len(settings.stems), **own, **getattr(settings, part).model}
    return make_network(kind, arguments, f"{part}.model")


def make_vocoder(settings: RunSettings) -> nn.Module:
    """``SpectralVocoder`` or the paper's ``SpeechT5HifiGan``, untrained.

    Raises:
        InputError: as all here, for what it does not take; if it does not fit front end or stems.
    """
    model, front_end = settings.vocoder.model, settings.log_mel
    if settings.vocoder.kind == "spectral":
        if model.get("num_stems"):  # 0: no classes of stems
            _require_own_stems(settings, "vocoder")
        vocoder: nn.Module = make_network(SpectralVocoder, model, "vocoder.model")
    else:
        own = {
            "model_in_dim": front_end.num_mels,
            "sampling_rate": front_end.sample_rate,
            "normalize_before": False,
        }
        config = make_network(SpeechT5HifiGanConfig, {**own, **model}, "vocoder.model")
        vocoder = SpeechT5HifiGan(config)
    _check_vocoder(vocoder, settings)
    return vocoder


def _check_vocoder(vocoder: Any, settings: RunSettings) -> None:
    config, front_end = vocoder.config, settings.log_mel
    if settings.vocoder.crop_frames * front_end.hop_length <= LONGEST_STFT // 2:
        raise InputError(
            f"vocoder.crop_frames {settings.vocoder.crop_frames} must be more than "
            f"{LONGEST_STFT // 2} samples, half of the longest window of its loss"
        )
    expected = {
        "bands": (getattr(config, "num_mels", None) or config.model_in_dim, front_end.num_mels),
        "frames a second": (frame_rate_of(config), front_end.sample_rate / front_end.hop_length),
    }
    for unit, (ours, theirs) in expected.items():
        if ours != theirs:
            raise InputError(f"vocoder.model has {ours:g} {unit}, but log_mel has {theirs:g}")


def make_score_model(
    settings: RunSettings, stems: Sequence[str], styles: Sequence[str] = ()
) -> ScoreTransformer:
    """``ScoreTransformer`` for the songs' styles, untrained; raises ``InputError``."""
    of_songs = {"stems": stems, "styles": styles, "instruments": INSTRUMENT_CLASSES}
    own = {**of_songs, "max_bars": settings.score.window_bars}
    network: ScoreTransformer = _make_for(ScoreTransformer, own, settings.score.model, "score")
    return network


def make_analyser(settings: RunSettings, metres: Sequence[str]) -> SongAnalyser:
    """``SongAnalyser`` for the songs' metres, untrained; raises ``InputError``."""
    own = {"metres": metres, **settings.log_mel.model_dump(include={"sample_rate", "hop_length"})}
    network: SongAnalyser = _make_for(SongAnalyser, own, settings.analyser.model, "analyser")
    return network


def _make_for(kind: Any, own: dict[str, Any], model: Mapping[str, Any], part: str) -> Any:
    """``make_network``, but ``InputError`` for what songs and other settings decide."""
    for name in own.keys() & model.keys():
        raise InputError(f"{part}.model.{name}: songs and other settings decide it: leave it out")
    return make_network(kind, {**own, **model}, f"{part}.model")


def make_network(kind: Any, arguments: Mapping[str, Any], section: str) -> Any:
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
    config = read_object(folder / "config.json")
    name = str(config.get("_class_name") or (config.get("architectures") or ["?"])[0])
    known = [component.__name__ for component in COMPONENTS[kind]]
    if not is_own(name) and name not in known:
        raise InputError(f"{folder} holds a {name}, which is no {kind}: {', '.join(known)} are")
    return SavedPart(folder, name).load()


def load_weights(
    network: nn.Module, kind: str, folder: Path, stems: Sequence[str] | None = None
) -> None:
    """Start ``network`` from a trained part; raises ``InputError`` if it is not of its shape.

    What the part lacks and ``untrained`` names begins so; conditions are found by their names, and
    in a mask network or a vocoder ``stems``. What a score model's or an analyser's numbers mean are
    names of its settings, which must be the same.
    """
    part = load_component(kind, folder)
    others = differences(part, network)
    misfit = f"{folder} does not fit {kind.removesuffix('_model')}.model of the settings"
    if others and kind in ("score_model", "analyser"):
        raise InputError(f"{misfit}: {'; '.join(others)}")
    try:
        state = _state_for(part, stems)
        network.load_state_dict(untrained(network) | renamed(state, part, network))
    except RuntimeError as error:
        reason = "; ".join(others) or str(error).splitlines()[-1].strip()
        raise InputError(f"{misfit}: {reason}") from error


def _state_for(part: Any, stems: Sequence[str] | None) -> dict[str, Tensor]:
    number = getattr(part.config, "num_stems", 0)
    if stems is None or not number:
        return dict(part.state_dict())
    said = part.config.get("stems") or trained(part.config).get("stems") or STEMS
    theirs = list(said)[:number]
    indices = [theirs.index(stem) if stem in theirs else -1 for stem in stems]
    return mapped_state(part, len(theirs), indices)


def differences(part: Any, network: Any) -> list[str]:
    """Settings of ``part`` that ``network`` has otherwise, as texts."""
    theirs, own = plain_config(part), plain_config(network)
    return [
        f"{name} is {_short(theirs.get(name))}, not {_short(own.get(name))}"
        for name in sorted((theirs.keys() | own.keys()) - NO_DIFFERENCE)
        if theirs.get(name) != own.get(name)
    ]


def _short(value: Any) -> str:
    text = as_text(value)
    return text if len(text) <= 60 else text[:60] + "…"


def as_text(value: Any) -> str:
    """A setting's value, without brackets around several."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def plain_config(network: Any) -> dict[str, Any]:
    """The configuration of a network as plain values, without remarks; empty if it has none."""
    config = getattr(autoencoder_in(network), "config", None)
    if config is None:
        return {}
    plain = config if isinstance(config, Mapping) else config.to_dict()
    own = {name: value for name, value in plain.items() if not name.startswith("_")}
    found: dict[str, Any] = json.loads(json.dumps(own, default=str))
    return found


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
