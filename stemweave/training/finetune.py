"""Training an existing model further, on other songs and, if wanted, for other stems.

The model says what front end, networks, schedule and sampling are; the settings say on what and how
long to train. ``finetune.model`` is the model's folder, a hub id, or "bundled".
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from diffusers import DDIMScheduler
from torch import nn

from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.diffusion.schedulers import sampler_name, with_sampler
from stemweave.errors import InputError
from stemweave.model import StemModel
from stemweave.models.part import name_of
from stemweave.models.refiner import FRONT_END, MaskRefiner
from stemweave.models.sharpener import SPECTRUM, MaskSharpener
from stemweave.training.lora import add_lora
from stemweave.training.networks import DENOISERS, renamed, untrained
from stemweave.training.part_settings import ConditionSettings
from stemweave.training.settings import LogMelSettings, RunSettings, SamplingSettings, changed
from stemweave.training.stem_map import mapped_state, sources


def with_options(
    settings: RunSettings,
    init: Path | None,
    data: Sequence[str] | None,
    stem_map: str | None,
    lora: int | None,
) -> RunSettings:
    """``settings`` with what the command line says instead; ``init`` counts if it is a model.

    Raises ``InputError`` if an option cannot be read or contradicts the settings.
    """
    finetune: dict[str, Any] = {}
    if init is not None and (str(init) == "bundled" or (init / "model_index.json").exists()):
        finetune["model"] = str(init)
    if stem_map is not None:
        finetune["map"] = parse_map(stem_map)
    if lora is not None:
        finetune.update(method="lora", rank=lora, alpha=2.0 * lora)
    wanted = changed(settings.finetune, **finetune)
    if wanted.model is None and (wanted.map or wanted.method == "lora"):
        raise InputError(
            "a stem map and LoRA need a model to start from: name it in finetune.model"
        )
    update: dict[str, Any] = {"finetune": wanted}
    if data:
        update["data"] = list(data)
    return settings.model_copy(update=update)


def parse_map(text: str) -> dict[str, str]:
    """ "vocals=piano,other=guitar" as new stem → old stem."""
    pairs = [pair.split("=") for pair in text.split(",")]
    if any(len(pair) != 2 or not all(name.strip() for name in pair) for pair in pairs):
        raise InputError(f"a stem map is NEW=OLD,NEW=OLD, e.g. vocals=piano, not {text!r}")
    return {new.strip(): old.strip() for new, old in pairs}


def load_base(settings: RunSettings) -> StemModel | None:
    """The model of ``finetune.model``, or None without one."""
    model = settings.finetune.model
    source = BUNDLED_MODEL if model == "bundled" else model
    return None if source is None else StemModel.from_pretrained(source)


def resolved(settings: RunSettings, base: StemModel, *, masks: bool = False) -> RunSettings:
    """``settings`` with the model's front end, networks, schedule, level and sampling.

    Stems are those that the settings name, else the map's, else the model's: of ``masks``, those
    that it separates, and there may be new ones.

    Raises ``InputError`` if the settings give one of these another value, or a stem has no source.
    """
    names = base.separated_stems if masks else base.stems
    stems = tuple(settings.finetune.map) or names
    if "stems" in settings.model_fields_set:
        stems = settings.stems
    sources(names, stems, settings.finetune.map, may_begin=masks)
    denoiser = _arguments(base.denoiser, {"stems", "known_stems"})
    if stems != base.stems:  # its conditions are about the others
        denoiser.pop("vocabulary", None)
    schedule = _arguments(with_sampler(base.scheduler, "ddim"))
    accepted = inspect.signature(DDIMScheduler.__init__).parameters
    kinds = {network: kind for kind, network in DENOISERS.items()}
    conditions = settings.denoiser.conditions
    if conditions is None and "vocabulary" in denoiser:
        conditions = ConditionSettings()
    tasks = SamplingSettings.model_fields.keys() - {"sampler"}
    update: dict[str, Any] = {
        "stems": stems,
        "channels": base.channels,
        "log_mel": LogMelSettings(**_arguments(base.log_mel)),
        "sampling": SamplingSettings(
            sampler=cast(Any, sampler_name(base.scheduler)),
            **{name: getattr(base.config, name) for name in tasks},
        ),
        "mixing": settings.mixing.model_copy(update={"reference_rms": base.config.reference_rms}),
    }
    for name in ("log_mel", "sampling", "channels"):
        if name in settings.model_fields_set and getattr(settings, name) != update[name]:
            raise InputError(
                f"{name} of the settings is not the model's: leave it out, the model decides"
            )
    update["denoiser"] = changed(
        settings.denoiser,
        kind=kinds.get(type(base.denoiser)) or name_of(type(base.denoiser)),
        model=denoiser,
        scheduler={name: value for name, value in schedule.items() if name in accepted},
        conditions=conditions,
    )
    for name, front_end in (("refiner", FRONT_END), ("sharpener", SPECTRUM)):
        if (part := getattr(base, name)) is not None:
            model = _arguments(part, {"num_stems", "stems", *front_end})
            update[name] = changed(getattr(settings, name), model=model)
    return settings.model_copy(update=update)


def _arguments(component: Any, leave_out: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    """A part's configuration as plain values, without diffusers' own keys."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in component.config.items()
        if not name.startswith("_") and name not in leave_out and value is not None
    }


def take_over(network: nn.Module, trained: nn.Module, base: Any, settings: RunSettings) -> None:
    """Give ``network`` the weights of ``trained``, a part of ``base``, for the settings' stems."""
    masks = isinstance(trained, MaskRefiner | MaskSharpener)
    names = base.separated_stems if masks else base.stems
    indices = sources(names, settings.stems, settings.finetune.map, may_begin=masks)
    state = renamed(mapped_state(trained, len(names), indices), trained, network)
    network.load_state_dict(untrained(network) | state)


def start_from(network: nn.Module, trained: nn.Module, base: Any, settings: RunSettings) -> None:
    """``take_over``, then LoRA if the settings ask for it."""
    take_over(network, trained, base, settings)
    if settings.finetune.method == "lora":
        add_lora(network, settings.finetune.rank, settings.finetune.alpha)
