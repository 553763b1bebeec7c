"""The page of a model for people and hubs: what it is, learnt from, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from stemweave.models.provenance import trained

NAMES = ("vae", "denoiser", "vocoder", "refiner", "sharpener", "score_model", "analyser")


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
