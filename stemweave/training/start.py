"""Begin or resume a run: songs, components, logs."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import sys
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from accelerate.utils import set_seed

from stemweave.data import damage
from stemweave.data.checking import hours_table, is_audible
from stemweave.data.crop_pack import is_pack, read_pack
from stemweave.data.readers import Findings, read_data
from stemweave.data.songs import Song
from stemweave.data.tar_cache import TarCache, split_of_url, tar_urls
from stemweave.data.tar_songs import Songs, TarSongs
from stemweave.errors import InputError
from stemweave.io.ends import SIGNALS, is_heeded
from stemweave.models.memory import keep_freed_memory
from stemweave.training.identity import record_of
from stemweave.training.logs import RunLog
from stemweave.training.loop import TrainingRun
from stemweave.training.run_folder import name_last
from stemweave.training.settings import RunSettings, load_settings, save_settings
from stemweave.training.stage_settings import Stage


def prepare(
    config: Path, changes: Sequence[str] | None = None, kind: type[RunSettings] = RunSettings
) -> RunSettings:
    """Settings of a run (``load_settings``); seeds the first weights of whatever is built next."""
    settings = load_settings(config, kind, changes or ())
    set_seed(settings.seed)
    return settings


def load_songs(
    settings: RunSettings, quiet: bool = False, may_be_packed: bool = False
) -> tuple[Songs, Songs]:
    """Training and validation songs of all data; says what there is of every stem and split.

    Raises:
        InputError: if there are none, or a stem is in none of the training songs, or if there is a
            pack of crops beside other data or where songs are wanted.
    """
    packs = list(filter(is_pack, settings.data))
    if packs:
        if not may_be_packed or len(settings.data) > 1:
            raise InputError(
                f"{packs[0]} is a pack of crops: it is for train denoiser, and its only data"
            )
        return read_pack(Path(packs[0]))
    urls: list[str] = []
    findings = Findings("")
    for entry in settings.data:
        tars = tar_urls(entry)
        urls += tars
        if not tars:
            found = read_data(
                Path(entry),
                settings.stems,
                require_all=settings.require_all_stems,
                classes=settings.classes,
                layout=settings.layout,
            )
            for name in ("songs", "skipped", "notes"):
                getattr(findings, name).extend(getattr(found, name))
    findings.songs = with_validation(findings.songs, settings.validation)
    if findings.songs and not quiet and int(os.environ.get("RANK", "0")) == 0:
        print(*hours_table(findings.songs, settings.stems), sep="\n")
        for what, some in (("noted", findings.notes), ("skipped", findings.skipped)):
            for one in some:
                print(f"{what} {one.folder}: {one.reason}")
    train, validation = (
        _of_split(split, urls, findings.songs, settings) for split in ("train", "validation")
    )
    if not quiet:
        require_audible(settings.stems, train)
    return train, validation


def require_audible(stems: Sequence[str], songs: Songs) -> None:
    """Raise ``InputError`` for a stem that sounds in none of the songs: it would train as silence.

    Of every stem, files are decoded until one is found that sounds.
    """
    windows: Iterable[Sequence[Song]] = [songs] if not isinstance(songs, TarSongs) else songs.all()
    silent = list(stems)
    for window in windows:
        silent = [stem for stem in silent if not any(is_audible(song, stem) for song in window)]
        if not silent:
            return
    raise InputError(
        f"no training song has {', '.join(sorted(silent))}, or only silence of it: take it out of "
        "stems, or add songs"
    )


def with_validation(songs: list[Song], wanted: float | tuple[str, ...] | None) -> list[Song]:
    """``songs`` with those held out for validation that are wanted, and at least one.

    Test songs stay test songs. Without a wish they are as they are, if any is held out.

    Raises ``InputError`` if a wanted song is not there, or there is nothing to hold out from.
    """
    own = [song for song in songs if song.split != "test"]
    if wanted is None and (len(own) < 2 or any(song.split == "validation" for song in own)):
        return songs
    if isinstance(wanted, tuple):
        missing = set(wanted) - {song.name for song in own}
        if missing:
            raise InputError(f"validation: there is no song {', '.join(sorted(missing))}")
        held_out = {song.folder for song in own if song.name in wanted}
    else:
        number = max(1, round((wanted or 0.0) * len(own)))
        by_name = sorted(own, key=lambda song: (zlib.crc32(song.name.encode()), song.folder))
        held_out = {song.folder for song in by_name[:number]}
    return [
        song
        if song.split == "test"
        else replace(song, split="validation" if song.folder in held_out else "train")
        for song in songs
    ]


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


def start(
    stage: Stage,
    settings: RunSettings,
    folder: Path,
    minutes: float,
    device: str,
    songs: Songs | None = None,
) -> None:
    """Train ``stage`` in ``folder`` on ``songs``, from its checkpoint if there is one.

    A run that has made all its steps is left as it is. A signal ends it after the current step,
    with a checkpoint and an export, and the process with 128 + the signal's number.
    """
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder) if int(os.environ.get("RANK", "0")) == 0 else None
    if lock is not None:
        name_last(folder)
    run = TrainingRun(
        stage,
        folder,
        settings.seed,
        settings.mixed_precision,
        device,
        compile=settings.compile,
        record=record_of(stage, settings, songs),
    )

    ended_by: list[int] = []

    def stop(number: int, _: object) -> None:
        run.stop_requested = True
        ended_by.append(number)

    # save, export, then end
    before = {number: signal.signal(number, stop) for number in SIGNALS if is_heeded(number)}
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
            if not resumed and hasattr(stage, "keep_start"):
                stage.keep_start(folder)
            with closing(RunLog(folder, settings, run.step)) as log:
                run.run(log.figures, minutes or math.inf, log.examples)
            print(f"exported to {folder / 'export'}")
            for path, reason in damage.found.items():
                print(f"passed by: {path} {reason}")
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
    if ended_by:  # so that a script does not go on to a stage that needs the whole run
        sys.exit(128 + ended_by[0])


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
