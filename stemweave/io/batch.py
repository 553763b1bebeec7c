"""From files to files: what the commands do between reading options and printing.

Results of one input appear together when all of them are complete, or not at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from stemweave.audio.waveforms import ResultError, checked
from stemweave.diffusion.sampler import Progress
from stemweave.errors import InputError
from stemweave.io.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES, AudioInfo, AudioReader, probe_audio
from stemweave.io.encode import WriterGroup
from stemweave.io.files import require_absent
from stemweave.io.fitting import changes, common_shape, fitted
from stemweave.io.mixtures import Separation, stem_files
from stemweave.io.records import RECORD
from stemweave.io.separation_record import record_text
from stemweave.stems import MIXTURE, stem_of_file
from stemweave.tasks import requests
from stemweave.tasks.sampling import Sampling

if TYPE_CHECKING:
    from stemweave.model import StemModel

logger = logging.getLogger(__name__)


def separate_file(
    pipe: StemModel, path: Path, out: Path, asked: Separation, progress: Progress | None = None
) -> dict[str, Path]:
    """Write ``out/<stem>.<suffix>`` for every stem, of the input's rate, channels and length.

    But for optional ones that are silent. Also ``out/<name>.<suffix>`` for each of the sums, and
    ``out/separation.json`` (``separation_record``). Returns the audio files.
    """
    began_s = time.perf_counter()
    files = stem_files(out, asked)
    require_absent(list(files.values()), asked.may_replace)
    needed = {*asked.stems, *chain(*asked.sums.values())}
    settings = dict(guidance=asked.guidance, steps=asked.steps, seed=asked.seed)
    with AudioReader(path) as reader:
        info = reader.info
        if info.shortfall:
            logger.warning(info.shortfall)
        requests.check_channels(info.channels, str(path))

        def record(gain: float) -> str:
            left_out = [name for name in files if name not in group.writers]
            chosen = pipe.separation_method(asked.method, asked.guidance, asked.steps)
            taken_s = time.perf_counter() - began_s
            used = dict(method=chosen, **settings)
            return record_text(info, pipe, files, asked.encoding, used, gain, taken_s, left_out)

        generator = torch.Generator().manual_seed(asked.seed)
        blocks = pipe.separate_blocks(
            reader,
            info.num_samples,
            info.sample_rate,
            stems=[stem for stem in pipe.separated_stems if stem in needed],
            method=cast(Any, asked.method),
            sampling=Sampling(asked.steps, asked.guidance, generator=generator, progress=progress),
        )
        group = WriterGroup(
            files,
            info.sample_rate,
            info.channels,
            asked.encoding,
            info.num_samples,
            texts={out / RECORD: record},
            optional=asked.optional,
        )
        with group, naming(path):
            for block in blocks:
                group.write({stem: block[stem] for stem in asked.stems})
                for name, parts in asked.sums.items():
                    first, *others = (block[stem] for stem in parts)
                    total = sum(others, first)
                    group.write(checked({name: total}, first.shape[-1]))
    return {name: path for name, path in files.items() if name in group.writers}


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A result that cannot be written is said to be that of ``path``."""
    try:
        yield
    except ResultError as error:
        raise ResultError(f"{path}: {error}") from error


def read_given(given: Mapping[str, Path]) -> tuple[dict[str, torch.Tensor], int]:
    """Waveforms of equal rate, channels and length, and the rate.

    Files that are mono, shorter or of a lower rate are brought to the others' shape (``fitting``),
    and a warning says so. Raises ``InputError`` for channels that cannot be, or too many, and for
    files that are too long, before anything is held in memory.
    """
    infos: dict[str, AudioInfo] = {}
    for stem, path in given.items():
        infos[stem] = probe_audio(path)
        if shortfall := infos[stem].shortfall:
            logger.warning(shortfall)
        requests.check_duration(infos[stem].duration_s, str(path))
        requests.check_channels(infos[stem].channels, str(path))
    shape = common_shape(infos, {stem: str(path) for stem, path in given.items()})
    waveforms: dict[str, torch.Tensor] = {}
    for stem, path in given.items():
        with AudioReader(path) as reader:
            waveforms[stem] = torch.cat(list(fitted(reader, infos[stem], shape)), dim=1)
        for change in changes(infos[stem], str(path), shape):
            logger.warning(change)
    return waveforms, shape.sample_rate


def read_piece(source: Path, pipe: StemModel) -> tuple[dict[str, torch.Tensor], int]:
    """Waveforms of a folder's stem files and mixture, or of a mixture file, and the rate.

    Files of a folder are known by their names (``bass.wav``, ``My Song - Bass.flac``,
    ``mixture.flac``); others are left alone. Raises ``InputError`` if there is none that the model
    makes and no mixture, if there are two of one name, or ones that do not go together.
    """
    if not source.is_dir():
        return read_given({MIXTURE: source})
    files: dict[str, Path] = {}
    for path in sorted(source.iterdir()):
        stem = stem_of_file(path.stem, (*pipe.separated_stems, MIXTURE))
        if stem is None or path.suffix.lower() not in AUDIO_SUFFIXES + VIDEO_SUFFIXES:
            continue
        if stem in files:
            raise InputError(f"{source} has both {files[stem].name} and {path.name}: keep one")
        files[stem] = path
    if files.keys().isdisjoint((*pipe.stems, MIXTURE)):
        raise InputError(
            f"{source} holds no audio file named {', '.join(pipe.stems)} or {MIXTURE}: give a "
            "folder of stems or a mixture file"
        )
    return read_given(files)
