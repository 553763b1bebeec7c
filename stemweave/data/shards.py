"""A cache of prepared training crops in shards, made on demand and the same for every seed.

Preparing a crop (reading, STFT, mel, autoencoder) costs as much as a training step, so each is used
several times: training draws from a sliding window of shards that moves on with the step number.
Shard k is a function of (what the fingerprint describes, seed, k) alone, whoever makes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stemweave.data.mixing import Crops, MixSettings, draw_crops
from stemweave.data.tar_songs import Songs, describe_songs, songs_at
from stemweave.errors import InputError
from stemweave.io.files import as_umask_says
from stemweave.models.log_mel import LogMel

Arrays = dict[str, Tensor]
"""Tensors whose first axis counts crops."""


@dataclass(frozen=True)
class ShardPlan:
    """How many crops there are and when which of them are used.

    Attributes:
        crop_frames: mel frames of one crop.
        shard_size: crops in a shard.
        window: training draws from this many newest shards.
        first_window: shards that exist before the first step.
        steps_per_shard: the window moves on by one shard after this many steps.
    """

    crop_frames: int
    shard_size: int = 256
    window: int = 64
    first_window: int = 8
    steps_per_shard: int = 64

    def num_shards(self, steps: int) -> int:
        """Shards that so many training steps draw from."""
        return self.first_window + (steps - 1) // self.steps_per_shard


class Shards(ABC):
    """Prepared crops of ``songs``, on disk below ``folder`` and in memory as far as needed.

    Subclasses say how crops are made (``make``) and name the networks that this depends on.

    Args:
        folder: cache root; a sub-folder is named after everything the content depends on.
        networks: those whose weights the content depends on.
        channels: of the crops, 1 or 2.
        bfloat16: let the networks compute in bfloat16, which is faster where the machine has it
            and several times slower where it has not.
    """

    CHUNK = 16
    """Crops made at once."""

    def __init__(
        self,
        folder: Path,
        songs: Songs,
        log_mel: LogMel,
        stems: Sequence[str],
        settings: MixSettings,
        plan: ShardPlan,
        *,
        seed: int = 0,
        networks: Sequence[nn.Module] = (),
        channels: int = 1,
        bfloat16: bool = False,
    ) -> None:
        self.songs, self.log_mel, self.stems = songs, log_mel, tuple(stems)
        self._drawn_from = songs
        self.settings, self.plan, self.seed, self.channels = settings, plan, seed, channels
        self.bfloat16 = bfloat16
        self.folder = folder / self._fingerprint(networks)
        self._loaded: OrderedDict[int, Arrays] = OrderedDict()

    @abstractmethod
    def make(self, count: int, rng: np.random.Generator) -> Arrays:
        """``count`` prepared crops, drawn with ``rng``."""

    def draw(self, count: int, rng: np.random.Generator) -> Crops:
        """``count`` crops of the songs' waveforms, not yet filtered."""
        config = self.log_mel.config
        length = self.plan.crop_frames * config.hop_length
        drawn_from = (self._drawn_from, self.stems, count, length, config.sample_rate)
        return draw_crops(*drawn_from, self.settings, rng, self.channels)

    def _own_description(self) -> dict[str, Any]:
        """What else a subclass's content depends on."""
        return {}

    def _fingerprint(self, networks: Sequence[nn.Module]) -> str:
        description = {
            "content": type(self).__name__,
            "songs": describe_songs(self.songs),
            "log_mel": {k: v for k, v in self.log_mel.config.items() if not k.startswith("_")},
            "stems": self.stems,
            "settings": asdict(self.settings),
            "crop_frames": self.plan.crop_frames,
            "seed": self.seed,
            "shard_size": self.plan.shard_size,
        }
        description |= {"channels": self.channels} if self.channels > 1 else {}
        description |= {"bfloat16": True} if self.bfloat16 else {}
        description |= self._own_description()
        return digest_of(description, networks)

    def build(self, index: int) -> Arrays:
        """Shard ``index`` from audio; the same bits at every call.

        Of songs in tar shards, it is drawn from the window at position ``index``.
        """
        self._drawn_from = songs_at(self.songs, index)
        rng = np.random.default_rng([self.seed, index])
        sizes = [
            min(self.CHUNK, self.plan.shard_size - start)
            for start in range(0, self.plan.shard_size, self.CHUNK)
        ]
        return _concatenated([self.make(size, rng) for size in sizes])

    def shard(self, index: int) -> Arrays:
        """Shard ``index`` from memory, disk, or made now and kept on disk.

        Of several processes that want it, one makes it and the others wait. A damaged file counts
        as missing. Where the disk has no room, a warning says so and the shard is not kept.
        """
        if index in self._loaded:
            self._loaded.move_to_end(index)
            return self._loaded[index]
        path = self.path(index)
        arrays = _read(path)
        if arrays is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("a") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX, 1, index)  # byte k of the file stands for shard k
                arrays = _read(path) or self._make_shard(index, path)
        self._loaded[index] = arrays
        while len(self._loaded) > self.plan.window:
            self._loaded.popitem(last=False)
        return arrays

    def _make_shard(self, index: int, path: Path) -> Arrays:
        arrays = {name: tensor.contiguous() for name, tensor in self.build(index).items()}
        partial = path.with_suffix(".partial")
        try:
            save_file(arrays, partial)
            as_umask_says(partial)
            partial.rename(path)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            warnings.warn(
                f"prepared crops cannot be kept, so they are made again at need: {path}: {error}",
                stacklevel=2,
            )
        return arrays

    def prepare(self, index: int) -> Path:
        """Shard ``index`` on disk, made now if need be, and nothing of it in memory.

        Raises ``InputError`` if the disk has no room for it.
        """
        self.shard(index)
        del self._loaded[index]
        if not self.path(index).exists():
            raise InputError(f"cannot write {self.path(index)}: make room or set another cache")
        return self.path(index)

    def path(self, index: int) -> Path:
        """File of shard ``index``."""
        return self.folder / f"shard_{index:06d}.safetensors"

    def batch(self, step: int, batch_size: int, rng: np.random.Generator) -> Arrays:
        """Crops for ``step``, drawn from the shards whose turn it is; float16 becomes float32."""
        size = self.plan.shard_size
        newest = self.plan.first_window + step // self.plan.steps_per_shard
        oldest = max(0, newest - self.plan.window)
        rows = []
        for pick in rng.integers(oldest * size, newest * size, batch_size):
            index, row = divmod(int(pick), size)
            shard = self.shard(index)
            rows.append({name: tensor[row : row + 1] for name, tensor in shard.items()})
        return {
            name: tensor.float() if tensor.dtype == torch.float16 else tensor
            for name, tensor in _concatenated(rows).items()
        }


def add_weights(digest: Any, network: nn.Module) -> None:
    """Let a hash depend on a network's weights, in single precision."""
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())


def digest_of(description: Any, networks: Sequence[nn.Module]) -> str:
    """A short hash of plain values and of networks' weights."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode())
    for network in networks:
        if isinstance(network, AutoencoderKL):  # its scale is not a function of its weights
            digest.update(str(network.config.scaling_factor).encode())
        add_weights(digest, network)
    return digest.hexdigest()[:16]


def _read(path: Path) -> Arrays | None:
    """Tensors of a shard; None if it is missing or damaged."""
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None


def _concatenated(parts: Sequence[Mapping[str, Tensor]]) -> Arrays:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
