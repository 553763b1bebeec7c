"""What ``generate``, ``arrange``, ``edit``, ``extend`` and ``vary`` share.

That is reading a piece, refusing before any work what cannot be done, and writing what was made.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemweave.cli.options import Bar, Common, give_folder, plot_if, uncollected
from stemweave.cli.sheets import SheetOptions
from stemweave.errors import InputError
from stemweave.io.encode import check_format
from stemweave.io.files import remove_left, require_absent, require_writable
from stemweave.io.records import PICTURE, PIECE_RECORD, is_foreign
from stemweave.music.folder import music_files, write_music
from stemweave.stems import MIXTURE

if TYPE_CHECKING:
    from torch import Tensor

    from stemweave.io.piece import Piece
    from stemweave.model import StemModel
    from stemweave.music.lead_sheet import LeadSheet
    from stemweave.music.score import Score

RecordText = Callable[[Mapping[str, Path], int, float], str]
"""Of the files of a piece, their sample rate and their gain."""


@dataclass(frozen=True)
class Change:
    """What a command does to a piece.

    Attributes:
        label: of its bar.
        check: (piece, sample_rate) raises ``InputError`` if this piece cannot be changed so.
        task: (piece, sample_rate, sheet=, score=, sampling=) → the changed piece.
        record: of what it makes.
        new_s: of the piece's seconds: between which each stem is new.
    """

    label: str
    check: Callable[[Mapping[str, Tensor], int], object]
    task: Callable[..., Piece]
    record: RecordText
    new_s: Callable[[float], dict[str, tuple[float, float]]] | None = None


def change_piece(
    pipe: StemModel, source: Path, out: Path, change: Change, options: SheetOptions, common: Common
) -> None:
    """Read the piece and its sheet, change it, write the result."""
    from stemweave.io.batch import naming, read_piece
    from stemweave.music.drawing import lasting

    encoding, overwrite, seed = common.encoding, common.overwrite, common.seed
    piece, sample_rate = read_piece(source, pipe)
    check_format(encoding, len(next(iter(piece.values()))))
    names = (*pipe.separated_stems, MIXTURE)
    require_absent([out / f"{name}.{encoding}" for name in names], overwrite)
    require_room(out, common)
    change.check(piece, sample_rate)
    folder = source if source.is_dir() else None
    writes = change.label == "extending" or (change.label == "editing" and pipe.writes_scores)
    sheet, score = options.read(folder, with_score=writes)
    duration_s = next(iter(piece.values())).shape[-1] / sample_rate
    sheet = options.analysed(pipe, sheet, piece, sample_rate)
    if change.new_s is not None and sheet is not None and score is not None:
        score = options.rewritten(pipe, sheet, score, change.new_s(duration_s), seed)
    require_absent(list(music_files(out, sheet, score).values()), overwrite)
    require_writable(out)
    with Bar(change.label) as progress, naming(source):
        changed = change.task(
            piece,
            sample_rate,
            **options.conditions(pipe, sheet, score),
            sampling=common.sampling(progress),
        )
    if sheet is not None:
        sheet = lasting(sheet, changed[MIXTURE].shape[-1] / sample_rate)
    write_piece(out, changed, sheet, score, common, change.record)


def check_length(seconds: float) -> None:
    """``requests.check_seconds``, before a model is loaded."""
    with uncollected():
        from stemweave.tasks.requests import check_seconds
    check_seconds(seconds)


def require_room(out: Path, common: Common) -> None:
    """Raise ``ExistsError`` for a picture or somebody else's ``piece.json`` that would give way."""
    in_the_way = [out / PICTURE] if common.plot else []
    if is_foreign(out, PIECE_RECORD):
        in_the_way.append(out / PIECE_RECORD)
    require_absent(in_the_way, common.overwrite)


def numbered_folders(out: Path, number: int, overwrite: bool) -> list[Path]:
    """Folders for pieces, ``out/0`` and so on; what killed runs left there is removed.

    Raises:
        ExistsError: if there is one, unless ``overwrite``.
        OutputError: if nothing can be written to ``out``.
    """
    folders = [out / str(index) for index in range(number)]
    for folder in folders:
        if os.path.isdir(folder):
            remove_left(folder)
            with suppress(OSError):  # there is more in it, or it is a link
                folder.rmdir()
    require_absent(folders, overwrite)
    require_writable(out)
    return folders


def record_of(
    task: str,
    pipe: StemModel,
    common: Common,
    options: SheetOptions,
    index: int = 0,
    **settings: Any,
) -> RecordText:
    """The text of ``piece.json`` for the files and their gain."""
    from stemweave.io.piece_record import record_text

    given = {name: str(value) for name, value in vars(options).items() if value}
    drawn = {"seed": common.seed + index, "steps": common.steps, "sampler": common.sampler}
    return partial(record_text, task, pipe, {**drawn, **settings, **given})


def write_piece(
    out: Path,
    piece: Piece,
    sheet: LeadSheet | None,
    score: Score | None,
    common: Common,
    record: RecordText,
) -> None:
    """Write a piece with its record and music, and its picture if wanted, and say so."""
    from stemweave.io.encode import Document
    from stemweave.io.piece import write_stems

    encoding = common.encoding
    files = {name: out / f"{name}.{encoding}" for name in piece}
    document = Document(out / PIECE_RECORD, partial(record, files, piece.sample_rate))
    written = write_stems(out, piece, piece.sample_rate, encoding, common.overwrite, [document])
    music = write_music(out, sheet, score)
    plot_if(common.plot, written, out)
    give_folder(out, written | music)


def given_files(given: list[str]) -> dict[str, Path]:
    """Files by the names that ``--given NAME=FILE`` gives them; raises ``InputError``."""
    files: dict[str, Path] = {}
    for entry in given:
        name, separator, file = entry.partition("=")
        if not separator or not name or not file:
            raise InputError(f"--given takes NAME=FILE, e.g. bass=bass.wav, not {entry!r}")
        if name in files:
            raise InputError(f"--given names {name} twice")
        files[name] = Path(file)
    return files
