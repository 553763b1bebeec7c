"""The training loop shared by all stages: accumulate, clip, average, checkpoint, resume.

A stage supplies the network, the loss of a step and what to export. Every random draw of step n is
a function of (seed, n, process), so a resumed run equals one that never stopped.
"""

from __future__ import annotations

import copy
import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from stemweave.training.placement import (
    free_gathered,
    sharded_like,
    sharded_state,
    to_channels_last,
    whole,
)
from stemweave.training.settings import OptimiserSettings, StageSettings


class Stage(Protocol):
    """What the loop needs to know of a stage."""

    network: Any

    @property
    def settings(self) -> StageSettings:
        """Steps, batch, optimiser."""
        ...

    def loss(
        self, network: nn.Module, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss of one micro-batch and figures for the log."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on held-out data, with averaged weights."""
        ...

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the averaged weights as a model component."""
        ...


def learning_rate_factor(settings: OptimiserSettings, num_steps: int) -> Callable[[int], float]:
    """Step → factor of the learning rate: linear warm-up, then constant or cosine."""

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
        if settings.schedule == "constant":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(step / num_steps, 1.0)))

    return factor


class TrainingRun:
    """One stage's training in ``folder``: ``checkpoint/`` to resume, ``export/`` to use."""

    def __init__(
        self, stage: Stage, folder: Path, seed: int, mixed_precision: str, device: str = "auto"
    ) -> None:
        self.stage, self.folder, self.seed = stage, folder, seed
        settings = stage.settings
        self.accelerator = Accelerator(
            mixed_precision=mixed_precision,
            gradient_accumulation_steps=1,  # accumulation is by micro-batches inside a step
            cpu=device == "cpu",
        )
        sharded = self.accelerator.distributed_type == DistributedType.FSDP
        # the network without its weights: what is exported when they are in shards
        self.skeleton = copy.deepcopy(stage.network).to("meta") if sharded else None
        if not sharded:  # FSDP wants contiguous weights
            to_channels_last(stage.network)
        optimiser = torch.optim.AdamW(
            [parameter for parameter in stage.network.parameters() if parameter.requires_grad],
            lr=settings.optimiser.learning_rate,
            betas=settings.optimiser.betas,
            weight_decay=settings.optimiser.weight_decay,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimiser, learning_rate_factor(settings.optimiser, settings.steps)
        )
        self.network, self.optimiser = self.accelerator.prepare(stage.network, optimiser)
        self.scheduler = scheduler
        self.parameters: list[Tensor] = self.optimiser.param_groups[0]["params"]
        self.average = EMAModel(
            self.parameters, decay=settings.optimiser.ema_decay, foreach=not sharded
        )
        self.average.to(self.accelerator.device)
        self.step = 0
        self.stop_requested = False

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write the whole training state beside the old one, then rename over it.

        Every process must call this.
        """
        state = {
            "step": self.step,
            "network": self.accelerator.unwrap_model(self.network).state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": self.average.state_dict(),
        }
        state = whole(state, keep=self.accelerator.is_main_process)
        if not self.accelerator.is_main_process:
            return
        partial = self.checkpoint.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.checkpoint)

    def resume(self) -> bool:
        """Load the last checkpoint; False if there is none."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        network = self.accelerator.unwrap_model(self.network)
        now = network.state_dict()
        network.load_state_dict(
            {name: sharded_like(tensor, now[name]) for name, tensor in state["network"].items()}
        )
        self.optimiser.load_state_dict(sharded_state(state["optimiser"], self.parameters))
        self.scheduler.load_state_dict(state["scheduler"])
        shadows = zip(state["average"]["shadow_params"], self.parameters, strict=True)
        state["average"]["shadow_params"] = [sharded_like(one, like) for one, like in shadows]
        self.average.load_state_dict(state["average"])
        self.average.to(self.accelerator.device)
        self.step = state["step"]
        return True

    def train_step(self) -> dict[str, float]:
        """One optimiser step; raises ``FloatingPointError`` if the loss is not finite."""
        settings, process = self.stage.settings, self.accelerator.process_index
        processes = self.accelerator.num_processes
        figures: dict[str, float] = {}
        for micro_step in range(settings.accumulation_steps):
            # the draws of a global batch are numbered, so that processes and accumulation are
            # interchangeable
            part = micro_step * processes + process
            rng = np.random.default_rng([self.seed, self.step, part])
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            last = micro_step == settings.accumulation_steps - 1
            with self.accelerator.no_sync(self.network) if not last else nullcontext():
                loss, parts = self.stage.loss(self.network, self.step, rng, generator)
                if not torch.isfinite(loss):
                    raise FloatingPointError(
                        f"loss is {loss.item()} at step {self.step}; the last good checkpoint is "
                        f"{self.checkpoint}: lower the learning rate and resume"
                    )
                self.accelerator.backward(loss / settings.accumulation_steps)
            figures = {"loss": loss.item(), **parts}
        norm = self.accelerator.clip_grad_norm_(self.parameters, settings.optimiser.clip_norm)
        figures["gradient_norm"] = float(whole(norm))
        self.optimiser.step()
        self.scheduler.step()
        self.optimiser.zero_grad()
        self.average.step(self.parameters)
        self.step += 1
        return figures

    def with_average(self, action: Callable[[nn.Module], object]) -> object:
        """Run ``action`` on the network holding the averaged weights, then restore.

        With shards every process must call this.
        """
        network = self.accelerator.unwrap_model(self.network)
        self.average.store(self.parameters)
        self.average.copy_to(self.parameters)
        network.eval()
        try:
            # weights that FSDP gathers in inference mode could not be trained on afterwards
            with torch.no_grad() if self.skeleton else torch.inference_mode():
                return action(network)
        finally:
            network.train()
            free_gathered(network)
            self.average.restore(self.parameters)

    def export(self) -> None:
        """Write the averaged weights to ``folder/export``, replacing the old ones whole.

        Every process must call this.
        """
        is_main = self.accelerator.is_main_process
        partial, final = self.folder / "export.partial", self.folder / "export"
        if is_main:
            shutil.rmtree(partial, ignore_errors=True)
        if self.skeleton is not None:
            state: Any = self.with_average(lambda network: whole(network.state_dict(), is_main))
            if is_main:
                network = copy.deepcopy(self.skeleton)
                network.load_state_dict(state, assign=True)
                with torch.inference_mode():
                    self.stage.export(network.eval(), partial)
        elif is_main:
            self.with_average(lambda network: self.stage.export(network, partial))
        if is_main:
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)

    def run(self, log: Callable[[int, dict[str, float]], None], minutes: float = math.inf) -> None:
        """Train to the stage's number of steps, for so many minutes, or until asked to stop."""
        settings = self.stage.settings
        self.folder.mkdir(parents=True, exist_ok=True)
        began = last_save = time.monotonic()
        self.network.train()
        while self.step < settings.steps:
            now = time.monotonic()
            stop, save = self._agreed(
                self.stop_requested or now - began > minutes * 60,
                now - last_save > settings.save_every_minutes * 60,
            )
            if stop:
                break
            if save:
                self.save()
                self.export()
                last_save = time.monotonic()
            figures = self.train_step()
            if self.step % settings.validate_every_steps == 0:
                figures.update(self.with_average(self.stage.validate))  # type: ignore[call-overload]
            if self.step % settings.log_every_steps == 0 or len(figures) > 8:
                figures["minutes"] = (time.monotonic() - began) / 60
                log(self.step, figures)
        self.save()
        self.export()

    def _agreed(self, *flags: bool) -> list[bool]:
        """Each flag, true if it is for any process: clocks and signals differ between them."""
        if self.accelerator.num_processes == 1:
            return list(flags)
        votes = torch.tensor(flags, dtype=torch.float32, device=self.accelerator.device)
        return (self.accelerator.reduce(votes, "sum") > 0).tolist()
