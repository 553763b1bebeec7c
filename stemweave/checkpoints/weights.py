"""Key names of the published checkpoints → our modules.

State dicts (name → tensor) whose values stay, except that weight norm is folded into weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from stemweave.checkpoints.reading import StateDict

_UNET_NAMES = {
    ".in_layers.0.": ".norm1.", ".in_layers.2.": ".conv1.", ".emb_layers.1.": ".embed.",
    ".out_layers.0.": ".norm2.", ".out_layers.3.": ".conv2.", ".skip_connection.": ".skip.",
    ".proj_out.": ".project.", ".op.": ".conv.",
}  # fmt: skip
_UNET_LAYERS = (
    "", "in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3",
    "skip_connection", "op", "conv", "norm", "qkv", "proj_out",
)  # fmt: skip
MOST_BLOCKS = 100
"""Of a U-Net's input or output side; the paper's has 12."""


def unet3d_state(reference: Mapping[str, Tensor]) -> StateDict:
    """The reference U-Net's weights under ``UNet3D``'s names."""
    converted = {}
    for name, tensor in reference.items():
        for theirs, ours in _UNET_NAMES.items():
            name = name.replace(theirs, ours)
        converted[name] = tensor
    return converted


def unet3d_config(reference: Mapping[str, Tensor]) -> dict[str, object]:
    """Width, levels, blocks and stems of a U-Net, read from its weights' shapes and names."""
    first = reference["input_blocks.0.0.weight"]
    base = first.shape[0]
    multiples: list[int] = []
    blocks: list[int] = [0]
    attention: set[int] = set()
    index = 1
    while f"input_blocks.{index}.0.in_layers.0.weight" in reference or (
        f"input_blocks.{index}.0.op.weight" in reference
    ):
        if f"input_blocks.{index}.0.op.weight" in reference:
            blocks.append(0)
        else:
            width = reference[f"input_blocks.{index}.0.out_layers.3.weight"].shape[0]
            if blocks[-1] == 0:
                multiples.append(width // base)
            blocks[-1] += 1
            if f"input_blocks.{index}.1.qkv.weight" in reference:
                attention.add(2 ** (len(blocks) - 1))
        index += 1
    return {
        "model_channels": base,
        "channel_mult": tuple(multiples),
        "num_res_blocks": blocks[0],
        "attention_resolutions": tuple(sorted(attention, reverse=True)),
    }


def with_dots(names: Iterable[str]) -> dict[str, str]:
    """The U-Net's names of weights by those names without their dots, as averages have them."""
    blocks = [f"middle_block.{layer}" for layer in range(3)]
    for side in ("input_blocks", "output_blocks"):
        blocks += [f"{side}.{index}.{layer}" for index in range(MOST_BLOCKS) for layer in range(3)]
    layers = [f"{block}.{layer}" if layer else block for block in blocks for layer in _UNET_LAYERS]
    layers += ["time_embed.0", "time_embed.2", "out.0", "out.2"]
    dotted = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    known = {name.replace(".", ""): name for name in dotted}
    return {name: known[name] for name in names if name in known}


def vae_state(reference: Mapping[str, Tensor], config: Mapping[str, object]) -> StateDict:
    """The latent-diffusion VAE's weights under diffusers' ``AutoencoderKL`` names."""
    converted = convert_ldm_vae_checkpoint(dict(reference), dict(config))
    return {name: tensor for name, tensor in converted.items() if tensor is not None}


def vae_config(reference: Mapping[str, Tensor]) -> dict[str, object]:
    """Arguments of ``AutoencoderKL`` for a latent-diffusion VAE, read from its weights."""
    base = reference["encoder.conv_in.weight"].shape[0]
    found = re.findall(r"^encoder\.down\.(\d+)\.", "\n".join(reference), re.MULTILINE)
    levels = 1 + max(map(int, found))
    widths = [
        reference[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(levels)
    ]
    first = re.compile(r"encoder\.down\.0\.block\.\d+\.conv1\.weight")
    blocks = sum(first.fullmatch(name) is not None for name in reference)
    return {
        "in_channels": 1,
        "out_channels": 1,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": tuple(widths),
        "layers_per_block": blocks,
        "latent_channels": reference["post_quant_conv.weight"].shape[1],
        "norm_num_groups": min(32, base),
    }


def fold_weight_norm(state: Mapping[str, Tensor]) -> StateDict:
    """Replace ``weight_g`` and ``weight_v`` by the ``weight`` they stand for."""
    folded = {n: t for n, t in state.items() if not n.endswith((".weight_g", ".weight_v"))}
    for name, tensor in state.items():
        if name.endswith(".weight_v"):
            axes = tuple(range(1, tensor.ndim))
            direction = tensor / torch.linalg.vector_norm(tensor, dim=axes, keepdim=True)
            folded[name.removesuffix("_v")] = direction * state[name.removesuffix("v") + "g"]
    return folded


def hifigan_state(reference: Mapping[str, Tensor]) -> StateDict:
    """HiFi-GAN weights, with or without weight norm, under ``SpeechT5HifiGan``'s names."""
    folded = fold_weight_norm(reference)
    renamed = {re.sub(r"^ups\.", "upsampler.", name): t for name, t in folded.items()}
    bands = renamed["conv_pre.weight"].shape[1]
    # buffers that transformers keeps for speech and that stay unused (normalize_before = False)
    return {**renamed, "mean": torch.zeros(bands), "scale": torch.ones(bands)}


def hifigan_config(reference: Mapping[str, Tensor]) -> dict[str, object]:
    """Arguments of ``SpeechT5HifiGanConfig`` for the paper's vocoder, widths from the weights."""
    normed = "conv_pre.weight_v" in reference
    return {
        "model_in_dim": reference["conv_pre.weight_v" if normed else "conv_pre.weight"].shape[1],
        "sampling_rate": 16000,
        "upsample_initial_channel": reference["conv_pre.bias"].shape[0],
        "upsample_rates": [5, 4, 2, 2, 2],
        "upsample_kernel_sizes": [16, 16, 8, 4, 4],
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5]] * 3,
        "normalize_before": False,
    }
