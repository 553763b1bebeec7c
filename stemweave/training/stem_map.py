"""A trained network's weights for other stems: which old stem each new one takes over from.

Stems differ in a network's first and last layers only; everything between is shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stemweave.errors import InputError
from stemweave.models.compact import CompactUNet
from stemweave.models.earlier_versions import PIXELS
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import SPECTRUM_CHANNELS, MaskSharpener
from stemweave.models.unet3d import UNet3D
from stemweave.models.vocoder import SpectralVocoder

NEW_LOGIT = -1.0
"""Of the mask of a stem that a mask network is new to. What a mask learns goes with its share, and
SI-SDR does not ask for its size: from -4, a hundredth, it was still -3.8 after 1,500 steps."""


def sources(
    old_stems: Sequence[str],
    new_stems: Sequence[str],
    stem_map: Mapping[str, str],
    *,
    may_begin: bool = False,
) -> list[int]:
    """For each new stem the index of the old one whose weights it takes over.

    A stem that ``stem_map`` does not name takes over from the old one of its name; if there is none
    and it ``may_begin``, the index is -1.

    Raises ``InputError`` if there is none, or the map names a stem that neither side has.
    """
    for new, old in stem_map.items():
        if new not in new_stems:
            raise InputError(f"the stem map says {new}={old}: the settings have no stem {new}")
        if old not in old_stems:
            raise InputError(
                f"the stem map says {new}={old}: the model's stems are {', '.join(old_stems)}"
            )
    taken = [stem_map.get(stem, stem) for stem in new_stems]
    for stem in taken:
        if stem not in old_stems and not may_begin:
            raise InputError(
                f"the model has no stem {stem}: let the stem map say which one it takes over "
                f"from, e.g. {stem}={old_stems[0]}"
            )
    return [list(old_stems).index(old) if old in old_stems else -1 for old in taken]


def mapped_state(network: nn.Module, num_old: int, indices: Sequence[int]) -> dict[str, Tensor]:
    """Weights of ``network`` (of ``num_old`` stems) for stems that continue those at ``indices``.

    They fit a network of the same configuration with ``len(indices)`` stems. A compact network
    answers to a timestep that all stems share as before, whatever their number; its conditions are
    about the old stems and are left out. An index of -1 is a stem that a mask network begins with,
    and that a vocoder plays as a mixture at first.
    """
    state = dict(network.state_dict())
    if list(indices) == list(range(num_old)):
        return state
    state = {name: weight for name, weight in state.items() if not name.startswith("conditions.")}

    def blocks(name: str, dim: int, first: int, size: int, begun: float = 0.0) -> Tensor:
        """Of a weight's axis: ``size`` entries for each new stem, the old ones begin at first."""
        old = state[name].narrow(dim, first, num_old * size).split(size, dim)
        untrained = torch.full_like(old[0], begun)
        return torch.cat([untrained if index < 0 else old[index] for index in indices], dim)

    if isinstance(network, CompactUNet):
        channels = network.config.latent_channels
        weight = state["conv_in.weight"]
        mixture = weight.narrow(1, num_old * channels, channels)
        known = blocks("conv_in.weight", 1, (num_old + 1) * channels, 1)
        latents = blocks("conv_in.weight", 1, 0, channels)
        state["conv_in.weight"] = torch.cat([latents, mixture, known, weight[:, -1:]], dim=1)
        name = "timestep_embedding.project.0.weight"
        state[name] = _same_sum(state[name], num_old, indices)
        for name in ("conv_out.weight", "conv_out.bias"):
            state[name] = blocks(name, 0, 0, channels)
    elif isinstance(network, UNet3D):
        state["input_blocks.0.0.weight"] = blocks("input_blocks.0.0.weight", 1, 0, 1)
        for name in ("out.2.weight", "out.2.bias"):
            state[name] = blocks(name, 0, 0, 1)
    elif isinstance(network, MaskRefiner):  # the pixels of each mask are channels
        state["conv_out.weight"] = blocks("conv_out.weight", 0, 0, PIXELS)
        state["conv_out.bias"] = blocks("conv_out.bias", 0, 0, PIXELS, NEW_LOGIT)
    elif isinstance(network, MaskSharpener):
        spectra = state["conv_in.weight"][:, :SPECTRUM_CHANNELS]
        further = [
            blocks("conv_in.weight", 1, first, 1)
            for first in range(SPECTRUM_CHANNELS, state["conv_in.weight"].shape[1], num_old)
        ]
        state["conv_in.weight"] = torch.cat([spectra, *further], dim=1)
        for name in ("conv_out.weight", "conv_out.bias"):
            state[name] = blocks(name, 0, 0, 1)
    elif isinstance(network, SpectralVocoder):  # a class of each stem, and of mixtures
        classes = [num_old if index < 0 else index for index in indices]
        state["stem.weight"] = state["stem.weight"][[*classes, num_old]]
    else:
        raise InputError(f"{type(network).__name__} cannot take other stems")
    return state


def _same_sum(weight: Tensor, num_old: int, indices: Sequence[int]) -> Tensor:
    """Columns of the new stems; what they lack to the sum of the old ones is shared among them."""
    old = weight.unflatten(1, (num_old, -1))  # (E, S, 2 · frequencies)
    new = old[:, list(indices)]
    missing = old.sum(dim=1, keepdim=True) - new.sum(dim=1, keepdim=True)
    return (new + missing / len(indices)).flatten(1)
