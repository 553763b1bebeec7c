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
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from torch import Tensor, nn

from stemweave.errors import InputError
from stemweave.io.files import as_umask_says
from stemweave.models.acceleration import require_compiler
from stemweave.training.checkpoint import (
    CHECKPOINT,
    keep_best,
    keep_every,
    keep_last,
    not_finite,
    read_checkpoint,
    write_checkpoint,
)
from stemweave.training.examples import Example
from stemweave.training.identity import changes, write_record
from stemweave.training.logs import Clock, Means, peak_memory_gb
from stemweave.training.networks import autoencoder_in
from stemweave.training.optimiser import WeightAverage, learning_rate_factor, make_optimiser
from stemweave.training.placement import (
    agreed,
    free_gathered,
    joined,
    load_whole,
    sharded_like,
    sharded_state,
    to_channels_last,
    whole,
)
from stemweave.training.stage_settings import Stage

LogExamples = Callable[[int, Mapping[str, Example]], None]


class TrainingRun:
    """One stage's training in ``folder``: ``checkpoint.pt`` to resume, ``export/`` to use.

    Made in every process of a distributed run; the main one writes files and validates. What writes
    or validates must be called by all.

    Checkpoints and exports hold ``record``, what is trained (``identity.record_of``); ``changes``
    are what is otherwise since the checkpoint that it goes on from.

    Raises ``InputError`` for Muon with FSDP, or if there is nothing to compile with.
    """

    def __init__(
        self,
        stage: Stage,
        folder: Path,
        seed: int,
        mixed_precision: str,
        device: str = "auto",
        *,
        compile: bool = False,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        self.stage, self.folder, self.seed, self.record = stage, folder, seed, record
        self.changes: list[str] = []
        self.validated = 0
        settings = stage.settings
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        self.accelerator = joined(
            Accelerator,
            launched,
            mixed_precision=mixed_precision,
            gradient_accumulation_steps=1,  # accumulation is by micro-batches inside a step
            # without an accelerator several processes find each other only as a CPU's (gloo)
            cpu=device == "cpu" or (launched > 1 and not torch.accelerator.is_available()),
            # the others wait while the main process validates, and for shards that it makes
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=2))],
        )
        sharded = self.accelerator.distributed_type == DistributedType.FSDP
        if sharded and settings.optimiser.kind == "muon":
            raise InputError("optimiser.kind muon does not work with FSDP: use adamw")
        # the network without its weights: what is exported when they are in shards
        self.skeleton = copy.deepcopy(stage.network).to("meta") if sharded else None
        if not sharded:  # FSDP wants contiguous weights
            to_channels_last(stage.network)
        optimiser = make_optimiser(stage.network, settings.optimiser)
        self._factor = learning_rate_factor(settings.optimiser, settings.steps)
        self.network, self.optimiser = self.accelerator.prepare(stage.network, optimiser)
        if compile:
            require_compiler(self.accelerator.device.type)
            self.network.compile()
        self.parameters: list[Tensor] = [
            parameter for group in self.optimiser.param_groups for parameter in group["params"]
        ]
        share = settings.optimiser.first_share
        self.average = WeightAverage(
            self.parameters, settings.optimiser.ema_decay, share, foreach=not sharded
        )
        self.average.to(self.accelerator.device)
        self.step, self.seconds, self.best = 0, 0.0, math.inf
        self.figures: dict[str, float] = {}
        self.stop_requested = False

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def save(self) -> None:
        """Write the whole training state; the last checkpoint stays until the new one is whole.

        Raises:
            FloatingPointError: if a weight is not finite: the last checkpoint is the better one.
        """
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "record": self.record,
            "network": self.accelerator.unwrap_model(self.network).state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
        }
        state = whole(state, keep=self.accelerator.is_main_process)
        if not self.accelerator.is_main_process:
            return
        if not all(weights.isfinite().all() for weights in state["network"].values()):
            raise FloatingPointError(not_finite("network", self.step, self.checkpoint))
        write_checkpoint(state, self.checkpoint)

    def resume(self) -> bool:
        """Load the last checkpoint; False if there is none.

        Raises ``InputError`` if it is damaged or of another part or network.
        """
        if not self.checkpoint.exists():
            return False
        state = read_checkpoint(self.checkpoint)
        misfit = f"{self.checkpoint} does not fit the settings"
        advice = f"give back those of {self.folder / 'settings.yaml'}, or choose another run folder"
        if self.record is not None and state.get("record") is not None:
            refused, self.changes = changes(state["record"], self.record)
            if refused:
                raise InputError(f"{misfit} ({'; '.join(refused)}): {advice}")
        try:
            self._load(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{misfit}: {advice}") from error
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)
        self.best = state.get("best", math.inf)
        return True

    def _load(self, state: dict[str, Any]) -> None:
        load_whole(self.accelerator.unwrap_model(self.network), state["network"])
        self.optimiser.load_state_dict(sharded_state(state["optimiser"], self.parameters))
        average = state["average"]
        shadows = zip(average["shadow_params"], self.parameters, strict=True)
        average["shadow_params"] = [sharded_like(*pair) for pair in shadows]
        self.average.load_state_dict(average)
        self.average.to(self.accelerator.device)

    def train_step(self) -> dict[str, float]:
        """One optimiser step; figures of this process, the mean over its micro-batches.

        Raises:
            FloatingPointError: if loss or gradient is not finite, in any process; the weights are
                then as they were before.
        """
        settings, process = self.stage.settings, self.accelerator.process_index
        processes = self.accelerator.num_processes
        means, losses = Means(), []
        for micro_step in range(settings.accumulation_steps):
            # the draws of a global batch are numbered, so that processes and accumulation are
            # interchangeable
            part = micro_step * processes + process
            rng = np.random.default_rng([self.seed, self.step, part])
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            torch.manual_seed(generator.initial_seed())  # for dropout inside networks
            last = micro_step == settings.accumulation_steps - 1
            # until the last micro-batch, gradients stay in each process
            with self.accelerator.no_sync(self.network) if not last else nullcontext():
                loss, parts = self.stage.loss(self.network, self.step, rng, generator)
                self.accelerator.backward(loss / settings.accumulation_steps)
            losses.append(loss.item())
            means.add({"loss": losses[-1], **parts})
        if agreed(self.accelerator, not all(map(math.isfinite, losses)))[0]:
            raise FloatingPointError(not_finite("loss", self.step, self.checkpoint))
        norm = self.accelerator.clip_grad_norm_(self.parameters, settings.optimiser.clip_norm)
        figures = means.take() | {"gradient_norm": float(whole(norm))}
        # with a scaler (fp16), such a step is skipped and tried again at a lower scale
        if self.accelerator.scaler is None and not math.isfinite(figures["gradient_norm"]):
            raise FloatingPointError(not_finite("gradient", self.step, self.checkpoint))
        self._set_hyperparameters()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.step(self.parameters)
        self.step += 1
        return figures

    def _set_hyperparameters(self) -> None:
        """From settings and step, not from the checkpoint: what is changed there holds on."""
        settings = self.stage.settings.optimiser
        for group in self.optimiser.param_groups:
            rate = settings.learning_rates.get(group.get("part", ""), settings.learning_rate)
            group["lr"] = rate * self._factor(self.step)
            group["betas"], group["weight_decay"] = settings.betas, settings.weight_decay

    def with_average(self, action: Callable[[nn.Module], object]) -> object:
        """``action`` on the averaged network."""
        network = self.accelerator.unwrap_model(self.network)
        self.average.store(self.parameters)
        self.average.copy_to(self.parameters)
        network.eval()
        try:
            # weights that FSDP gathers in inference mode could not be trained on afterwards
            inference = torch.no_grad() if self.skeleton else torch.inference_mode()
            # other shapes than training's would be compiled anew
            with inference, torch.compiler.set_stance("force_eager"):
                return action(network)
        finally:
            network.train()
            free_gathered(network)
            self.average.restore(self.parameters)

    def export(self, name: str = "export") -> None:
        """Write the averaged weights to ``folder/name``, replacing the old ones whole."""
        is_main = self.accelerator.is_main_process
        partial, final = self.folder / f"{name}.partial", self.folder / name
        if is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.parent.mkdir(exist_ok=True)
        if self.skeleton is not None:
            state: Any = self.with_average(lambda network: whole(network.state_dict(), is_main))
            if is_main:
                network = copy.deepcopy(self.skeleton)
                network.load_state_dict(state, assign=True)
                with torch.inference_mode():
                    self._export(network.eval(), partial)
        elif is_main:
            self.with_average(lambda network: self._export(network, partial))
        if is_main:
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)

    def _export(self, network: nn.Module, folder: Path) -> None:
        self.stage.export(network, folder)
        if self.record is not None:
            said = {"step": self.step, "validated": self.validated, "figures": self.figures}
            write_record(folder, {**self.record, **said}, autoencoder_in(network))
        as_umask_says(folder)

    def run(
        self,
        log: Callable[[int, dict[str, float]], None] | None,
        minutes: float = math.inf,
        log_examples: LogExamples | None = None,
    ) -> None:
        """Train to the stage's number of steps, for so many minutes, or until asked to stop.

        A process that is not the main one has no ``log`` and does not validate.
        """
        settings = self.stage.settings
        self.folder.mkdir(parents=True, exist_ok=True)
        began = last_save = time.monotonic()
        clock, means = Clock(self.seconds, self.step), Means()
        self.network.train()
        while self.step < settings.steps:
            now, self.seconds = time.monotonic(), clock.seconds
            asked = self.stop_requested or getattr(self.stage, "is_spent", False)
            stop, save = agreed(
                self.accelerator,
                asked or now - began > minutes * 60,
                now - last_save > settings.save_every_minutes * 60,
            )
            if stop:
                break
            if save:
                self._save_and_export()
                last_save = time.monotonic()
            means.add(self.train_step())
            validated = self.step % settings.validate_every_steps == 0
            if not validated and self.step % settings.log_every_steps:
                keep_every(self)
                continue
            figures = means.take(self.accelerator.num_processes)
            figures |= clock.figures(self.step, settings.steps)
            if validated:
                if log is not None or self.skeleton is not None:
                    self._validate(figures, log_examples)
                keep_best(self, self.figures)
            keep_every(self)
            if log is not None:
                figures["learning_rate"] = self.optimiser.param_groups[0]["lr"]
                figures["memory_gb"] = peak_memory_gb(self.accelerator.device)
                log(self.step, figures)
        self.seconds = clock.seconds
        self._save_and_export()

    def _save_and_export(self) -> None:
        self.save()
        self.export()
        keep_last(self)

    def _validate(self, figures: dict[str, float], log_examples: LogExamples | None) -> None:
        """Add validation's figures; log examples."""
        self.figures = self.with_average(self.stage.validate)  # type: ignore[assignment]
        figures.update(self.figures)
        self.validated = self.step
        make_examples = getattr(self.stage, "examples", None)
        wanted = log_examples is not None or self.skeleton is not None
        if wanted and make_examples is not None and self.stage.settings.examples > 0:
            examples: Any = self.with_average(make_examples)
            if log_examples is not None:
                log_examples(self.step, examples)
