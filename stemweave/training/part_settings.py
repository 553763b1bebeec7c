"""Settings of each stage of training, beside those that all have (``stage_settings``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from diffusers import DDIMScheduler
from pydantic import Field, field_serializer, model_validator

from stemweave.io.own_code import is_own
from stemweave.training.stage_settings import ShardedSettings, StageSettings, Strict


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


class ScheduleSettings(Strict):
    """Arguments of diffusers' ``DDIMScheduler``; those that nobody sets are its own defaults."""

    num_train_timesteps: int = Field(1000, ge=2, le=100_000)
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    clip_sample: bool = True
    set_alpha_to_one: bool = True
    steps_offset: int = Field(0, ge=0, le=1000)
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
    thresholding: bool = False
    dynamic_thresholding_ratio: float = Field(0.995, gt=0, le=1)
    clip_sample_range: float = Field(1.0, gt=0)
    sample_max_value: float = Field(1.0, gt=0)
    timestep_spacing: Literal["leading", "linspace", "trailing"] = "leading"
    rescale_betas_zero_snr: bool = False

    def make(self) -> DDIMScheduler:
        return DDIMScheduler(**self.model_dump(exclude_unset=True))


class DenoiserSettings(ShardedSettings):
    """Shares of the batch by task, and how each is noised."""

    kind: str = Field("compact", description="or unet3d, or package.module:Class of your own")
    extra_conditions: dict[str, str] = Field(
        {},
        description="further arguments of the network by name: "
        "package.module:function of (song, start_s, duration_s) → a tensor",
    )
    conditions: ConditionSettings | None = None
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass: less memory, more time"
    )
    scheduler: ScheduleSettings = ScheduleSettings()
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
        if self.kind not in ("compact", "unet3d") and not is_own(self.kind):
            raise ValueError("kind must be compact, unet3d or package.module:Class of your own")
        if not all(
            name.isidentifier() and is_own(one) for name, one in self.extra_conditions.items()
        ):
            raise ValueError(
                "extra_conditions must be argument: package.module:function of your own"
            )
        if self.separation_share + self.arrangement_share > 1:
            raise ValueError("separation_share and arrangement_share must be at most 1 together")
        if self.kind == "unet3d" and (self.arrangement_share or self.own_timesteps_probability):
            raise ValueError(
                "unet3d takes no given stems and one timestep a sample: set arrangement_share "
                "and own_timesteps_probability to 0"
            )
        if self.kind == "unet3d" and self.conditions is not None:
            raise ValueError("unet3d has no conditions: leave them out")
        number = self.scheduler.num_train_timesteps
        if self.conditions is not None and max(self.conditions.validation_timesteps) >= number:
            raise ValueError(
                "conditions.validation_timesteps must be below scheduler.num_train_timesteps, "
                f"{number}"
            )
        return self

    @field_serializer("scheduler")
    def _as_it_was_set(self, schedule: ScheduleSettings) -> dict[str, Any]:
        return schedule.model_dump(mode="json", exclude_unset=True)


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
