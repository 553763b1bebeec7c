"""What a run writes down: figures (means, pace, memory), sounds and pictures."""

from __future__ import annotations

import json
import resource
import secrets
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from stemweave.errors import InputError
from stemweave.io.files import appearing
from stemweave.training.examples import Example
from stemweave.training.settings import RunSettings


class RunLog:
    """``log.jsonl`` and the terminal always; TensorBoard and Weights & Biases by ``settings.log``.

    What was logged after ``step``, from which training goes on, is left out.

    Raises ``InputError`` if wandb is asked for and not installed.
    """

    def __init__(self, folder: Path, settings: RunSettings, step: int = 0) -> None:
        self.sample_rate = settings.log_mel.sample_rate
        self.wandb: Any = None
        self.board: Any = None
        if "wandb" in settings.log:
            self.wandb = _start_wandb(folder, settings)
        if "tensorboard" in settings.log:
            self.board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)
        forget_after(step, folder / "log.jsonl")
        self.file = (folder / "log.jsonl").open("a")
        self._references_logged = False

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """One line of figures."""
        if self.board is not None:
            for name, value in figures.items():
                self.board.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(dict(figures), step=step)
        rounded = {name: round(value, 5) for name, value in figures.items()}
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.file.write(json.dumps({"time": now, "step": step, **rounded}) + "\n")
        self.file.flush()
        print(f"step {step}", *(f"{name} {value:.4g}" for name, value in figures.items()))

    def examples(self, step: int, examples: Mapping[str, Example]) -> None:
        """Sounds and pictures; those that never change only the first time."""
        for name, example in examples.items():
            if example.is_reference and self._references_logged:
                continue
            picture, samples = example.picture(), example.waveform
            if samples is not None:
                samples = samples.detach().float().cpu().nan_to_num().clamp(-1, 1)
            if self.board is not None:
                self.board.add_image(name, picture, step)
                if samples is not None:
                    self.board.add_audio(name, samples, step, self.sample_rate)
            if self.wandb is not None:
                self._to_wandb(name, picture, samples, step)
        self._references_logged = True

    def _to_wandb(self, name: str, picture: np.ndarray, samples: Any, step: int) -> None:
        import wandb

        pixels = (255 * np.moveaxis(picture, 0, -1)).astype(np.uint8)
        media: dict[str, Any] = {f"{name}_picture": wandb.Image(pixels)}
        if samples is not None:
            media[name] = wandb.Audio(samples.numpy(), sample_rate=self.sample_rate)
        self.wandb.log(media, step=step)

    def close(self) -> None:
        """Finish the files; wandb records if an error is on its way."""
        self.file.close()
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish(exit_code=0 if sys.exc_info()[0] is None else 1)


def forget_after(step: int, log: Path) -> None:
    """Leave the lines of ``log`` up to ``step``: the others are about to be made again."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text().splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            continue  # cut off by a kill
    with appearing(log) as partial:
        partial.write_text("".join(kept))


def _start_wandb(folder: Path, settings: RunSettings) -> Any:
    """A run in ``folder/wandb``, the same one when training goes on; WANDB_MODE=offline works."""
    try:
        from wandb import init
    except ImportError as error:
        raise InputError(
            "log: wandb is not installed: pip install wandb, or take it off the list"
        ) from error
    identity = folder / "wandb_id"
    if not identity.exists():
        identity.write_text(secrets.token_hex(4))
    about = {"id": identity.read_text(), "dir": str(folder)}
    config = settings.model_dump(mode="json")
    return init(project="stemweave", name=folder.name, resume="allow", config=config, **about)


class Means:
    """Means of figures, each over the times that it was there."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, figures: Mapping[str, float]) -> None:
        """Figures of one more time."""
        for name, value in figures.items():
            self._values.setdefault(name, []).append(value)

    def take(self, processes: int = 1) -> dict[str, float]:
        """The means since the last call; of several processes, in each, those of all."""
        gathered: list[Any] = [self._values]
        if processes > 1:
            gathered = [None] * processes
            torch.distributed.all_gather_object(gathered, self._values)
        self._values = {}
        names = dict.fromkeys(name for values in gathered for name in values)
        of_all = {n: [v for values in gathered for v in values.get(n, ())] for n in names}
        return {name: sum(values) / len(values) for name, values in of_all.items()}


class Clock:
    """Time that a run has taken in all, and its pace.

    Args:
        seconds: it had taken before.
        step: it goes on from.
    """

    def __init__(self, seconds: float, step: int) -> None:
        self._began = self._line_at = time.monotonic()
        self._before, self._step = seconds, step

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def figures(self, step: int, steps: int) -> dict[str, float]:
        """Of a line at ``step`` of ``steps``: what went by since the last one is the pace."""
        now = time.monotonic()
        rate = (step - self._step) / max(now - self._line_at, 1e-9)
        self._line_at, self._step = now, step
        return {
            "minutes": self.seconds / 60,
            "steps_per_second": rate,
            "minutes_to_go": (steps - step) / max(rate, 1e-9) / 60,
        }


def peak_memory_gb(device: torch.device) -> float:
    """The most that was used so far, of 2³⁰ bytes: of a GPU's memory, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
