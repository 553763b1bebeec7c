"""Scores: the notes of each stem, counted in the felt beats of a lead sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreNote:
    """Start and end in beats, MIDI pitch 0–127 (drums: General MIDI drum key), velocity 1–127."""

    start_beat: float
    end_beat: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Score:
    """Notes by stem, sorted by start and pitch. A missing stem is unknown, an empty one is silent.

    Raises:
        ValueError: for a note that MIDI does not know, or that ends before it starts.
    """

    notes: Mapping[str, tuple[ScoreNote, ...]]

    def __post_init__(self) -> None:
        for stem, notes in self.notes.items():
            for note in notes:
                in_range = 0 <= note.pitch <= 127 and 1 <= note.velocity <= 127
                if not in_range or not note.start_beat <= note.end_beat < float("inf"):
                    raise ValueError(f"{stem} has a note that cannot be played: {note}")
        ordered = {stem: tuple(sorted(notes, key=_order)) for stem, notes in self.notes.items()}
        object.__setattr__(self, "notes", ordered)

    @property
    def end_beat(self) -> float:
        """When the last note ends; 0 without notes."""
        return max((n.end_beat for notes in self.notes.values() for n in notes), default=0.0)

    def with_notes(
        self, stem: str, start_beat: float, end_beat: float, notes: Iterable[ScoreNote]
    ) -> Score:
        """This score, but ``notes`` instead of what ``stem`` begins to play between two beats."""
        kept = [
            note
            for note in self.notes.get(stem, ())
            if not start_beat - 0.01 <= note.start_beat < end_beat - 0.01
        ]
        return Score({**self.notes, stem: playable([*kept, *notes])})

    def excerpt(self, start_beat: float, end_beat: float) -> Score:
        """Notes that sound between two beats, cut there and counted from the first."""
        return Score(
            {
                stem: tuple(
                    ScoreNote(
                        max(note.start_beat, start_beat) - start_beat,
                        min(note.end_beat, end_beat) - start_beat,
                        note.pitch,
                        note.velocity,
                    )
                    for note in notes
                    if note.start_beat < end_beat and note.end_beat > start_beat
                )
                for stem, notes in self.notes.items()
            }
        )


def _order(note: ScoreNote) -> tuple[float, int, float, int]:
    return note.start_beat, note.pitch, note.end_beat, note.velocity


def playable(notes: Iterable[ScoreNote]) -> tuple[ScoreNote, ...]:
    """Notes that one instrument can play: a pitch that is struck again ends first.

    Of notes that begin at once with one pitch the longest stays, as loud as the loudest.
    """
    sounding: dict[int, ScoreNote] = {}
    kept: list[ScoreNote] = []
    for note in sorted(notes, key=_order):
        before = sounding.get(note.pitch)
        if before is not None and before.start_beat == note.start_beat:
            velocity = max(before.velocity, note.velocity)
            sounding[note.pitch] = ScoreNote(note.start_beat, note.end_beat, note.pitch, velocity)
            continue
        if before is not None:
            end_beat = min(before.end_beat, note.start_beat)
            kept.append(ScoreNote(before.start_beat, end_beat, before.pitch, before.velocity))
        sounding[note.pitch] = note
    return tuple(sorted([*kept, *sounding.values()], key=_order))
