"""Settings of a training run: one YAML file, one section per stage, unknown keys are errors.

A file may say only how it differs from another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from stemweave.data.readers import SLAKH_CLASSES
from stemweave.errors import InputError
from stemweave.model import TaskSettings
from stemweave.models.acceleration import computes_in_bfloat16
from stemweave.training.part_settings import (
    AnalyserSettings,
    DenoiserSettings,
    RefinerSettings,
    ScoreSettings,
    SharpenerSettings,
    VAESettings,
    VocoderSettings,
)
from stemweave.training.stage_settings import Strict


class LogMelSettings(Strict):
    """Arguments of ``LogMel``."""

    sample_rate: int = Field(16000, ge=1)
    n_fft: int = Field(1024, ge=1)
    hop_length: int = Field(160, ge=1)
    win_length: int = Field(1024, ge=1)
    num_mels: int = Field(64, ge=1)
    f_min: float = 0.0
    f_max: float = 8000.0
    segment_frames: int = Field(1024, ge=1)
    log_floor: float = Field(1e-5, gt=0, le=1)

    @model_validator(mode="after")
    def _is_a_front_end(self) -> LogMelSettings:
        if not self.hop_length <= self.win_length <= self.n_fft:
            raise ValueError("hop_length must be at most win_length, and that at most n_fft")
        if not self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError("f_min must be below f_max, and that at most half the sample_rate")
        if self.num_mels > self.n_fft // 2:
            raise ValueError("num_mels must be at most n_fft / 2")
        return self


Probability = Annotated[float, Field(ge=0, lt=1)]


class MixingSettings(Strict):
    """Arguments of ``data.mixing.MixSettings``."""

    stem_gain_std_db: float = Field(3.0, ge=0, le=100)
    level_std_db: float = Field(3.0, ge=0, le=100)
    reference_rms: float | None = Field(0.1, gt=0)
    stem_drop_probability: Probability | dict[str, Probability] = 0.08
    cross_song_probability: float = Field(0.25, ge=0, le=1)
    equaliser_std_db: float = Field(3.0, ge=0, le=100)
    tape_semitones: float = Field(0.0, ge=0, le=12)
    drive_probability: float = Field(0.0, ge=0, le=1)
    whole_songs: bool = False
    clip_mixture: bool = Field(False, description="to ±1 before its log-mel (the paper's code)")

    @model_validator(mode="after")
    def _clips_what_is_mixed(self) -> MixingSettings:
        if self.clip_mixture and self.equaliser_std_db:
            raise ValueError("clip_mixture takes no equaliser: set equaliser_std_db to 0")
        return self


class SamplingSettings(Strict):
    """Defaults of the assembled model; see ``TaskSettings``."""

    separation_steps: int = Field(TaskSettings.separation_steps, ge=1)
    separation_guidance: float = Field(TaskSettings.separation_guidance, ge=-100, le=100)
    generation_steps: int = Field(TaskSettings.generation_steps, ge=1)
    sampler: Literal["ddim", "dpm++", "unipc"] = "ddim"
    eta: float = Field(TaskSettings.eta, ge=0, le=1)
    timestep_shift: float = Field(TaskSettings.timestep_shift, gt=0)
    noise_offset: float = Field(TaskSettings.noise_offset, ge=0)
    arrangement_guidance: float = Field(TaskSettings.arrangement_guidance, ge=-100, le=100)
    condition_guidance: float = Field(TaskSettings.condition_guidance, ge=0, le=20)
    condition_guidance_from: int = Field(TaskSettings.condition_guidance_from, ge=0)
    stereo: bool = TaskSettings.stereo
    matching_iterations: int = Field(TaskSettings.matching_iterations, ge=0, le=8)
    sample_posterior: bool = TaskSettings.sample_posterior


class FinetuneSettings(Strict):
    """What an existing model's denoiser, refiner or sharpener is trained further for."""

    model: str | None = Field(None, description="folder of the model, or 'bundled'")
    map: dict[str, str] = Field({}, description="new stem → stem of the model it takes over from")
    method: Literal["full", "lora"] = "full"
    rank: int = Field(8, ge=1, description="of LoRA's matrices")
    alpha: float = Field(16.0, gt=0, description="LoRA's change is scaled by alpha / rank")


class TarSettings(Strict):
    """How tar shards are read; see ``data.tar_songs.TarSongs``."""

    cache: Path | None = Field(None, description="folder for unpacked shards; default cache/tars")
    cache_gb: float = Field(50.0, gt=0, description="10⁹ bytes; the window fits in any case")
    window: int = Field(4, ge=1, description="shards that crops are drawn from at a time")
    steps_each: int = Field(
        64, ge=1, description="the vae and the vocoder move on by a shard after so many steps"
    )


