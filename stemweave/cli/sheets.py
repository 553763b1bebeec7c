"""Options by which commands take a sheet and a score, and the files that keep them beside stems.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from stemweave.model import StemModel
    from stemweave.music.lead_sheet import LeadSheet
    from stemweave.music.score import Score

SheetFile = Annotated[
    Path | None, typer.Option("--sheet", help="sheet.json or a MIDI file: tempo, bars, chords, ...")
]
ScoreFile = Annotated[Path | None, typer.Option("--score", help="MIDI file with the notes to play")]
Tempo = Annotated[float | None, typer.Option(help="beats per minute, steady from 0 s on")]
Metre = Annotated[str | None, typer.Option(help="e.g. 4/4, 3/4, 6/8")]
Key = Annotated[str | None, typer.Option(help='e.g. "A minor"')]
Chords = Annotated[
    str | None, typer.Option(help='bars of chords, which repeat: "Am7 | F | C G/B | %"')
]
Style = Annotated[str | None, typer.Option(help='e.g. "bossa nova"')]
Instruments = Annotated[str | None, typer.Option(help="e.g. guitar=nylon,piano=electric")]
Unconditional = Annotated[
    bool, typer.Option("--unconditional", help="no sheet and no score, whatever there is")
]
NoScore = Annotated[
    bool, typer.Option("--no-score", help="write no notes first: the denoiser decides them")
]


@dataclass(frozen=True)
class SheetOptions:
    """What a command was given of sheet and score."""

    sheet: SheetFile = None
    score: ScoreFile = None
    tempo: Tempo = None
    metre: Metre = None
    key: Key = None
    chords: Chords = None
    style: Style = None
    instruments: Instruments = None
    unconditional: Unconditional = False
    no_score: NoScore = False

    def read(
        self, beside: Path | None = None, with_score: bool = False
    ) -> tuple[LeadSheet | None, Score | None]:
        """Sheet and score that the options name.

        ``--sheet`` counts for more than the score's own sheet, and what is written for more than
        both. Without either file the sheet in the folder ``beside`` is taken, and the score there
        if it is wanted ``with_score``.

        Raises:
            InputError: for what cannot be read or understood, or belongs together with nothing.
        """
        from stemweave.music.lead_sheet import SHEET_FILE, read_sheet
        from stemweave.music.midi import SCORE_FILE, read_midi

        if self.unconditional:
            flags = ("unconditional", "no_score")
            if any(value for name, value in vars(self).items() if name not in flags):
                raise InputError("--unconditional takes no sheet and no score: leave one out")
            return None, None
        sheet, score = None, None
        if self.score is not None:
            score, sheet = read_midi(self.score)
        if self.sheet is not None:
            is_json = self.sheet.suffix.lower() == ".json"
            own = read_sheet(self.sheet) if is_json else read_midi(self.sheet)[1]
            sheet = own if sheet is None else _over(sheet, own)
        elif sheet is None and beside is not None and os.path.isfile(beside / SHEET_FILE):
            sheet = read_sheet(beside / SHEET_FILE)
            if with_score and not self.no_score and os.path.isfile(beside / SCORE_FILE):
                score = read_midi(beside / SCORE_FILE)[0]
        return self._with_text(sheet), score

    def conditions(
        self, pipe: StemModel, sheet: LeadSheet | None, score: Score | None
    ) -> dict[str, Any]:
        """Arguments of a task: none for what only lay beside the piece, if none is understood."""
        asked = any(vars(self).values())
        return {"sheet": sheet, "score": score} if asked or pipe.takes_sheets else {}

    def completed(
        self, pipe: StemModel, given: LeadSheet | None, duration_s: float, seed: int
    ) -> LeadSheet | None:
        """The sheet of a new piece: what is not ``given`` is drawn, if the model understands it.

        A tempo alone is no sheet to a model that does not: it may make bars.
        """
        if self.unconditional:
            return None
        if pipe.takes_sheets:
            from stemweave.tasks.compose import drawn_sheet

            return drawn_sheet(pipe, duration_s, seed, given)
        is_tempo = given is not None and given == type(given)(tempo_bpm=self.tempo)
        return None if is_tempo else given

    def analysed(
        self, pipe: StemModel, sheet: LeadSheet | None, piece: Mapping[str, Tensor], rate: int
    ) -> LeadSheet | None:
        """``sheet``; if it knows no tempo, what the analyser finds and the options change of it."""
        if self.unconditional:
            return None
        from stemweave.tasks.compose import found_sheet

        found = found_sheet(pipe, piece, rate, sheet)
        return found if found is sheet else self._with_text(found)

    def written(
        self,
        pipe: StemModel,
        sheet: LeadSheet | None,
        score: Score | None,
        seed: int,
        new: Collection[str],
    ) -> Score | None:
        """``score`` with the ``new`` stems, written anew if it only lay beside the piece."""
        if self.no_score:
            return score
        from stemweave.music.score import Score
        from stemweave.tasks.compose import with_new_stems

        if score is not None and self.score is None:
            score = Score({stem: own for stem, own in score.notes.items() if stem not in new})
        return with_new_stems(pipe, sheet, score, new, seed)

    def rewritten(
        self,
        pipe: StemModel,
        sheet: LeadSheet | None,
        score: Score | None,
        renewed_s: Mapping[str, tuple[float, float]],
        seed: int,
    ) -> Score | None:
        """``score``, if it lay beside the piece, with the bars that are renewed written anew."""
        if self.score is not None or self.no_score:
            return score
        from stemweave.tasks.compose import with_new_bars

        return with_new_bars(pipe, sheet, score, renewed_s, seed)

    def _with_text(self, sheet: LeadSheet | None) -> LeadSheet | None:
        """``sheet`` with what the options write of it."""
        from stemweave.music.drawing import at_tempo, repeated
        from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet
        from stemweave.music.metre import beats_per_bar

        metre = self.metre
        if metre is None and sheet is not None and self.chords is not None:
            metre = sheet.metre
        written = LeadSheet.from_text(
            self.chords, self.tempo, metre, self.key, self.style, self.instrument_map()
        )
        if sheet is None:
            return written if written != LeadSheet() else None
        kept = replace(written, beats_s=None, downbeats=None, tempo_bpm=None)
        if sheet.beats_s is not None:
            bar_beats = beats_per_bar(written.metre or sheet.metre or DEFAULT_METRE)
            num_beats = len(sheet.beats_s) - 1
            if self.metre is not None:
                sheet = replace(sheet, downbeats=tuple(range(0, num_beats + 1, bar_beats)))
            if kept.chords is not None:
                num_bars = -(-num_beats // bar_beats)
                kept = replace(kept, chords=repeated(kept.chords, bar_beats, num_bars))
        sheet = _over(sheet, kept)
        return sheet if self.tempo is None else at_tempo(sheet, self.tempo)

    def instrument_map(self) -> dict[str, str]:
        """``--instruments`` by stem."""
        pairs = [pair.partition("=") for pair in (self.instruments or "").split(",") if pair]
        if any(not separator for _, separator, _ in pairs):
            raise InputError(
                f"--instruments takes STEM=KIND,STEM=KIND, e.g. guitar=nylon, not "
                f"{self.instruments!r}"
            )
        return {stem.strip(): kind.strip() for stem, _, kind in pairs}


def _over(sheet: LeadSheet, other: LeadSheet) -> LeadSheet:
    """``sheet`` with the fields that ``other`` knows; beats and bars belong together."""
    fields = {name: value for name, value in vars(other).items() if value is not None}
    fields["instruments"] = {**sheet.instruments, **other.instruments}
    if "beats_s" in fields:
        fields["downbeats"] = other.downbeats
    return replace(sheet, **fields)


def summary(sheet: LeadSheet) -> str:
    """One line, e.g. "96 bpm, 4/4, A minor, bossa nova, Am7 F C G/B"."""
    parts = [] if sheet.tempo_bpm is None else [f"{sheet.tempo_bpm:g} bpm"]
    parts += [part for part in (sheet.metre, sheet.key, sheet.style) if part is not None]
    if sheet.chords:
        shown = [change.chord.symbol if change.chord else "N.C." for change in sheet.chords[:8]]
        parts.append(" ".join(shown))
    return ", ".join(parts)
