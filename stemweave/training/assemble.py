"""Trained parts → one model folder that ``StemModel`` loads, with a page for people and hubs."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData

from stemweave.diffusion.schedulers import with_sampler
from stemweave.model import StemModel
from stemweave.models.log_mel import LogMel
from stemweave.models.provenance import trained
from stemweave.training.finetune import take_over
from stemweave.training.networks import make_denoiser, make_refiner, make_sharpener
from stemweave.training.settings import RunSettings
from stemweave.training.stem_map import sources

NAMES = ("vae", "denoiser", "vocoder", "refiner", "sharpener", "score_model", "analyser")


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
        own = getattr(base, name)
        if name in given or own is None:
            continue
        parts[name] = own
        if indices != list(range(len(base.stems))):
            parts[name] = make(settings)
            take_over(parts[name], own, base, settings)
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
    named: dict[str, Any] = {name: parts.get(name) for name in NAMES}
    pipe = StemModel(
        LogMel(**settings.log_mel.model_dump()),
        scheduler=with_sampler(schedule, sampling.pop("sampler")),
        **named,
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


def write_model_card(folder: Path, parts: Mapping[str, Any], stems: tuple[str, ...]) -> None:
    """``README.md`` of a model in ``folder``, from what its ``parts`` say of their training.

    It holds no path of this machine. The model's licence follows from those of the songs and is to
    be filled in.
    """
    records = {name: trained(parts[name].config) for name in NAMES if parts.get(name) is not None}
    data = ModelCardData(
        library_name="stemweave",
        license="other",
        license_name="to-be-filled-in",
        tags=["stemweave", "audio", "music", "source-separation", "audio-to-audio", *stems],
    )
    licences = {
        name for one in records.values() for name in (one.get("data") or {}).get("licences", ())
    }
    refiner = parts.get("refiner")
    more = [one for one in refiner.config.stems or () if one not in stems] if refiner else []
    lines = [
        f"# A Stemweave model of {', '.join(stems)}",
        *([f"It separates {', '.join(more)}, too, and does not generate it."] if more else []),
        "```sh\npip install stemweave\nstemweave separate song.flac --model FOLDER_OR_HUB_ID\n```",
        "```python\nfrom stemweave import StemweavePipeline\n\n"
        'pipe = StemweavePipeline.from_pretrained("FOLDER_OR_HUB_ID")\n```',
        "**Licence:** to be filled in, as the licences of the songs allow: "
        f"{', '.join(sorted(licences)) or 'the songs say none'}.",
        "## Parts",
        *(_described(name, record) for name, record in records.items()),
        f"Assembled by Stemweave {version('stemweave')}.",
    ]
    text = "\n\n".join(lines)
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n").save(folder / "README.md")


def _described(name: str, record: Mapping[str, Any]) -> str:
    """A paragraph and the settings of one part; of some nothing is known."""
    if not record:
        return f"### {name}\n\nIt says nothing of its training."
    songs = record.get("data") or {}
    hours = songs.get("hours_of_stems") or {}
    facts = {
        "steps": record.get("step"),
        "validated at step": record.get("validated") or None,
        "seed": record.get("seed"),
        "version": record.get("version"),
        "songs": songs.get("songs", songs.get("shards")),
        "hours": ", ".join(f"{stem} {some}" for stem, some in hours.items()),
        "data": songs.get("identity"),
        "autoencoder": record.get("autoencoder") or record.get("weights"),
    }
    figures = {key: f"{value:.4g}" for key, value in (record.get("figures") or {}).items()}
    said = {key: value for key, value in {**facts, **figures}.items() if value not in (None, "")}
    rows = [f"| {key} | {value} |" for key, value in said.items()]
    settings = yaml.safe_dump(record.get("settings", {}), sort_keys=False)
    table = "\n".join(["| | |", "|---|---|", *rows])
    fold = f"<details><summary>Settings</summary>\n\n```yaml\n{settings}```\n\n</details>"
    return f"### {name}\n\n{table}\n\n{fold}"
