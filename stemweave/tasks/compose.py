"""Sheet and score for a task: what is given, found in a recording, drawn or written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stemweave.audio.waveforms import exact_scale
from stemweave.music.drawing import draw_sheet, lasting
from stemweave.music.events import bars_between
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score
from stemweave.stems import MIXTURE

if TYPE_CHECKING:
    from stemweave.model import StemModel


def drawn_sheet(
    pipe: StemModel, duration_s: float, seed: int, given: LeadSheet | None = None
) -> LeadSheet | None:
    """The sheet of a new piece, what is not ``given`` drawn by ``seed``; None if it needs none."""
    if not pipe.takes_sheets:
        return None
    return draw_sheet(duration_s, pipe.styles, np.random.default_rng(seed), given)


def summed(pipe: StemModel, piece: Mapping[str, Tensor]) -> Tensor:
    """What the analyser hears of ``piece``: the sum of the model's stems, or else the mixture.

    Its level is another where float32 could not hold the sum.
    """
    stems = [piece[name] for name in pipe.stems if name in piece] or [piece[MIXTURE]]
    return torch.stack(stems).mul_(exact_scale(*stems)).sum(dim=0)


def found_sheet(
    pipe: StemModel, piece: Mapping[str, Tensor], sample_rate: int, given: LeadSheet | None = None
) -> LeadSheet | None:
    """``given``, or if it knows no tempo what the analyser finds in ``piece``, ``summed``.

    None if nothing is known, or the model understands no sheets.
    """
    if (given is not None and given.has_tempo) or not (pipe.takes_sheets and pipe.analyses):
        return given
    found = pipe.analyse(summed(pipe, piece), sample_rate)
    return given if found.beats_s is None else found


def with_new_stems(
    pipe: StemModel, sheet: LeadSheet | None, score: Score | None, stems: Collection[str], seed: int
) -> Score | None:
    """``score`` and what the score model writes of those of ``stems`` that it lacks."""
    missing = set(stems) - set({} if score is None else score.notes)
    if not missing or sheet is None or sheet.beats_s is None or not pipe.writes_scores:
        return score
    generator = torch.Generator().manual_seed(seed)
    written = pipe.write_score(sheet, given=score, generator=generator).notes
    known = {} if score is None else dict(score.notes)
    return Score({**known, **{stem: written[stem] for stem in written if stem in missing}})


def with_new_bars(
    pipe: StemModel,
    sheet: LeadSheet | None,
    score: Score | None,
    renewed_s: Mapping[str, tuple[float, float]],
    seed: int,
) -> Score | None:
    """``score`` with the bars of each stem that sound between two times written anew."""
    if sheet is None or sheet.beats_s is None or score is None or not pipe.writes_scores:
        return score
    sheet = lasting(sheet, max(end_s for _, end_s in renewed_s.values()))
    bars = {s: bars_between(sheet, *times) for s, times in renewed_s.items() if s in score.notes}
    generator = torch.Generator().manual_seed(seed)
    written = pipe.write_score(sheet, given=score, rewrite=bars, generator=generator)
    return Score({stem: written.notes[stem] for stem in score.notes})
