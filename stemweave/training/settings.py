"""Settings of a training run: one YAML file, one section per stage, unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from diffusers import DDIMScheduler
from pydantic import BaseModel, Field, ValidationError, model_validator

from stemweave.errors import InputError
from stemweave.model import TaskSettings
from stemweave.models.acceleration import computes_in_bfloat16
from stemweave.training.settings_file import read_settings_file, with_changes
from stemweave.training.stage_settings import (
    ShardedSettings,
    StageSettings,
    Strict,
)


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


class VAESettings(StageSettings):
    kind: Literal["patch", "autoencoder_kl"] = "patch"
    l1_weight: float = 1.0
    mse_weight: float = 0.5
    kl_weight: float = 2e-3
    spectral_weight: float = Field(0.0, ge=0, description="of multi_resolution_mel_distance")
    scale_crops: int = Field(16, ge=1, description="of which the latents' scale is measured")
    scale_of: Literal["means", "stem_samples"] = Field(
        "means",
        description="posterior means of stems and mixtures, or samples of stems alone (the paper)",
    )


class VocoderSettings(StageSettings):
    kind: Literal["spectral", "hifigan"] = "spectral"
    mel_weight: float = 1.0
    spectral_weight: float = Field(1.0, ge=0, description="of multi_resolution_stft_distance")
    high_band_weight: float = Field(
        0.0, ge=0, description="of the same distance above the log-mel's band"
    )
    matching_iterations: int = Field(
        0, ge=0, le=8, description="that bring waveforms to their log-mel (models.vocoder.matched)"
    )
    energy_weight: float = Field(
        0.0,
        ge=0,
        le=1,
        description="of the distance between two outputs of other noise, which is taken off "
        "(arXiv 2008.01160)",
    )


class ScoreSettings(StageSettings):
    """The score model's training; what is left of the shares rewrites a region."""

    validation: tuple[Path, ...] = Field((), description="folders of songs that never train")
    window_bars: int = Field(16, ge=2, description="bars that are read and written at once")
    max_events: int = Field(1000, ge=64, description="notes and headers; longer windows are cut")
    new_share: float = Field(0.35, ge=0, le=1, description="of windows of which nothing is given")
    continuation_share: float = Field(
        0.25, ge=0, le=1, description="of windows whose first bars are given"
    )
    arrangement_share: float = Field(
        0.25, ge=0, le=1, description="of windows of which some stems are given"
    )
    sheet_drop_probability: float = Field(
        0.2, ge=0, le=1, description="of each of tempo, harmony, style and instruments"
    )
    validation_samples: int = Field(64, ge=1, description="windows")


class AnalyserSettings(StageSettings):
    """The analyser's training."""

    crop_frames: int = Field(1001, ge=64, description="of ``log_mel.hop_length`` samples each")
    subset_share: float = Field(0.5, ge=0, le=1, description="of mixtures that lack some stems")
    gain_std_db: float = Field(4.0, ge=0, description="of each stem, beside its own level")
    validation_samples: int = Field(64, ge=1, description="mixtures")


class ConditionSettings(Strict):
    """Sheet, score and sounds as conditions, and how often each is hidden in training."""

    channels: int = Field(64, ge=1, description="inside ``ConditionNetwork``")
    everything_hidden: float = Field(0.1, ge=0, le=1, description="of samples: no conditions")
    score_hidden: float = Field(0.1, ge=0, le=1, description="of samples: no notes of any stem")
    range_hidden: float = Field(
        0.15, ge=0, le=1, description="of samples: no notes before or after some time, or between"
    )
    stem_hidden: float = Field(
        0.25, ge=0, le=1, description="of stems: notes, instrument, sound, each by itself"
    )
    field_hidden: float = Field(
        0.25, ge=0, le=1, description="of samples: rhythm, harmony, style, each by itself"
    )
    validation_timesteps: tuple[int, ...] = Field(
        (950, 750, 500),
        min_length=1,
        description="at which own, another song's and no conditions are compared",
    )


