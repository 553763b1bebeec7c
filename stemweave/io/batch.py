"""From files to files: what the commands do between reading options and printing.

Results of one input appear together when all of them are complete, or not at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stemweave.audio.waveforms import ResultError, checked
from stemweave.diffusion.sampler import Progress
from stemweave.errors import InputError
from stemweave.io.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES, AudioInfo, AudioReader
from stemweave.io.encode import AudioWriter, Document, WriterGroup
from stemweave.io.encoding import Encoding, encoding_of
from stemweave.io.files import require_absent
from stemweave.io.records import RECORD
from stemweave.io.separation_record import record_text
from stemweave.stems import MIXTURE
from stemweave.tasks import requests

if TYPE_CHECKING:
    from stemweave.model import StemModel
    from stemweave.tasks.requests import Method

logger = logging.getLogger(__name__)


def separate_file(
    pipe: StemModel,
    path: Path,
    out: Path,
    *,
    stems: Sequence[str],
    sums: Mapping[str, Sequence[str]] | None = None,
    encoding: str | Encoding = "wav",
    method: Method | None = None,
    guidance: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Write ``out/<stem>.<suffix>`` for every stem, of the input's rate, channels and length.

    Also ``out/<name>.<suffix>`` for each of ``sums``, which says the stems to add up by name, and
    ``out/separation.json`` (``separation_record``). Returns the audio files.
    """
    began_s = time.perf_counter()
    sums, encoding = sums or {}, encoding_of(encoding)
    files = {name: out / f"{name}.{encoding}" for name in (*stems, *sums)}
    require_absent(list(files.values()), overwrite)
    needed = [stem for stem in pipe.stems if stem in {*stems, *chain(*sums.values())}]
    with AudioReader(path) as reader:
        info = reader.info
        warn_of_shortfall(info)
        requests.check_channels(info.channels)

        def record(gain: float) -> str:
            chosen = pipe.separation_method(method, guidance, steps)
            settings = dict(method=chosen, guidance=guidance, steps=steps, seed=seed)
            taken_s = time.perf_counter() - began_s
            return record_text(info, pipe, files, encoding, settings, gain, taken_s)

        writers = open_writers(files, info.sample_rate, info.channels, encoding, info.num_samples)
        with WriterGroup(writers, [Document(out / RECORD, record)]) as group, naming(path):
            for block in pipe.separate_blocks(
                reader,
                info.num_samples,
                info.sample_rate,
                stems=needed,
                method=method,
                guidance=guidance,
                steps=steps,
                generator=torch.Generator().manual_seed(seed),
                progress=progress,
            ):
                group.write({stem: block[stem] for stem in stems})
                for name, parts in sums.items():
                    first, *others = (block[stem] for stem in parts)
                    total = sum(others, first)
                    group.write(checked({name: total}, first.shape[-1]))
    return files


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A result that cannot be written is said to be that of ``path``."""
    try:
        yield
    except ResultError as error:
        raise ResultError(f"{path}: {error}") from error


def open_writers(
    files: Mapping[str, Path],
    sample_rate: int,
    channels: int,
    encoding: str | Encoding,
    num_samples: int | None = None,
) -> dict[str, AudioWriter]:
    """A writer for each file; if one cannot be opened, none stays behind."""
    writers: dict[str, AudioWriter] = {}
    try:
        for name, path in files.items():
            writers[name] = AudioWriter(path, sample_rate, channels, encoding, num_samples)
    except BaseException:
        for writer in reversed(writers.values()):
            writer.discard()
        raise
    return writers


def write_stems(
    out: Path,
    waveforms: Mapping[str, torch.Tensor],
    sample_rate: int,
    encoding: str | Encoding,
    overwrite: bool,
) -> dict[str, Path]:
    """Write ``out/<name>.<suffix>`` for every waveform (channels, samples), all or none."""
    files = {name: out / f"{name}.{encoding}" for name in waveforms}
    require_absent(list(files.values()), overwrite)
    channels = next(iter(waveforms.values())).shape[0]
    with WriterGroup(open_writers(files, sample_rate, channels, encoding)) as group:
        group.write(waveforms)
    return files


def read_given(given: Mapping[str, Path]) -> tuple[dict[str, torch.Tensor], int]:
    """Waveforms of equal rate, channels and length, and the rate; ``InputError`` otherwise."""
    waveforms: dict[str, torch.Tensor] = {}
    first: tuple[Path, int, torch.Size] | None = None
    for stem, path in given.items():
        with AudioReader(path) as reader:
            warn_of_shortfall(reader.info)
            requests.check_duration(reader.info.duration_s, str(path))
            waveform, sample_rate = reader(0, reader.info.num_samples), reader.info.sample_rate
        if first is None:
            first = (path, sample_rate, waveform.shape)
        elif (sample_rate, waveform.shape) != first[1:]:
            raise InputError(
                f"{path} ({describe(waveform, sample_rate)}) does not match {first[0]} "
                f"({first[2][0]} channels, {first[2][1]} samples, {first[1]} Hz): give stems of "
                "one song, of equal length, channels and sample rate"
            )
        waveforms[stem] = waveform
    assert first is not None
    return waveforms, first[1]


def read_piece(source: Path, stems: Sequence[str]) -> tuple[dict[str, torch.Tensor], int]:
    """Waveforms of a folder's stem files and mixture, or of a mixture file, and the rate.

    Files of a folder are known by their names (``bass.wav``, ``mixture.flac``); others are left
    alone. Raises ``InputError`` if there are none, two of one name, or unequal ones.
    """
    if not source.is_dir():
        return read_given({MIXTURE: source})
    files: dict[str, Path] = {}
    for path in sorted(source.iterdir()):
        if path.suffix.lower() not in AUDIO_SUFFIXES + VIDEO_SUFFIXES:
            continue
        if path.stem not in (*stems, MIXTURE):
            continue
        if path.stem in files:
            raise InputError(f"{source} has both {files[path.stem].name} and {path.name}: keep one")
        files[path.stem] = path
    if not files:
        raise InputError(
            f"{source} holds no audio file named {', '.join(stems)} or {MIXTURE}: give a folder of "
            "stems or a mixture file"
        )
    return read_given(files)


def warn_of_shortfall(info: AudioInfo) -> None:
    """Say in one line if a file holds less than it states."""
    if info.shortfall:
        logger.warning(info.shortfall)


def describe(waveform: torch.Tensor, sample_rate: int) -> str:
    """Channels, samples and rate in words."""
    return f"{waveform.shape[0]} channels, {waveform.shape[1]} samples, {sample_rate} Hz"
