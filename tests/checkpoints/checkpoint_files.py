"""Checkpoints as the authors published them, written small with exactly their keys."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from diffusers import DDIMScheduler

from stemweave.checkpoints.importer import PAPER_SCHEDULE
from tests.parity import reference as ref

UNET = "model.diffusion_model."


def msgld_checkpoint(with_first_stage: bool = True) -> dict[str, Any]:
    """A Lightning checkpoint: plain and averaged U-Net, first stage, scale, schedule."""
    unet = ref.reference_weights("unet")
    state = {UNET + name: torch.zeros_like(tensor) for name, tensor in unet.items()}
    for name, tensor in unet.items():
        state["model_ema." + ("diffusion_model." + name).replace(".", "")] = tensor
    state["model_ema.decay"] = torch.tensor(0.9999)
    state["model_ema.num_updates"] = torch.tensor(17, dtype=torch.int32)
    state["scale_factor"] = torch.tensor(0.7)
    state["betas"] = DDIMScheduler(**PAPER_SCHEDULE).betas
    state["cond_stage_model.logit_scale"] = torch.tensor(1.0)
    if with_first_stage:
        for name, tensor in ref.reference_weights("vae").items():
            state["first_stage_model." + name] = tensor
        for name, tensor in ref.reference_weights("hifigan").items():
            state["first_stage_model.vocoder." + name] = tensor
    return {"state_dict": state, "epoch": 3, "global_step": 77}


class Node:
    """An object with a state, as a library's class pickles."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@contextmanager
def classes_of(*places: tuple[str, str, type]) -> Iterator[dict[str, type]]:
    """Classes that pickles name as ``module.name``, made of a base, while the block lasts."""
    added: list[str] = []
    found = {}
    try:
        for module, name, base in places:
            parts = module.split(".")
            for count in range(1, len(parts) + 1):
                path = ".".join(parts[:count])
                if path not in sys.modules:
                    sys.modules[path] = ModuleType(path)
                    added.append(path)
            kind = type(name, (base,), {"__module__": module})
            setattr(sys.modules[module], name, kind)
            found[name] = kind
        yield found
    finally:
        for path in added:
            del sys.modules[path]
