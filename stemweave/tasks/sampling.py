"""``Sampling``: how latents are drawn; made once where a user is met, and passed whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

import torch

from stemweave.diffusion.sampler import Progress
from stemweave.errors import InputError
from stemweave.models.parts import Parts

Inpainting = Literal["known", "replace"]
MAX_STEPS = 1000
MAX_GUIDANCE = 20.0
TAKEN = {
    "separate": {"guidance", "batch_windows"},
    "generate": {"condition_guidance"},
    "arrange": {"condition_guidance", "guidance", "inpainting"},
    "edit": {"condition_guidance", "inpainting"},
    "extend": {"condition_guidance", "inpainting"},
    "vary": {"condition_guidance"},
}
"""What tasks take beside steps, generator and progress."""


class SamplingOptions(TypedDict, total=False):
    """The fields of ``Sampling`` as keywords."""

    steps: int | None
    guidance: float | None
    condition_guidance: float | None
    inpainting: Inpainting | None
    batch_windows: int | None
    generator: torch.Generator | None
    progress: Progress | None


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn. None takes the model's own setting.

    Attributes:
        steps: network passes, 1 to 1000.
        guidance: weight of the mixture (``separate``) or of given stems (``arrange``), 0 to 20;
            other than 0 and 1 it takes two passes a step.
        condition_guidance: weight of sheet and score, 0 to 20, likewise.
        inpainting: "known", given latents are a condition of the denoiser (as it was trained), or
            "replace", they replace what is drawn in every step (the paper's way).
        batch_windows: windows of ``separate`` that go through the networks at once; the stems are
            the same. None: as many as fit on a GPU, one on a CPU.
        generator: of the CPU; None takes torch's own.
        progress: called with (steps done, steps in all); what it raises ends the task.
    """

    steps: int | None = None
    guidance: float | None = None
    condition_guidance: float | None = None
    inpainting: Inpainting | None = None
    batch_windows: int | None = None
    generator: torch.Generator | None = None
    progress: Progress | None = None

    def checked(self, parts: Parts, task: str) -> Sampling:
        """With the model's settings of ``task`` for what is None.

        Raises:
            InputError: for what no sampler takes, and what the task or the model has no use for.
        """
        for name in set().union(*TAKEN.values()) - TAKEN[task]:
            if getattr(self, name) != getattr(Sampling, name):
                raise InputError(f"{task} has no {name}: leave it out")
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise InputError(f"steps must be 1 to {MAX_STEPS}, not {self.steps}")
        if self.guidance is not None and not 0 <= self.guidance <= MAX_GUIDANCE:
            raise InputError(f"guidance must be 0 to {MAX_GUIDANCE:g}, not {self.guidance}")
        if self.condition_guidance is not None and not 0 <= self.condition_guidance <= MAX_GUIDANCE:
            raise InputError(f"guidance by sheet and score must be 0 to {MAX_GUIDANCE:g}")
        if self.batch_windows is not None and self.batch_windows < 1:
            raise InputError(f"batch_windows must be at least 1, not {self.batch_windows}")
        config = parts.config
        if task == "separate":
            return self._with(steps=config.separation_steps, guidance=config.separation_guidance)
        takes_known = getattr(parts.config_of("denoiser"), "known_stems", False)
        if task != "generate":
            self._check_inpainting(takes_known)
        guidance = config.arrangement_guidance if task == "arrange" else 1.0
        return self._with(
            steps=config.generation_steps,
            guidance=guidance,
            condition_guidance=config.condition_guidance if task == "generate" else 1.0,
            inpainting="known" if takes_known else "replace",
        )

    def _with(self, **defaults: Any) -> Sampling:
        absent = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return replace(self, **absent)

    def _check_inpainting(self, takes_known: bool) -> None:
        """Refuse what has no effect; ``takes_known``: given stems are a condition of it."""
        if self.inpainting not in (None, "known", "replace"):
            raise InputError(f"inpainting must be known or replace, not {self.inpainting}")
        if not takes_known and self.inpainting == "known":
            raise InputError(
                "this model takes no given stems as a condition: use inpainting by replacement"
            )
        if self.guidance is None:
            return
        if not takes_known:
            raise InputError("this model takes no given stems as a condition: leave out guidance")
        if self.inpainting == "replace":
            raise InputError("inpainting by replacement has no guidance: leave out one of the two")


def sampling_of(sampling: Sampling | None, options: SamplingOptions) -> Sampling:
    """``sampling`` with its fields of ``options``."""
    return replace(sampling or Sampling(), **options)
