"""Bodies of requests: jobs, one shape for each task, and the desk of a project.

The desk is how a project is listened to: faders, speed, pitch, loop, selection, zoom, favourites.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stemweave.audio.stretching import FASTEST, MOST_SEMITONES, SLOWEST

LARGEST_SEED = 2**53 - 1
"""What every client's numbers can hold (JavaScript's are the smallest)."""

Steps = Annotated[int | None, Field(strict=True, ge=1, le=1000, description="network passes")]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86_400, allow_inf_nan=False)]
Moment = Annotated[float, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)]
StemName = Annotated[str, Field(min_length=1, max_length=100)]
StemNames = Annotated[list[StemName], Field(min_length=1, max_length=100)]


class Closed(BaseModel):
    """Unknown keys are errors: a misspelt parameter must not pass unnoticed."""

    model_config = ConfigDict(extra="forbid")


class SeparateParams(Closed):
    method: Literal["mask", "diffusion", "vocoder"] | None = None
    steps: Steps = None
    guidance: Annotated[float | None, Field(strict=True, ge=0, le=20, allow_inf_nan=False)] = None


class GenerateParams(Closed):
    seconds: Seconds = 10.24
    tempo_bpm: Annotated[
        float | None, Field(strict=True, gt=0, allow_inf_nan=False, description="null: drawn")
    ] = None
    steps: Steps = None


class ArrangeParams(Closed):
    given: StemNames
    add: StemNames | None = None
    steps: Steps = None


Beat = Annotated[float, Field(strict=True, ge=-1000, le=1_000_000, allow_inf_nan=False)]


class Note(Closed):
    """Beats are the sheet's; ``pitch`` is MIDI's: of drums the General MIDI drum key."""

    start_beat: Beat
    end_beat: Beat
    pitch: Annotated[int, Field(strict=True, ge=0, le=127)]
    velocity: Annotated[int, Field(strict=True, ge=1, le=127)]


Notes = Annotated[list[Note], Field(max_length=5000)]


class EditParams(Closed):
    renew: Annotated[
        dict[StemName, tuple[Moment, Moment | None]], Field(min_length=1, max_length=100)
    ]
    notes: Annotated[
        dict[StemName, Notes] | None,
        Field(max_length=100, description="of renewed stems, to be played there; null: written"),
    ] = None
    steps: Steps = None


class ExtendParams(Closed):
    seconds: Seconds = 10.24
    steps: Steps = None


class VaryParams(Closed):
    strength: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] = 0.5
    steps: Steps = None


class _Request(Closed):
    version_id: Annotated[str | None, Field(max_length=100, description="null: the head")] = None
    seed: Annotated[
        int | None, Field(strict=True, ge=0, le=LARGEST_SEED, description="null: random")
    ] = None


class Separate(_Request):
    task: Literal["separate"]
    params: SeparateParams = SeparateParams()


class Generate(_Request):
    task: Literal["generate"]
    params: GenerateParams = GenerateParams()


class Arrange(_Request):
    task: Literal["arrange"]
    params: ArrangeParams


class Edit(_Request):
    task: Literal["edit"]
    params: EditParams


class Extend(_Request):
    task: Literal["extend"]
    params: ExtendParams = ExtendParams()


class Vary(_Request):
    task: Literal["vary"]
    params: VaryParams = VaryParams()


JobRequest = Annotated[
    Separate | Generate | Arrange | Edit | Extend | Vary, Field(discriminator="task")
]


def chosen_params(request: BaseModel) -> dict[str, Any]:
    """The parameters of a request without those that are left to the model."""
    return request.model_dump(mode="json", include={"params"}, exclude_none=False)["params"]


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Time = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class LaneDesk(Closed):
    """One lane: linear volume, and pan from -1 (left) to 1."""

    volume: Share = 1.0
    pan: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    muted: bool = False
    soloed: bool = False


class Selected(Closed):
    """A part of the piece, in seconds, on some stems."""

    start_s: Time
    end_s: Time
    stems: Annotated[list[StemName], Field(max_length=100)]


class DeskState(Closed):
    """All of it; ``zoom`` 0 shows the whole piece, ``start_s`` is the left edge of the view."""

    lanes: Annotated[dict[StemName, LaneDesk], Field(max_length=100)] = {}
    volume: Share = 1.0
    looping: bool = False
    spectral: bool = False
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST, allow_inf_nan=False)] = 1.0
    semitones: Annotated[
        float, Field(ge=-MOST_SEMITONES, le=MOST_SEMITONES, allow_inf_nan=False)
    ] = 0.0
    zoom: Share = 0.0
    start_s: Time = 0.0
    position_s: Time = 0.0
    selection: Selected | None = None
    favourites: Annotated[list[StemName], Field(max_length=10_000)] = []