class RunSettings(Strict):
    """A training run: data, front end, stages."""

    data: list[str] = Field(min_length=1, description="folders or lists of songs, or tar shards")
    tars: TarSettings = TarSettings()
    require_all_stems: bool = Field(False, description="leave out songs that lack a stem")
    validation: float | tuple[str, ...] | None = Field(
        None, description="share of the songs, or names of songs; by default as the data says"
    )
    classes: dict[str, tuple[str, ...]] = Field(
        {}, description="stem → Slakh's inst_class names, e.g. strings: [Strings]"
    )
    layout: str | None = Field(
        None, description="package.module:function of your own that finds the songs of ``data``"
    )
    channels: Literal[1, 2] = Field(1, description="mono, or left and right of every stem")
    cache: Path = Path("data/cache")
    stems: tuple[str, ...] = Field(("bass", "drums", "guitar", "piano"), min_length=1)
    seed: int = Field(0, ge=0, le=2**32 - 1)
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = Field(
        "no", description="auto: bf16 on a machine that computes in it, else no"
    )
    compile: bool = Field(
        False, description="torch.compile the network: a minute or two at first, faster steps"
    )
    log: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    finetune: FinetuneSettings = FinetuneSettings()
    log_mel: LogMelSettings = LogMelSettings()
    mixing: MixingSettings = MixingSettings()
    vae: VAESettings = VAESettings()
    denoiser: DenoiserSettings = DenoiserSettings()
    refiner: RefinerSettings = RefinerSettings()
    sharpener: SharpenerSettings = SharpenerSettings()
    vocoder: VocoderSettings = VocoderSettings()
    score: ScoreSettings = ScoreSettings()
    analyser: AnalyserSettings = AnalyserSettings()
    sampling: SamplingSettings = SamplingSettings()

    @model_validator(mode="after")
    def _names_and_shares_are_meant(self) -> RunSettings:
        self._require_known_classes()
        drop = self.mixing.stem_drop_probability
        unknown = sorted(drop.keys() - set(self.stems)) if isinstance(drop, dict) else []
        if unknown:
            raise ValueError(f"stem_drop_probability has {unknown[0]}, which stems does not have")
        if any("/" in stem or stem.startswith(".") for stem in self.stems):
            raise ValueError("stems are named as their files, without folders")
        if isinstance(self.validation, float) and not 0 < self.validation < 1:
            raise ValueError("validation must be a share between 0 and 1, or names of songs")
        half = self.log_mel.n_fft // 2
        for part in ("vae", "denoiser", "refiner", "sharpener", "vocoder"):
            if getattr(self, part).crop_frames * self.log_mel.hop_length <= half:
                raise ValueError(f"{part}.crop_frames must be longer than half of log_mel.n_fft")
        if self.validation == ():
            raise ValueError("validation must name a song at least")
        return self

    def _require_known_classes(self) -> None:
        """Raise ``ValueError`` for classes of no stem, or that are not Slakh's, or of two stems."""
        unknown = sorted(self.classes.keys() - set(self.stems))
        if unknown:
            raise ValueError(f"classes are of {', '.join(unknown)}, which stems does not have")
        taken: set[str] = set()
        for stem, names in self.classes.items():
            if not names:
                raise ValueError(f"classes of {stem} must name one at least")
            for name in names:
                if name not in SLAKH_CLASSES:
                    known = ", ".join(SLAKH_CLASSES)
                    raise ValueError(f"classes of {stem} has {name!r}, but there are {known}")
                if name in taken:
                    raise ValueError(f"classes name {name} twice: a sound is of one stem")
                taken.add(name)


AnySettings = TypeVar("AnySettings", bound=BaseModel)


def changed(settings: AnySettings, /, **update: Any) -> AnySettings:
    """``settings`` with other values, checked again; raises ``InputError``.

    What nobody has set stays unset (``model_fields_set``): a model trained further decides it.
    """
    given = settings.model_dump(exclude_unset=True)
    try:
        return type(settings).model_validate({**given, **update})
    except ValidationError as error:
        raise InputError(f"{type(settings).__name__}: {error.errors()[0]['msg']}") from error


def load_settings(
    path: Path, kind: type[RunSettings] = RunSettings, changes: Sequence[str] = ()
) -> RunSettings:
    """Settings from a YAML file; raises ``InputError`` naming the key that is wrong.

    ``kind`` may be a subclass with further sections. A file that ``extends`` another, named from
    its own folder, holds only what differs. ``changes`` are KEY=VALUE, e.g. denoiser.steps=500.
    """
    try:
        settings = kind.model_validate(with_changes(read_settings_file(path), changes))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(": ".join(filter(None, (str(path), key, message)))) from error
    if settings.mixed_precision == "auto":
        return changed(settings, mixed_precision="bf16" if computes_in_bfloat16() else "no")
    return settings


def save_settings(settings: RunSettings, path: Path) -> None:
    """Write the resolved settings, defaults included."""
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))


def read_settings_file(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a file holds, over what the file holds that it ``extends``, named from its own folder.

    Raises:
        InputError: if a file cannot be read, is no YAML of keys and values, or extends itself.
    """
    if path in extending:
        raise InputError(f"{path} extends itself")
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise InputError(f"cannot read settings {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no settings: it must be keys and values")
    base = found.pop("extends", None)
    if base is None:
        return found
    return _over(read_settings_file(path.parent / str(base), (*extending, path)), found)


def _over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, section by section; of another ``kind`` without its ``model``."""
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        base = {key: value for key, value in base.items() if key != "model"}  # another network's
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged


def with_changes(settings: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """``settings`` with values of dotted keys, each KEY=VALUE with a value as in YAML.

    Raises ``InputError`` if one is not of this form.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"--set {change}: the value is not valid YAML") from error
        if not equals or not all(key.split(".")):
            raise InputError(f"--set takes KEY=VALUE, e.g. denoiser.steps=500, not {change!r}")
        for name in reversed(key.split(".")):
            value = {name: value}
        settings = _over(settings, value)
    return settings
