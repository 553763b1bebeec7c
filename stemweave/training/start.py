"""Begin or resume a run: songs, components, logs."""

from __future__ import annotations

import fcntl
import math
import os
import signal
from contextlib import closing
from pathlib import Path
from typing import TextIO

from accelerate.utils import set_seed

from stemweave.data.readers import read_data
from stemweave.data.songs import Song
from stemweave.data.tar_cache import TarCache, split_of_url, tar_urls
from stemweave.data.tar_songs import Songs, TarSongs
from stemweave.errors import InputError
from stemweave.models.memory import keep_freed_memory
from stemweave.training.checkpoint import CHECKPOINT
from stemweave.training.identity import record_of
from stemweave.training.logs import RunLog
from stemweave.training.loop import TrainingRun
from stemweave.training.settings import RunSettings, load_settings, save_settings
from stemweave.training.stage import Stage


def prepare(config: Path, kind: type[RunSettings] = RunSettings) -> RunSettings:
    """Settings of a run; seeds the first weights of whatever is built next."""
    settings = load_settings(config, kind)
    set_seed(settings.seed)
    return settings


def load_songs(settings: RunSettings) -> tuple[Songs, Songs]:
    """Training and validation songs of all data; raises ``InputError`` if there are none."""
    urls: list[str] = []
    songs: list[Song] = []
    for entry in settings.data:
        tars = tar_urls(entry)
        urls += tars
        if not tars:
            songs += read_data(
                Path(entry), settings.stems, require_all=settings.require_all_stems
            ).songs
    return _of_split("train", urls, songs, settings), _of_split("validation", urls, songs, settings)


def _of_split(split: str, urls: list[str], songs: list[Song], settings: RunSettings) -> Songs:
    listed = [song for song in songs if song.split == split]
    tars = [url for url in urls if split_of_url(url) == split]
    names = ", ".join(settings.data)
    if listed and tars:
        raise InputError(f"{split} songs come both from folders and from tar shards: {names}")
    if tars:
        cache = settings.tars.cache or settings.cache / "tars"
        return TarSongs(
            tars,
            settings.stems,
            TarCache(cache, settings.tars.cache_gb * 1e9),
            split=split,
            seed=settings.seed,
            window=settings.tars.window,
            steps_each=settings.tars.steps_each,
            require_all=settings.require_all_stems,
            process=(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))),
        )
    if not listed:
        kind = "training" if split == "train" else split
        raise InputError(f"no {kind} songs in {names}: check their splits")
    return listed


def require_new(folder: Path, init: object) -> None:
    """Raise ``InputError`` if the run in ``folder``, to begin from ``init``, has begun before."""
    if init is not None and (folder / CHECKPOINT).exists():
        raise InputError(
            f"{folder} holds a training that goes on from its own checkpoint: give no weights to "
            "start from, or choose another run folder"
        )


def start(
    stage: Stage,
    settings: RunSettings,
    folder: Path,
    minutes: float,
    device: str,
    songs: Songs | None = None,
) -> None:
    """Train ``stage`` in ``folder`` on ``songs``, from its checkpoint if there is one.

    A run that has made all its steps is left as it is.
    """
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder) if int(os.environ.get("RANK", "0")) == 0 else None
    run = TrainingRun(
        stage,
        folder,
        settings.seed,
        settings.mixed_precision,
        device,
        compile=settings.compile,
        record=record_of(stage, settings, songs),
    )

    def stop(*_: object) -> None:
        run.stop_requested = True

    # save, export, then end
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    is_main = run.accelerator.is_main_process
    try:
        resumed = run.resume()
        if resumed and run.step >= stage.settings.steps and (folder / "export").exists():
            if is_main:
                print(f"already at {run.step} of {stage.settings.steps} steps in {folder}")
            return
        if resumed and is_main:
            print(f"resuming at step {run.step}", *run.changes, sep="; ", flush=True)
        if is_main:
            save_settings(settings, folder / "settings.yaml")
            with closing(RunLog(folder, settings)) as log:
                run.run(log.figures, minutes or math.inf, log.examples)
            print(f"exported to {folder / 'export'}")
        else:
            run.run(None, minutes or math.inf)
    except FloatingPointError as error:
        raise InputError(str(error)) from error
    finally:
        run.accelerator.end_training()
        for number, handler in before.items():
            signal.signal(number, handler)
        if lock is not None:
            lock.close()


def _lock(folder: Path) -> TextIO:
    """A lock that ends with the process; raises ``InputError`` if another training holds it."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"another training is running in {folder}: wait for it, or choose another run folder"
        ) from error
    return file
