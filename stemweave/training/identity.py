"""What a run trains, as its exports and checkpoints say it, and what must not change under it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stemweave.data.shards import add_weights
from stemweave.data.songs import licence_of, total_hours
from stemweave.data.tar_songs import Songs, TarSongs
from stemweave.errors import InputError
from stemweave.models.part import forget_origin
from stemweave.models.provenance import FRONT_END, TRAINED, misfits, trained
from stemweave.training.networks import as_text, plain_config
from stemweave.training.settings import RunSettings

CONFIG = "config.json"
PLACES = {"data", "cache", "tars", "finetune", "log"}
"""Settings that say where things were, which an export keeps for itself."""
UNCHANGEABLE = ("stems", "channels", "kind", "scheduler", "latents", "extra_conditions")
"""Settings of the run and of its stage that make another part of it, beside the network's own."""


def autoencoder_identity(vae: Any) -> str:
    """Of an autoencoder's weights and scale: what it says, or what is counted now."""
    said = trained(vae.config).get("weights")
    return str(said) if said else weights_identity(vae, str(vae.config.scaling_factor))


def weights_identity(network: Any, scale: str = "") -> str:
    """A short hash of a network's weights."""
    digest = hashlib.sha256(scale.encode())
    add_weights(digest, network)
    return digest.hexdigest()[:16]


def require_own_autoencoder(base: Any, autoencoder: Any) -> None:
    """Raise ``InputError`` if ``autoencoder`` is not that of the model ``base``.

    Its denoiser goes on from latents of its own autoencoder.
    """
    if autoencoder_identity(autoencoder) != autoencoder_identity(base.vae):
        raise InputError(
            "the model's denoiser was trained on the latents of its own autoencoder: leave --vae "
            "out, or train a denoiser for the other one"
        )


def record_of(stage: Any, settings: RunSettings, songs: Songs | None = None) -> dict[str, Any]:
    """What ``stage`` trains: part, stems, front end, autoencoder, settings, data, seed, version."""
    part = next(name for name, section in settings if section is stage.settings)
    autoencoder, refiner = getattr(stage, "vae", None), getattr(stage, "refiner", None)
    return {
        "part": part,
        "stems": list(settings.stems),
        "log_mel": settings.log_mel.model_dump(),
        "network": plain_config(stage.network),
        "autoencoder": None if autoencoder is None else autoencoder_identity(autoencoder),
        "refiner": None if refiner is None else weights_identity(refiner),
        "settings": settings_of(settings, part),
        "data": None if songs is None else summary_of(songs, settings.stems),
        "seed": settings.seed,
        "version": version("stemweave"),
    }


def settings_of(settings: RunSettings, part: str) -> dict[str, Any]:
    """Plain values, without the sections of other parts."""
    found: dict[str, Any] = json.loads(settings.model_dump_json())
    stages = {name for name, section in settings if hasattr(section, "optimiser")}
    return {name: value for name, value in found.items() if name == part or name not in stages}


def summary_of(songs: Songs, stems: Sequence[str]) -> dict[str, Any]:
    """How much there is to train on, and what identifies it."""
    if isinstance(songs, TarSongs):
        return {"shards": len(songs.urls), "identity": _hash(songs.urls)}
    having = {stem: [song for song in songs if stem in song.stems] for stem in stems}
    return {
        "songs": len(songs),
        "hours": round(total_hours(songs), 3),
        "hours_of_stems": {stem: round(total_hours(some), 3) for stem, some in having.items()},
        "licences": sorted({licence for song in songs if (licence := licence_of(song))}),
        "identity": _hash([(song.name, song.stems, song.duration_s) for song in songs]),
    }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def write_record(folder: Path, record: Mapping[str, Any], network: Any = None) -> None:
    """Put ``record`` into the configuration of the part that was exported to ``folder``.

    An autoencoder, ``network``, is identified by its weights.
    """
    path = folder / CONFIG
    if not path.exists():
        return
    forget_origin(folder)
    kept = {name: value for name, value in record["settings"].items() if name not in PLACES}
    if record["part"] == "score":
        kept["score"] = {n: v for n, v in kept["score"].items() if n != "validation"}
    said = {**record, "settings": kept}
    if record["part"] == "vae":
        network.config.get(TRAINED, {}).pop("weights", None)  # those that it began with
        said["weights"] = autoencoder_identity(network)
    path.write_text(json.dumps({**json.loads(path.read_text()), TRAINED: said}, indent=2) + "\n")


def check_parts(settings: RunSettings, **parts: Any) -> None:
    """Raise ``InputError`` for parts, by their names, that were not trained for ``settings``.

    A part is a network, or the folder of one that is about to be loaded; None is none. Where an
    autoencoder is among them, a denoiser must have been trained on its latents, and so must a
    vocoder, but for one in a folder, which is trained further. The folder of a mask network may be
    of other stems: their masks are found by name.
    """
    vae, problems = parts.get("vae"), []
    for name, part in parts.items():
        if part is None or name in ("score_model", "analyser"):  # of no stems
            continue
        saved = isinstance(part, Path)
        config = _read_config(part) if saved else part.config
        said = trained(config)
        meets = vae is not None and (name == "denoiser" or (name == "vocoder" and not saved))
        stems = config.get("stems") if isinstance(config, Mapping) else None
        problems += misfits(
            name,
            said if said or stems is None else {"stems": stems},
            stems=None if saved and name in ("refiner", "sharpener") else settings.stems,
            log_mel=settings.log_mel.model_dump(),
            autoencoder=autoencoder_identity(vae) if meets else None,
        )
    if problems:
        raise InputError(f"{'; '.join(problems)}: these do not go together")


def _read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a part; empty if there is none that can be read."""
    try:
        found = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Differences between two records of one run: those that it cannot go on with, and others."""
    refused: list[str] = []
    others: list[str] = []
    if before["part"] != now["part"]:
        return [f"it trains a {before['part']}, not a {now['part']}"], []
    old, new = flat(before["settings"]), flat(now["settings"])
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key):
            continue
        words = f"{key} {as_text(old.get(key))} → {as_text(new.get(key))}"
        (refused if _is_identity(key, before["part"]) else others).append(words)
    own, theirs = flat(now["network"]), flat(before["network"])
    refused += [
        f"{before['part']}.model.{key} {as_text(theirs.get(key))} → {as_text(own.get(key))}"
        for key in sorted(own.keys() | theirs.keys())
        if own.get(key) != theirs.get(key) and f"{key} " not in " ".join(refused)
    ]
    refused += [
        f"another {part}"
        for part in ("autoencoder", "refiner")
        if before.get(part, now[part]) != now[part]
    ]
    old_songs, new_songs = ((of["data"] or {}).get("identity") for of in (before, now))
    if old_songs != new_songs and not any(key.startswith("data ") for key in others):
        others.append("the songs")
    if before["version"] != now["version"]:
        others.append(f"version {before['version']} → {now['version']}")
    return refused, others


def _is_identity(key: str, part: str) -> bool:
    names = key.split(".")
    if names[0] == "log_mel":
        return names[1] in FRONT_END
    return (names[1] if names[0] == part and len(names) > 1 else names[0]) in UNCHANGEABLE


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": one for name, one in flat(value).items()}
        else:
            found[key] = value
    return found
