"""Embeddings that distances are taken in: waveforms (N, T) → (N, P, D), P vectors a clip.

musicnn is offline and the default. VGGish and CLAP take local files or download published ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import urlparse

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from stemweave.errors import InputError
from stemweave.evaluation import musicnn, vggish

CLAP_DEFAULT = "laion/larger_clap_music"


class Embedding(Protocol):
    """What the distances need of a network: its name, its rate and its vectors."""

    name: str
    sample_rate: int

    def embed(self, waveforms: Tensor) -> Tensor:
        """Clips (N, T) of equal length at ``sample_rate`` → (N, P, D)."""
        ...


class MusicnnEmbedding:
    """musicnn's penultimate layer, one vector per 3 seconds; weights are shipped."""

    name = "musicnn"
    sample_rate = musicnn.SAMPLE_RATE

    def __init__(self) -> None:
        self.network = musicnn.Musicnn.from_bundled()

    def embed(self, waveforms: Tensor) -> Tensor:
        """(N, T) → (N, P, 200) with P = (1 + T // 256) // 187, at least 1."""
        patches = torch.stack([musicnn.musicnn_patches(waveform) for waveform in waveforms])
        return self.network(patches.flatten(0, 1))[0].unflatten(0, patches.shape[:2])


class VggishEmbedding:
    """VGGish's 128 values per 0.96 s, from a state dict's path or https address."""

    name = "VGGish"
    sample_rate = vggish.SAMPLE_RATE

    def __init__(self, weights: str) -> None:
        state = load_state_dict(weights)
        state = {k: v for k, v in state.items() if k.startswith(("features.", "embeddings."))}
        hidden = state.get("embeddings.0.weight")
        if hidden is None:
            raise InputError(f"{weights} holds no VGGish weights (no key embeddings.0.weight)")
        self.network = vggish.Vggish(hidden.shape[0])
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(f"{weights} does not fit VGGish: {error}") from None
        self.network.eval()

    def embed(self, waveforms: Tensor) -> Tensor:
        """(N, T) → (N, P, 128)."""
        patches = vggish.vggish_patches(waveforms)
        return self.network(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])


class ClapEmbedding:
    """LAION CLAP's audio vector, one per clip, from a local folder or a hub name."""

    name = "CLAP"

    def __init__(self, model: str = CLAP_DEFAULT) -> None:
        from transformers import ClapFeatureExtractor, ClapModel

        try:
            self.extractor = ClapFeatureExtractor.from_pretrained(model)
            self.network = ClapModel.from_pretrained(model).eval()
        except (OSError, ValueError) as error:
            raise InputError(f"{model} is no CLAP model folder or hub name: {error}") from None
        self.sample_rate: int = self.extractor.sampling_rate

    def embed(self, waveforms: Tensor) -> Tensor:
        """(N, T) → (N, 1, D); D is the model's projection size (512 in the published ones).

        Clips longer than the model's window (10 s) lose their end: no random crop is taken.
        """
        limit = int(self.extractor.nb_max_samples)
        inputs = self.extractor(
            list(waveforms[:, :limit].numpy()), sampling_rate=self.sample_rate, return_tensors="pt"
        )
        features = self.network.get_audio_features(**inputs)
        vectors = features if isinstance(features, Tensor) else features.pooler_output
        return vectors[:, None]


def load_state_dict(weights: str) -> dict[str, Tensor]:
    """Tensors of a torch file, from a local path or an https address (``InputError`` if not)."""
    try:
        if urlparse(weights).scheme == "https":
            return torch.hub.load_state_dict_from_url(
                weights, map_location="cpu", weights_only=True
            )
        return torch.load(Path(weights), map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"cannot read the weights {weights}: {error}") from None


@torch.inference_mode()
def embed_clips(
    embedding: Embedding, clips: Tensor, sample_rate: int, batch_size: int = 8
) -> NDArray[np.float32]:
    """Embed ``clips`` (N, T) at ``sample_rate`` in batches, resampled where needed: (N, P, D)."""
    parts = []
    for start in range(0, len(clips), batch_size):
        batch = clips[start : start + batch_size]
        if sample_rate != embedding.sample_rate:
            resampled = soxr.resample(
                batch.T.numpy(), sample_rate, embedding.sample_rate, quality="VHQ"
            )
            batch = torch.from_numpy(np.ascontiguousarray(resampled.T, dtype=np.float32))
        parts.append(embedding.embed(batch).float().numpy())
    return np.concatenate(parts)
