"""Encoded crops in few megabytes, for machines that have neither their songs nor room for them.

```
PACK/pack.json               what the crops are made for, and which songs there were
PACK/train-000000.xz         a shard: tensors as in the cache, latents in steps of ``latent_step``
PACK/validation-000000.xz
```
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save

from stemweave.data.latents import LatentShards
from stemweave.data.shards import Arrays, digest_of
from stemweave.data.song_conditions import sounds_of
from stemweave.data.songs import Song, licence_of
from stemweave.data.tar_songs import TarSongs
from stemweave.errors import InputError
from stemweave.io.files import appearing

PACK = "pack.json"
LATENTS = ("stems", "mixture")
MOST_STEPS = 127


class PackedSongs(list[Song]):
    """Songs of one split whose crops are in a pack; none of their files is there.

    Training draws from the shards that ``folder`` holds: a pack may arrive in parts.
    """

    def __init__(self, folder: Path, split: str, about: dict[str, Any]) -> None:
        self.folder, self.split, self.about = folder, split, about
        super().__init__(
            Song(
                folder / entry["name"],
                split,
                entry["duration_s"],
                entry["sample_rate"],
                tuple(entry["stems"]),
                details=entry["details"],
            )
            for entry in about["songs"]
            if entry["split"] == split
        )

    @property
    def shards(self) -> list[Path]:
        """Its files that are here."""
        return sorted(self.folder.glob(f"{self.split}-*.xz"))

    @property
    def description(self) -> dict[str, Any]:
        """What the crops are a function of."""
        files = [(path.name, path.stat().st_size) for path in self.shards]
        return {"pack": self.about, "files": files}


class PackedShards(LatentShards):
    """The crops of ``PackedSongs``, all of which are drawn from at every step.

    Raises:
        InputError: if the pack is of other settings, or holds no crops of the split.
    """

    songs: PackedSongs

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        pack, own = self.songs.about, _plain(self.meaning())
        others = sorted(key for key in own if pack["made_for"].get(key) != own[key])
        if others:
            raise InputError(
                f"the crops of {self.songs.folder} were made for another {', '.join(others)}: take "
                "the settings and the autoencoder that they were packed with"
            )
        number = len(self.songs.shards)
        if not number:
            raise InputError(f"{self.songs.folder} holds no crops of {self.songs.split}")
        size = pack["shard_sizes"][self.songs.split]
        self.plan = replace(self.plan, shard_size=size, window=number, first_window=number)

    def build(self, index: int) -> Arrays:
        """Shard ``index`` of those that are here."""
        return read_crops(self.songs.shards[index], self.songs.about["latent_step"])

    def batch(self, step: int, batch_size: int, rng: np.random.Generator) -> Arrays:
        """Crops of any shard, whatever the step."""
        return super().batch(0, batch_size, rng)


def is_pack(data: str) -> bool:
    """Whether this entry of the settings' ``data`` is a pack."""
    return (Path(data) / PACK).is_file()


def read_pack(folder: Path) -> tuple[PackedSongs, PackedSongs]:
    """Training and validation songs of a pack; raises ``InputError`` if it cannot be read."""
    path = folder / PACK
    try:
        about = json.loads(path.read_text())
        return PackedSongs(folder, "train", about), PackedSongs(folder, "validation", about)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def read_crops(path: Path, latent_step: float) -> Arrays:
    """A shard's tensors, latents in half precision; raises ``InputError`` for a damaged file."""
    try:
        tensors = load(lzma.decompress(path.read_bytes()))
    except (OSError, lzma.LZMAError, SafetensorError) as error:
        raise InputError(f"{path} is damaged: copy it again ({error})") from error
    return {
        name: (tensor * latent_step).half() if tensor.dtype == torch.int8 else tensor
        for name, tensor in tensors.items()
    }


def write_pack(
    train: LatentShards,
    validation: LatentShards,
    out: Path,
    most_bytes: float,
    latent_step: float,
) -> int:
    """Write as many shards of ``train`` as there is room for, one at least, and of ``validation``
    the first one; returns the number of training crops.

    Args:
        most_bytes: of all files together.
        latent_step: that latents are rounded to; 0 keeps them as the cache has them. They have a
            variance of 1, and the bundled autoencoder's posterior a deviation of 0.02: 1/16 rounds
            away 0.018, and a crop takes 98 kB instead of 251.

    Raises:
        InputError: if there is room for none, or the disk has none.
    """
    about = {
        "latent_step": latent_step,
        "shard_sizes": {"train": train.plan.shard_size, "validation": validation.plan.shard_size},
        "made_for": _plain(train.meaning()),
        "songs": [_entry(song) for song in (*_listed(train), *_listed(validation))],
    }
    with appearing(out) as partial:
        partial.mkdir()
        (partial / PACK).write_text(json.dumps(about) + "\n")
        taken = (partial / PACK).stat().st_size
        taken += _write_crops(validation, 0, partial / "validation-000000.xz", latent_step)
        number = 0
        while True:
            path = partial / f"train-{number:06d}.xz"
            taken += _write_crops(train, number, path, latent_step)
            if taken > most_bytes:
                path.unlink()
                break
            number += 1
        if not number:
            raise InputError(
                f"no shard of {train.plan.shard_size} crops fits into {most_bytes / 2**20:g} MiB "
                "beside those of validation: make denoiser.shard_size smaller, or allow more"
            )
    return number * train.plan.shard_size


def _listed(shards: LatentShards) -> Sequence[Song]:
    if isinstance(shards.songs, TarSongs):
        raise InputError("a pack is made of folders of songs, not of tar shards")
    return shards.songs


def require_means(latents: str) -> None:
    """Raise ``InputError`` for settings whose crops no pack holds."""
    if latents != "mean":
        raise InputError("a pack holds means of latents: set denoiser.latents to mean")


def _entry(song: Song) -> dict[str, Any]:
    details = {"licence": licence_of(song), "soundfonts": sounds_of(song.folder)}
    return {
        "name": song.name,
        "split": song.split,
        "duration_s": song.duration_s,
        "sample_rate": song.sample_rate,
        "stems": song.stems,
        "details": {name: value for name, value in details.items() if value},
    }


def _write_crops(shards: LatentShards, index: int, path: Path, latent_step: float) -> int:
    """Compress shard ``index``; returns the bytes it takes."""
    tensors = load_file(shards.prepare(index))
    for name in LATENTS if latent_step else ():
        steps = (tensors[name].float() / latent_step).round()
        tensors[name] = steps.clamp(-MOST_STEPS, MOST_STEPS).to(torch.int8)
    data = lzma.compress(save(tensors), preset=6)
    path.write_bytes(data)
    return len(data)


def _plain(meaning: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it, long values as their hash."""
    texts = {key: json.dumps(value, sort_keys=True, default=str) for key, value in meaning.items()}
    return {
        key: text if len(text) < 200 else digest_of(meaning[key], ()) for key, text in texts.items()
    }
