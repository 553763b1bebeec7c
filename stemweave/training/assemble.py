"""Trained parts → one model folder that ``StemweavePipeline`` loads."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import DDIMScheduler

from stemweave.audio.log_mel import LogMel
from stemweave.pipeline import StemweavePipeline
from stemweave.training.networks import load_component
from stemweave.training.settings import RunSettings


def assemble_model(
    settings: RunSettings,
    vae: Path,
    denoiser: Path,
    vocoder: Path,
    out: Path,
    refiner: Path | None = None,
) -> StemweavePipeline:
    """Write the exported parts to ``out`` with float16 weights; the front end stays float32.

    An existing ``out`` is replaced when the new folder is complete; files in it that are not part
    of a model (a licence) are kept.

    Raises:
        InputError: if a part is missing or the parts do not fit together.
    """
    pipe = StemweavePipeline(
        LogMel(**settings.log_mel.model_dump()),
        load_component("vae", vae),
        load_component("denoiser", denoiser),
        DDIMScheduler(**settings.denoiser.scheduler),
        load_component("vocoder", vocoder),
        load_component("refiner", refiner) if refiner is not None else None,
        reference_rms=settings.mixing.reference_rms,
        **settings.sampling.model_dump(),
    )
    for part in filter(None, (pipe.vae, pipe.denoiser, pipe.vocoder, pipe.refiner)):
        torch.nn.Module.to(part, torch.float16)  # diffusers' own ``to`` warns of nothing
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipe.save_pretrained(partial)
    for file in out.glob("*.*"):
        if file.is_file() and not (partial / file.name).exists():
            shutil.copy(file, partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return pipe
