"""Low-rank adaptation (LoRA, arXiv 2106.09685): small matrices are trained beside frozen weights.

All linear layers and convolutions get them, attention included. What is exported holds the sum, so
that nothing downstream knows of it; the matrices alone are kept beside it as a small file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import nn

ADAPTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ADAPTER = "default"
ADAPTER_FOLDER = "adapter"
"""Inside the exported folder, in peft's format."""


def add_lora(network: nn.Module, rank: int, alpha: float) -> None:
    """Freeze ``network``'s weights and put trainable matrices of ``rank`` beside them.

    They start at zero: the network's output does not change.
    """
    names = [name for name, module in network.named_modules() if isinstance(module, ADAPTED)]
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names, bias="none")
    inject_adapter_in_model(config, network, ADAPTER)


def has_lora(network: nn.Module) -> bool:
    return any(isinstance(module, LoraLayer) for module in network.modules())


@torch.no_grad()
def merged(network: Any) -> Any:
    """A plain network of the same kind whose weights contain the adaptation."""
    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in network.state_dict().items()
        if ".lora_" not in name
    }
    for name, module in network.named_modules():
        if isinstance(module, LoraLayer):
            down, up = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight
            weight = module.get_base_layer().weight
            # peft's own product (get_delta_weight) fails on Conv3d with a kernel of 1
            change = module.scaling[ADAPTER] * (up.flatten(1) @ down.flatten(1))
            state[f"{name}.weight"] = weight + change.reshape(weight.shape)
    plain = type(network).from_config(network.config)
    plain.load_state_dict(state)
    return plain


def save_network(network: Any, folder: Path) -> None:
    """``network`` as a part of a model; an adaptation is merged, and saved by itself, too."""
    if not has_lora(network):
        network.save_pretrained(folder)
        return
    merged(network).save_pretrained(folder)
    beside = folder / ADAPTER_FOLDER
    beside.mkdir()
    matrices = get_peft_model_state_dict(network, adapter_name=ADAPTER)
    save_file(
        {name: tensor.contiguous().cpu() for name, tensor in matrices.items()},
        beside / "adapter_model.safetensors",
    )
    network.peft_config[ADAPTER].save_pretrained(beside)
