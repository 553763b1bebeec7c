"""How weights lie in memory: channels last, and in shards over processes (FSDP).

Checkpoints always hold whole tensors, so that a run may go on with another number of processes,
sharded or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from stemweave.errors import InputError


def joined(make: Callable[..., Accelerator], launched: int, **options: Any) -> Accelerator:
    """The accelerator ``make(**options)`` of one of so many ``launched`` processes.

    Raises ``InputError`` if they do not find each other.
    """
    problem = f"{launched} processes were launched and do not find each other"
    try:
        accelerator = make(**options)
    except (RuntimeError, ValueError) as error:  # of PyTorch's rendezvous
        if launched == 1:
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{problem} ({reason}): is the first one's address right?") from error
    if accelerator.num_processes != launched:
        raise InputError(f"{problem}: start them with torchrun, or one alone")
    return accelerator


def to_channels_last(network: nn.Module) -> nn.Module:
    """Put the weights of two-dimensional convolutions channels last, which is faster on CPUs.

    Networks with three-dimensional ones (``UNet3D``) stay as they are.
    """
    if any(parameter.ndim == 5 for parameter in network.parameters()):
        return network
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def whole(tree: Any, keep: bool = True) -> Any:
    """``tree`` with every sharded tensor gathered on the CPU; every process must call this.

    Processes without ``keep`` get empty tensors, to save their memory.
    """

    def gather(tensor: DTensor) -> Tensor:
        full = tensor.full_tensor()
        return full.cpu() if keep else full.new_empty(0)

    return tree_map_only(DTensor, gather, tree)


def sharded_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's shard of a whole ``tensor`` if ``like`` is sharded and of its shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    tensor = tensor.to(like.device)
    # every process has read the same file: nothing needs to be sent
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def load_whole(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a state dict of whole tensors into ``network``, sharded or not."""
    own = network.state_dict()
    network.load_state_dict(
        {
            name: sharded_like(tensor, own[name]) if name in own else tensor
            for name, tensor in state.items()
        }
    )


def sharded_state(state: dict[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """An optimiser's whole state dict, sharded as its ``parameters`` are."""
    values = {
        index: {
            name: sharded_like(value, parameters[index]) if isinstance(value, Tensor) else value
            for name, value in entry.items()
        }
        for index, entry in state["state"].items()
    }
    return {**state, "state": values}


def free_gathered(network: nn.Module) -> None:
    """Drop whole weights that a forward pass without a backward pass has left."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def agreed(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Each flag, true if it is for any process: clocks and signals differ between them.

    A process that stopped alone, or went on alone, would wait for the others for ever.
    """
    if accelerator.num_processes == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return (accelerator.reduce(votes, "sum") > 0).tolist()
