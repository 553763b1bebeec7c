"""Fills with the dynamics of what is around them: loud and soft moments as often as there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FRAME_S = 0.02
LEAST_S = 2.0
"""Of old and of new material: less does not tell how often a stem is loud or soft."""
AUDIBLE_DB = 30.0
"""Below the loudest frame: softer ones are rests, which have no part in it and stay."""
FADE_DB = 10.0
MAX_CHANGE_DB = 9.0
QUANTILES = torch.linspace(0.05, 1, 20)
SILENCE_DB = -90.0


def dynamics_fit(new: Tensor, around: Tensor, sample_rate: int) -> Tensor:
    """Factors (T,) that give ``new`` samples (T,) the levels of those ``around`` it (N,).

    Levels of 20 ms are mapped quantile by quantile, each by at most ``MAX_CHANGE_DB``. Ones where
    either lasts for less than ``LEAST_S`` or is silent.
    """
    frame = round(FRAME_S * sample_rate)
    if min(len(new), len(around)) < LEAST_S * sample_rate:
        return torch.ones_like(new)
    made_db, true_db = _levels_db(new, frame), _levels_db(around, frame)
    if min(made_db.max(), true_db.max()) < SILENCE_DB:
        return torch.ones_like(new)
    made, true = (
        levels[levels > levels.max() - AUDIBLE_DB].quantile(QUANTILES)
        for levels in (made_db, true_db)
    )
    after = torch.searchsorted(made, made_db.contiguous()).clamp(1, len(made) - 1)
    span = (made[after] - made[after - 1]).clamp(min=1e-3)
    share = ((made_db - made[after - 1]) / span).clamp(0, 1)
    change_db = (true - made)[after - 1].lerp((true - made)[after], share)
    change_db = change_db.clamp(-MAX_CHANGE_DB, MAX_CHANGE_DB)
    above_rests_db = made_db - (made_db.max() - AUDIBLE_DB - FADE_DB)
    change_db = change_db * (above_rests_db / FADE_DB).clamp(0, 1)
    glide_db = functional.interpolate(change_db[None, None], len(new), mode="linear")[0, 0]
    return 10 ** (glide_db / 20)


def _levels_db(waveform: Tensor, frame: int) -> Tensor:
    whole = waveform[: len(waveform) // frame * frame].unflatten(0, (-1, frame))
    return 10 * whole.square().mean(dim=1).clamp(min=1e-12).log10()
