"""What ``generate``, ``arrange``, ``edit``, ``extend`` and ``vary`` share.

That is reading a piece, refusing before any work what cannot be done, and writing what was made.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemweave.cli.console import console
from stemweave.cli.options import Bar, Common, plot_if, uncollected
from stemweave.cli.sheets import SheetOptions
from stemweave.errors import InputError
from stemweave.io.encode import check_format
from stemweave.io.files import remove_left, require_absent, require_writable
from stemweave.io.records import PICTURE, PIECE_RECORD, is_foreign
from stemweave.music.folder import music_files, write_music
from stemweave.stems import MIXTURE

if TYPE_CHECKING:
    from stemweave.io.piece import Piece, RecordText
    from stemweave.model import StemModel
    from stemweave.music.lead_sheet import LeadSheet
    from stemweave.music.score import Score


class Change:
    """The piece in ``source``, of which a command makes another in ``out``.

    Raises:
        InputError: if there is none that can be read, or no room for the other.
    """

    def __init__(self, source: Path, out: Path, options: SheetOptions, common: Common) -> None:
        self.source, self.out, self.options, self.common = source, out, options, common
        encoding = common.encoding  # refused before a model is loaded
        self.pipe = common.load()
        from stemweave.io.batch import read_piece

        self.piece, self.sample_rate = read_piece(source, self.pipe)
        one = next(iter(self.piece.values()))
        self.duration_s = one.shape[-1] / self.sample_rate
        check_format(encoding, len(one))
        names = (*self.pipe.separated_stems, MIXTURE)
        require_absent([out / f"{name}.{encoding}" for name in names], common.overwrite)
        require_room(out, common)

    def write(
        self,
        name: str,
        task: Callable[..., Piece],
        settings: Mapping[str, Any],
        new_s: Mapping[str, tuple[float, float]] | None = None,
        with_score: bool = False,
    ) -> None:
        """Read the sheet, and the score if wanted; change the piece, write the result.

        ``task`` of (piece, sample_rate, sheet=, score=, sampling=) is called ``name`` and has
        ``settings``; ``new_s`` are the seconds between which each stem is new.
        """
        from stemweave.io.batch import naming
        from stemweave.music.drawing import lasting

        pipe, options, common = self.pipe, self.options, self.common
        folder = self.source if self.source.is_dir() else None
        sheet, score = options.read(folder, with_score)
        sheet = options.analysed(pipe, sheet, self.piece, self.sample_rate)
        if new_s is not None and sheet is not None and score is not None:
            score = options.rewritten(pipe, sheet, score, new_s, common.seed)
        require_absent(list(music_files(self.out, sheet, score).values()), common.overwrite)
        require_writable(self.out)
        with Bar(f"{name}ing") as progress, naming(self.source):
            conditions = options.conditions(pipe, sheet, score)
            sampling = common.sampling(progress)
            changed = task(self.piece, self.sample_rate, **conditions, sampling=sampling)
        if sheet is not None:
            sheet = lasting(sheet, changed[MIXTURE].shape[-1] / self.sample_rate)
        record = record_of(name, pipe, common, options, settings)
        write_piece(self.out, changed, sheet, score, common, record)


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
    settings: Mapping[str, Any],
    index: int = 0,
) -> RecordText:
    """The text of ``piece.json`` for the files and their gain."""
    from stemweave.io.separation_record import piece_text

    given = {name: str(value) for name, value in vars(options).items() if value}
    drawn = {"seed": common.seed + index, "steps": common.steps, "sampler": common.sampler}
    return partial(piece_text, task, pipe, {**drawn, **settings, **given})


def write_piece(
    out: Path,
    piece: Piece,
    sheet: LeadSheet | None,
    score: Score | None,
    common: Common,
    record: RecordText,
) -> None:
    """Write a piece with its record and music, and its picture if wanted, and say so."""
    written = piece.save(out, common.encoding, common.overwrite, record)
    music = write_music(out, sheet, score)
    plot_if(common.plot, written, out)
    files = {name: str(path) for name, path in (written | music).items()}
    console.give({"folder": str(out), "files": files}, str(out))


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
