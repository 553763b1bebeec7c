"""The sheet and the score of a piece as conditions of each window that is drawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from stemweave.errors import InputError
from stemweave.models.conditions import Conditions, conditions_of
from stemweave.models.parts import Parts
from stemweave.music.drawing import lasting
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.rolls import TimedNotes, score_end_s, timed_notes
from stemweave.music.score import Score
from stemweave.tasks.sampling import Sampling

SHORTEST_S = 0.15
"""What any note sounds for, however short it is written: drum hits are."""


@dataclass(frozen=True)
class Conditioning:
    """What is known of a piece, for a denoiser that understands it.

    Missing stems of ``notes`` (in seconds) and ``sounds`` (of the training songs) are unknown, as
    all notes are from ``notes_until_s`` on. ``guidance`` other than 1 takes two network passes a
    step, at timesteps from ``guidance_from`` on. The task's latents begin at ``start_s`` in sheet
    and score.
    """

    sheet: LeadSheet | None = None
    notes: TimedNotes | None = None
    notes_until_s: float = math.inf
    sounds: Mapping[str, str] = field(default_factory=dict)
    guidance: float = 1.0
    guidance_from: int = 0
    start_s: float = 0.0

    def beginning_at(self, start_s: float) -> Conditioning:
        """The same for latents that begin at another time."""
        return replace(self, start_s=start_s)

    def window(self, parts: Parts, first: int, num_positions: int) -> Conditions:
        """Conditions of positions ``first`` … of the task's latents (B = 1)."""
        return conditions_of(
            parts.config_of("denoiser"),
            self.sheet,
            self.notes,
            self.start_s + first * parts.position_s,
            num_positions,
            parts.position_s,
            self.sounds,
            self.notes_until_s,
        )

    def sounding(
        self, stems: Sequence[str], num_frames: int, frame_s: float, tail_s: float = 0.0
    ) -> Tensor | None:
        """In which of the first frames of the task's latents stems sound, (S, F) bool.

        True from each note's begin to ``tail_s`` after its end, and where nothing is known of
        notes; None if nothing is of any.
        """
        if self.notes is None:
            return None
        frames = torch.ones(len(stems), num_frames, dtype=torch.bool)
        written = min(max(0.0, (self.notes_until_s - self.start_s) / frame_s), num_frames)
        for own, stem in zip(frames, stems, strict=True):
            if stem not in self.notes:
                continue
            own[: round(written)] = False
            for start_s, end_s in self.notes[stem][:, :2]:
                end_s = max(end_s, start_s + SHORTEST_S) + tail_s
                first = math.floor((start_s - self.start_s) / frame_s)
                stop = math.ceil((end_s - self.start_s) / frame_s)
                own[max(0, first) : max(0, stop)] = True
        return frames


def conditioning_of(
    parts: Parts,
    sheet: LeadSheet | None,
    score: Score | None,
    sampling: Sampling,
    duration_s: float,
    *,
    new_stems: Sequence[str] = (),
) -> Conditioning | None:
    """The conditions of a piece of ``duration_s``; None without sheet and score.

    Sounds of ``new_stems`` are drawn as often as in training. Raises ``InputError`` if the model
    understands neither, or for a score without the beats that it counts in.
    """
    if sheet is None and score is None:
        return None
    if not parts.takes_sheets:
        raise InputError("this model understands no sheet and no score: leave them out")
    sheet = None if sheet is None else lasting(sheet, duration_s)
    notes, until_s = None, math.inf
    if score is not None:
        if sheet is None or sheet.beats_s is None:
            raise InputError("a score counts in beats: give a tempo, or a sheet with its beats")
        notes = timed_notes(score, sheet)
        until_s = score_end_s(score, sheet) or math.inf
    sounds = draw_sounds(parts, new_stems, sampling.generator)
    guidance = cast(float, sampling.condition_guidance)
    first_timestep = parts.config.condition_guidance_from
    return Conditioning(sheet, notes, until_s, sounds, guidance, first_timestep)


def draw_sounds(
    parts: Parts, stems: Sequence[str], generator: torch.Generator | None
) -> dict[str, str]:
    """A sound of the training songs for each of ``stems``, usual ones more often."""
    vocabulary = parts.config_of("denoiser").vocabulary
    drawn = {}
    for stem in stems:
        sounds: Collection[str] = vocabulary["sounds"].get(stem, ())
        if sounds:
            counts = sounds.values() if isinstance(sounds, Mapping) else [1] * len(sounds)
            weights = torch.tensor([float(count) for count in counts])
            index = int(torch.multinomial(weights, 1, generator=generator))
            drawn[stem] = list(sounds)[index]
    return drawn
