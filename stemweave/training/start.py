"""Begin or resume a run: songs, components, logs."""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from accelerate.utils import set_seed
from torch.utils.tensorboard import SummaryWriter

from stemweave.data.readers import read_data
from stemweave.data.songs import Song
from stemweave.files import InputError
from stemweave.training.loop import Stage, TrainingRun
from stemweave.training.settings import RunSettings, load_settings, save_settings


def prepare(config: Path) -> RunSettings:
    """Settings of a run; seeds the first weights of whatever is built next."""
    settings = load_settings(config)
    set_seed(settings.seed)
    return settings


def load_songs(settings: RunSettings) -> tuple[list[Song], list[Song]]:
    """Training and validation songs of all data folders; raises ``InputError`` if one is empty."""
    songs = [
        song
        for folder in settings.data
        for song in read_data(folder, settings.stems, require_all=settings.require_all_stems).songs
    ]
    train = [song for song in songs if song.split == "train"]
    validation = [song for song in songs if song.split == "validation"]
    folders = ", ".join(str(folder) for folder in settings.data)
    if not train:
        raise InputError(f"no training songs in {folders}: check their splits")
    if not validation:
        raise InputError(f"no validation songs in {folders}: check their splits")
    return train, validation


def start(stage: Stage, settings: RunSettings, folder: Path, minutes: float, device: str) -> None:
    """Train ``stage`` in ``folder``, from its checkpoint if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder) if int(os.environ.get("RANK", "0")) == 0 else None
    run = TrainingRun(stage, folder, settings.seed, settings.mixed_precision, device)

    def stop(*_: object) -> None:
        run.stop_requested = True

    signal.signal(signal.SIGTERM, stop)  # save, export, then end
    signal.signal(signal.SIGINT, stop)
    if run.resume():
        print(f"resuming at step {run.step}", flush=True)
    if not run.accelerator.is_main_process:
        run.run(lambda step, figures: None, minutes or math.inf)
        return
    save_settings(settings, folder / "settings.yaml")
    with SummaryWriter(folder / "tensorboard") as board, (folder / "log.jsonl").open("a") as file:

        def log(step: int, figures: dict[str, float]) -> None:
            for name, value in figures.items():
                board.add_scalar(name, value, step)
            rounded = {name: round(value, 5) for name, value in figures.items()}
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            file.write(json.dumps({"time": now, "step": step, **rounded}) + "\n")
            file.flush()
            print(f"step {step}", *(f"{name} {value:.4g}" for name, value in figures.items()))

        try:
            run.run(log, minutes or math.inf)
        except FloatingPointError as error:
            raise InputError(str(error)) from error
    print(f"exported to {folder / 'export'}")
    if lock is not None:
        lock.close()


def _lock(folder: Path) -> TextIO:
    """A lock that ends with the process; raises ``InputError`` if another training holds it."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"another training is running in {folder}: wait for it, or give another --run"
        ) from error
    return file
