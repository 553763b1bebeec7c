"""Settings of a baseline's training: those of ``stemweave train`` and a section for each one."""

from __future__ import annotations

from typing import cast

from pydantic import Field

from stemweave.errors import InputError
from stemweave.training.settings import RunSettings
from stemweave.training.stage_settings import StageSettings


class BaselineStageSettings(StageSettings):
    """``model`` holds arguments of the baseline's class."""

    cpu_hours: float = Field(1e6, gt=0, description="stop after so much process CPU time")
    validation_crops: int = Field(8, ge=1)


class BaselineSettings(RunSettings):
    """A training run of any baseline."""

    open_unmix: BaselineStageSettings | None = None
    htdemucs: BaselineStageSettings | None = None
    msdm: BaselineStageSettings | None = None

    def section(self, name: str) -> BaselineStageSettings:
        """The section of one baseline; raises ``InputError`` if the settings have none."""
        section = getattr(self, name)
        if section is None:
            raise InputError(f"the settings have no section {name}: see baselines/configs")
        return cast(BaselineStageSettings, section)