class DenoiserSettings(ShardedSettings):
    """Shares of the batch by task, and how each is noised."""

    kind: Literal["compact", "unet3d"] = "compact"
    conditions: ConditionSettings | None = None
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass: less memory, more time"
    )
    scheduler: dict[str, Any] = Field(default_factory=dict)
    latents: Literal["mean", "sample"] = Field(
        "mean", description="of the autoencoder's posterior (the paper: sample)"
    )
    separation_share: float = Field(0.5, ge=0, le=1)
    arrangement_share: float = Field(0.3, ge=0, le=1)
    pure_noise_probability: float = Field(
        0.7, ge=0, le=1, description="of separation samples: all noise, the posterior mean's step"
    )
    timestep_shift: float = Field(
        1.0,
        gt=0,
        description="above 1, timesteps are drawn nearer to pure noise (``schedulers.shifted``)",
    )
    noise_offset: float = Field(
        0.0, ge=0, description="of the noise, in stems of which nothing is known (``draw_noise``)"
    )
    mixture_probability: float = Field(
        0.1, ge=0, le=1, description="of arrangement samples that get the mixture, too"
    )
    time_range_probability: float = Field(
        0.4, ge=0, le=1, description="of arrangement samples whose known part is a time range"
    )
    own_timesteps_probability: float = Field(
        0.1, ge=0, le=1, description="of samples in which every stem has its own timestep"
    )
    validation_samples: int = Field(64, ge=1, description="``batch_size`` of them at once")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> DenoiserSettings:
        if self.separation_share + self.arrangement_share > 1:
            raise ValueError("separation_share and arrangement_share must be at most 1 together")
        try:
            DDIMScheduler(**self.scheduler)
        except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"scheduler does not describe a DDIMScheduler: {error}") from error
        if self.kind == "unet3d" and (self.arrangement_share or self.own_timesteps_probability):
            raise ValueError(
                "unet3d takes no given stems and one timestep a sample: set arrangement_share "
                "and own_timesteps_probability to 0"
            )
        if self.kind == "unet3d" and self.conditions is not None:
            raise ValueError("unet3d has no conditions: leave them out")
        return self


class RefinerSettings(ShardedSettings):
    """The mask refiner's training."""

    silence_energy: float = Field(
        1e-4, gt=0, description="relative to the mixture; stems with less count as silent"
    )
    silence_weight: float = Field(
        0.25, ge=0, description="of the energy in dB that masks leave of silent stems"
    )
    mel_weight: float = Field(
        0.0, ge=0, description="of the squared error of the masked mixture's log-mels"
    )


class SharpenerSettings(ShardedSettings):
    """The mask sharpener's training."""

    piece_frames: int = Field(
        128, ge=1, description="of a crop in one step; crops are cut into such pieces"
    )
    silence_energy: float = Field(
        1e-3, gt=0, description="relative to the mixture; stems with less count as silent"
    )
    silence_weight: float = Field(
        0.1, ge=0, description="of the energy in dB that masks leave of silent stems"
    )
    mel_weight: float = Field(
        0.0, ge=0, description="of the squared error of the separated stems' log-mels"
    )

    @model_validator(mode="after")
    def _pieces_fit(self) -> SharpenerSettings:
        if self.piece_frames > self.crop_frames:
            raise ValueError(f"piece_frames must be at most crop_frames, {self.crop_frames}")
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
    channels: Literal[1, 2] = Field(1, description="mono, or left and right of every stem")
    cache: Path = Path("data/cache")
    stems: tuple[str, ...] = Field(("bass", "drums", "guitar", "piano"), min_length=1)
    seed: int = Field(0, ge=0, le=2**63 - 1)
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
        unknown = sorted(self.classes.keys() - set(self.stems))
        if unknown:
            raise ValueError(f"classes are of {', '.join(unknown)}, which stems does not have")
        drop = self.mixing.stem_drop_probability
        unknown = sorted(drop.keys() - set(self.stems)) if isinstance(drop, dict) else []
        if unknown:
            raise ValueError(f"stem_drop_probability has {unknown[0]}, which stems does not have")
        if any("/" in stem or stem.startswith(".") for stem in self.stems):
            raise ValueError("stems are named as their files, without folders")
        if isinstance(self.validation, float) and not 0 < self.validation < 1:
            raise ValueError("validation must be a share between 0 and 1, or names of songs")
        if self.validation == ():
            raise ValueError("validation must name a song at least")
        return self


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
