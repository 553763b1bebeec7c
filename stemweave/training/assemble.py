"""Trained parts → one model folder that ``StemModel`` loads."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from stemweave.diffusion.schedulers import with_sampler
from stemweave.model import StemModel
from stemweave.models.log_mel import LogMel
from stemweave.training.finetune import take_over
from stemweave.training.model_card import NAMES, write_model_card
from stemweave.training.networks import make_denoiser, make_refiner, make_sharpener
from stemweave.training.settings import RunSettings
from stemweave.training.stem_map import sources


def finetuned_parts(
    settings: RunSettings, base: StemModel, given: Collection[str]
) -> dict[str, Any]:
    """The parts of ``base`` that are not ``given``, for the settings' stems.

    With the model's own stems they are the model's own parts, and say what those say.
    """
    parts: dict[str, Any] = {"vae": base.vae, "vocoder": base.vocoder}
    indices = sources(base.stems, settings.stems, settings.finetune.map)
    makers = {
        "denoiser": lambda settings: make_denoiser(settings, base.vae),
        "refiner": make_refiner,
        "sharpener": make_sharpener,
    }
    for name, make in makers.items():
        trained = getattr(base, name)
        if name in given or trained is None:
            continue
        parts[name] = trained
        if indices != list(range(len(base.stems))):
            parts[name] = make(settings)
            take_over(parts[name], trained, base, settings)
    for name in ("score_model", "analyser"):
        if getattr(base, name) is not None and list(settings.stems) == list(base.stems):
            parts[name] = getattr(base, name)
    return parts


def assemble_model(settings: RunSettings, parts: Mapping[str, Any], out: Path) -> StemModel:
    """Write ``parts`` (vae, denoiser, vocoder, perhaps refiner, sharpener, score_model) to ``out``.

    Weights are float16, the front end's float32. An existing ``out`` is replaced when the new
    folder is complete; files in it that are not part of a model (a licence) are kept.

    Raises ``InputError`` if the parts do not fit together.
    """
    sampling = settings.sampling.model_dump()
    schedule = settings.denoiser.scheduler.make()
    pipe = StemModel(
        LogMel(**settings.log_mel.model_dump()),
        scheduler=with_sampler(schedule, sampling.pop("sampler")),
        **{name: parts.get(name) for name in NAMES},
        reference_rms=settings.mixing.reference_rms,
        clip_mixture=settings.mixing.clip_mixture,
        **sampling,
    )
    for name in NAMES:
        if getattr(pipe, name) is not None:
            torch.nn.Module.to(getattr(pipe, name), torch.float16)  # diffusers' own ``to`` warns
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipe.save_pretrained(partial)
    write_model_card(partial, parts, settings.stems)
    for file in out.glob("*.*"):
        if file.is_file() and not (partial / file.name).exists():
            shutil.copy(file, partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return pipe
