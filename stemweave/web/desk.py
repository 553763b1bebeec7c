"""How a project is listened to: faders, speed, pitch, loop, selection, zoom, favourite versions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from stemweave.audio.stretching import FASTEST, MOST_SEMITONES, SLOWEST

Name = Annotated[str, Field(min_length=1, max_length=100)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Moment = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LaneDesk(_Closed):
    """One lane: linear volume, and pan from -1 (left) to 1."""

    volume: Share = 1.0
    pan: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    muted: bool = False
    soloed: bool = False


class Selected(_Closed):
    """A part of the piece, in seconds, on some stems."""

    start_s: Moment
    end_s: Moment
    stems: Annotated[list[Name], Field(max_length=100)]


class DeskState(_Closed):
    """All of it; ``zoom`` 0 shows the whole piece, ``start_s`` is the left edge of the view."""

    lanes: Annotated[dict[Name, LaneDesk], Field(max_length=100)] = {}
    volume: Share = 1.0
    looping: bool = False
    spectral: bool = False
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST, allow_inf_nan=False)] = 1.0
    semitones: Annotated[
        float, Field(ge=-MOST_SEMITONES, le=MOST_SEMITONES, allow_inf_nan=False)
    ] = 0.0
    zoom: Share = 0.0
    start_s: Moment = 0.0
    position_s: Moment = 0.0
    selection: Selected | None = None
    favourites: Annotated[list[Name], Field(max_length=10_000)] = []
