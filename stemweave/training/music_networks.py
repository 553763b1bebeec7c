"""The networks of notes and beats that settings and songs ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stemweave.errors import InputError
from stemweave.models.analyser import SongAnalyser
from stemweave.models.score_transformer import ScoreTransformer
from stemweave.music.instruments import INSTRUMENT_CLASSES
from stemweave.training.networks import make_network
from stemweave.training.settings import RunSettings


def make_score_model(
    settings: RunSettings,
    stems: Sequence[str],
    styles: Sequence[str] = (),
    instruments: Sequence[str] = INSTRUMENT_CLASSES,
) -> ScoreTransformer:
    """``ScoreTransformer`` for the songs' styles, untrained; raises ``InputError``."""
    of_songs = {"stems": stems, "styles": styles, "instruments": instruments}
    own = {**of_songs, "max_bars": settings.score.window_bars}
    network: ScoreTransformer = _make_for(ScoreTransformer, own, settings.score.model, "score")
    return network


def make_analyser(settings: RunSettings, metres: Sequence[str]) -> SongAnalyser:
    """``SongAnalyser`` for the songs' metres, untrained; raises ``InputError``."""
    front_end = settings.log_mel.model_dump(include={"sample_rate", "hop_length"})
    own, model = {"metres": metres, **front_end}, settings.analyser.model
    network: SongAnalyser = _make_for(SongAnalyser, own, model, "analyser")
    return network


def _make_for(kind: Any, own: dict[str, Any], model: Mapping[str, Any], part: str) -> Any:
    """``make_network``, but ``InputError`` for what songs and other settings decide."""
    for name in own.keys() & model.keys():
        raise InputError(f"{part}.model.{name}: songs and other settings decide it: leave it out")
    return make_network(kind, {**own, **model}, f"{part}.model")
