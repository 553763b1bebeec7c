"""Pieces to score: what a model generates of nothing, of real songs' sheets, or of their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from stemweave.data.song_conditions import read_song_conditions
from stemweave.errors import InputError
from stemweave.evaluation.segments import Segment
from stemweave.music.midi import SCORE_FILE, read_midi
from stemweave.tasks.compose import drawn_sheet, with_new_stems

Kind = Literal["new", "score", "sheet", "nothing"]
"""What a generator plays: a sheet and notes of its own, as ``stemweave generate``, or the score,
the sheet or nothing of a real song."""
KIND_ROWS: dict[Kind, str] = {
    "new": "ours, of its own notes",
    "score": "ours, of scores",
    "sheet": "ours, of sheets alone",
    "nothing": "ours, of nothing",
}
"""Names of the rows of all kinds but the first that is asked for."""

Generator = Callable[[int], Tensor]
"""A system to score: seed → the stems (S, T) of one window at the model's rate."""


def pipeline_generator(pipe: Any, duration_s: float, settings: dict[str, Any]) -> Generator:
    """``pipe.generate``, mono at the model's rate."""
    sample_rate = pipe.log_mel.config.sample_rate
    length = round(duration_s * sample_rate)

    def generate(seed: int) -> Tensor:
        piece = pipe.generate(
            seconds=duration_s,
            sample_rate=sample_rate,
            mono=True,
            generator=torch.Generator().manual_seed(seed),
            **settings,
        )
        stems = torch.stack([piece[stem].reshape(-1) for stem in pipe.denoiser.config.stems])
        return torch.nn.functional.pad(stems, (0, max(0, length - stems.shape[-1])))[:, :length]

    return generate


def own_generator(
    pipe: Any,
    duration_s: float,
    settings: dict[str, Any],
    kind: Kind,
    segments: Sequence[Segment],
    first_seed: int,
) -> Generator:
    """``pipe.generate`` with the ``kind`` of conditions of one segment after the other.

    A new piece has a sheet that is drawn and notes that are written, by the seed.
    """

    def generate(seed: int) -> Tensor:
        own = dict(settings)
        if kind == "new":
            own["sheet"] = sheet = drawn_sheet(pipe, duration_s, seed)
            own["score"] = with_new_stems(pipe, sheet, None, pipe.stems, seed)
        elif kind != "nothing":
            segment = segments[(seed - first_seed) % len(segments)]
            song = read_song_conditions(segment.folder)
            assert song.sheet is not None and song.sheet.beats_s is not None
            beats_s = tuple(time - segment.start_s for time in song.sheet.beats_s)
            own["sheet"] = replace(song.sheet, beats_s=beats_s)
            own["score"] = read_midi(segment.folder / SCORE_FILE)[0] if kind == "score" else None
        return pipeline_generator(pipe, duration_s, own)(seed)

    return generate


def chosen_kinds(
    pipe: Any, kinds: Sequence[Kind] | None, segments: Sequence[Segment]
) -> list[Kind]:
    """``kinds``, or by default the most that model and songs have; raises ``InputError``."""
    songs = [read_song_conditions(segment.folder) for segment in segments]
    has = {
        "score": all(song.notes is not None and song.sheet is not None for song in songs),
        "sheet": all(song.sheet is not None for song in songs),
        "nothing": True,
        "new": bool(getattr(pipe, "writes_scores", False)),
    }
    if kinds is None:
        understood = bool(getattr(pipe, "takes_sheets", False))
        most: list[Kind] = [kind for kind in ("new", "score") if understood and has[kind]]
        return most or ["nothing"]
    for kind in kinds:
        if kind == "new" and not has[kind]:
            raise InputError("this model writes no scores: leave out the kind 'new'")
        if not has[kind]:
            raise InputError(f"these songs have no {kind}: compose them with 'stemweave compose'")
    return list(kinds)


def own_generators(
    pipe: Any,
    duration_s: float,
    settings: dict[str, Any],
    kinds: Sequence[Kind],
    segments: Sequence[Segment],
    first_seed: int,
    first_row: str,
) -> dict[str, Generator]:
    """A generator for each of ``kinds`` by the name of its row."""
    rows = [first_row, *(KIND_ROWS[kind] for kind in kinds[1:])]
    return {
        row: own_generator(pipe, duration_s, settings, kind, segments, first_seed)
        for row, kind in zip(rows, kinds, strict=True)
    }
