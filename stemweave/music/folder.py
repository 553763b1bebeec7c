"""Sheet and score beside the stems of a piece: ``sheet.json`` and ``score.mid``.

Heavy imports wait until a file is read or written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stemweave.music.lead_sheet import LeadSheet
    from stemweave.music.score import Score


def music_files(folder: Path, sheet: LeadSheet | None, score: Score | None) -> dict[str, Path]:
    """Where ``write_music`` writes what is known; a score needs its sheet."""
    from stemweave.music.lead_sheet import SHEET_FILE
    from stemweave.music.midi import SCORE_FILE

    files = {} if sheet is None else {"sheet": folder / SHEET_FILE}
    return files if not files or score is None else {**files, "score": folder / SCORE_FILE}


def write_music(folder: Path, sheet: LeadSheet | None, score: Score | None) -> dict[str, Path]:
    """Write ``sheet.json`` and ``score.mid``, as far as they are known, into ``folder``."""
    from stemweave.io.files import appearing
    from stemweave.music.midi import write_midi

    files = music_files(folder, sheet, score)
    if sheet is not None:
        with appearing(files["sheet"]) as partial:
            partial.write_text(sheet.to_json(), encoding="utf-8")
        if score is not None:
            write_midi(files["score"], score, sheet)
    return files


def read_music(folder: Path) -> tuple[LeadSheet | None, Score | None]:
    """What ``write_music`` wrote; None for what is not there.

    The notes keep their times if the sheet has other beats than they were written on, because
    somebody has corrected them.
    """
    from stemweave.music.lead_sheet import SHEET_FILE, read_sheet
    from stemweave.music.midi import SCORE_FILE, read_midi

    if not (folder / SHEET_FILE).is_file():
        return None, None
    sheet = read_sheet(folder / SHEET_FILE)
    if not (folder / SCORE_FILE).is_file():
        return sheet, None
    score, written_on = read_midi(folder / SCORE_FILE)
    return sheet, _on_beats(score, written_on, sheet)


def _on_beats(score: Score, old: LeadSheet, new: LeadSheet) -> Score:
    """``score`` of the beats of ``old``, counted in those of ``new``."""
    import numpy as np

    from stemweave.music.midi_out import LARGEST_TIMING_ERROR_S
    from stemweave.music.score import Score, ScoreNote

    if old.beats_s is None or new.beats_s is None:
        return score
    shared = min(len(old.beats_s), len(new.beats_s))
    apart_s = np.abs(np.subtract(old.beats_s[:shared], new.beats_s[:shared])).max()
    if apart_s <= 2 * LARGEST_TIMING_ERROR_S:
        return score

    def moved(notes: tuple[ScoreNote, ...]) -> tuple[ScoreNote, ...]:
        ends = np.array([(note.start_beat, note.end_beat) for note in notes]).reshape(-1, 2)
        beats = new.beat_at(old.time_of(ends))
        return tuple(
            ScoreNote(float(start), float(end), note.pitch, note.velocity)
            for (start, end), note in zip(beats, notes, strict=True)
        )

    return Score({stem: moved(notes) for stem, notes in score.notes.items()})
