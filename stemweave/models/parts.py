"""A model's parts: how they are had, how they fit together, and the grid that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stemweave.errors import InputError
from stemweave.io.output_names import is_plain
from stemweave.models.part import SavedPart
from stemweave.models.provenance import misfits, trained
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import MaskSharpener
from stemweave.models.vae import strides_of
from stemweave.models.vocoder import frame_rate_of, rate_of

NEEDED = ("log_mel", "vae", "denoiser", "scheduler", "vocoder")
"""What every model has."""
PARTS = (*NEEDED, "refiner", "sharpener", "score_model", "analyser")


@dataclass(frozen=True)
class TaskSettings:
    """What a saved model says about its use, beside its parts.

    Attributes:
        reference_rms: RMS of mixtures in training; inputs are brought to it and outputs back.
            None leaves levels as they are (the paper).
        clip_mixture: mixtures are clipped to ±1 before ``separate`` takes their log-mel, as those
            of training were (the paper's code).
        separation_steps, separation_guidance: defaults of ``separate``.
        generation_steps: default of all other tasks.
        eta: DDIM's share of fresh noise.
        timestep_shift: above 1, passes of all tasks but ``separate`` lie nearer to noise, where
            a piece is decided (``diffusion.schedulers.shifted``); not with DDIM.
        noise_offset: what all tasks but ``separate`` begin with is noise whose mean over a window
            varies by this much in stems of which nothing is given (``sampler.draw_noise``).
        arrangement_guidance: default of ``arrange``.
        condition_guidance: default of ``generate``, the weight of sheet and score.
        condition_guidance_from: timesteps below it have no second pass for it: what sheet and score
            decide is decided by then (arXiv 2404.07724).
        matching_iterations: that bring what the vocoder plays to the log-mel that it was given
            (``vocoder.matched``).
        sample_posterior: draw latents from the autoencoder's posterior instead of its mean (the
            paper draws, also for the mixture).
    """

    reference_rms: float | None = None
    clip_mixture: bool = False
    separation_steps: int = 1
    separation_guidance: float = 1.0
    generation_steps: int = 50
    eta: float = 0.0
    timestep_shift: float = 1.0
    noise_offset: float = 0.0
    arrangement_guidance: float = 1.0
    condition_guidance: float = 1.0
    condition_guidance_from: int = 0
    stereo: bool = False
    matching_iterations: int = 0
    sample_posterior: bool = False


class Parts:
    """Networks, scheduler and settings of a model, and the latent grid that follows from them.

    Parts in folders are read when they are first asked for, so that a task waits for no other parts
    than its own.

    Args:
        parts: by the names of ``PARTS``.
        config: how tasks use them.
        device: where networks run.

    Raises:
        InputError: if they do not fit together.
    """

    log_mel: Any
    vae: Any
    denoiser: Any
    scheduler: Any
    vocoder: Any
    refiner: Any
    sharpener: Any
    score_model: Any
    analyser: Any
    denoiser_dtype: torch.dtype | None = None
    """What the denoiser computes in, by autocast; None: in its own."""
    source: str | Path | None = None
    """Folder or hub id that it was read from."""

    def __init__(
        self, parts: Mapping[str, Any], config: TaskSettings, device: str | torch.device = "cpu"
    ) -> None:
        self.config = config
        self.compute_device = torch.device(device)
        self._offloads, self._fetched = False, ""
        self._changes: dict[str, list[Callable[[Any], object]]] = {}
        saved = {name: part for name, part in parts.items() if isinstance(part, SavedPart)}
        self._saved = {name: (part, part.config()) for name, part in saved.items()}
        for name in PARTS:
            if name not in saved:
                setattr(self, name, parts.get(name))
        self._check_stems()
        self.check_components()

    def __getattr__(self, name: str) -> Any:
        """A part that is not read yet."""
        if name not in PARTS:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        part = self._saved[name][0].load("cpu" if self._offloads else self.compute_device)
        for change in self._changes.pop(name, ()):
            change(part)
        setattr(self, name, part)
        return part

    def config_of(self, part: str) -> Any:
        """The settings of a part, which need not be in memory for that; None without the part."""
        if part not in vars(self):
            return self._saved[part][1]
        network = getattr(self, part)
        return None if network is None else network.config

    def fetch(self, parts: Iterable[str]) -> None:
        """Have ``parts`` in memory; raises ``InputError`` for one that cannot be loaded."""
        for part in parts:
            getattr(self, part)

    def alter(self, part: str, change: Callable[[Any], object]) -> None:
        """Apply ``change`` to a part, if the model has it, when it is read."""
        if part not in vars(self):
            self._changes.setdefault(part, []).append(change)
        elif getattr(self, part) is not None:
            change(getattr(self, part))

    def on_device(self, part: str) -> Any:
        """A part where it computes; with offload the one before goes back to the CPU."""
        network = getattr(self, part)
        if self._offloads and self._fetched != part:
            if self._fetched:
                getattr(self, self._fetched).to("cpu")
            network.to(self.compute_device)
            self._fetched = part
        return network

    def move_to(self, device: torch.device, offload: bool = False) -> None:
        """Compute on ``device`` from now on; ``offload``: parts wait on the CPU until needed."""
        self.compute_device, self._offloads, self._fetched = device, offload, ""
        for part in vars(self).values():
            if isinstance(part, nn.Module):
                part.to("cpu" if offload else device)

    @property
    def has_mask_network(self) -> bool:
        """Whether it separates by masks that need no diffusion."""
        return self.config_of("refiner") is not None

    @property
    def takes_sheets(self) -> bool:
        """Whether the denoiser understands sheets and scores."""
        return self.config_of("denoiser").get("vocabulary") is not None

    @property
    def writes_scores(self) -> bool:
        """Whether it writes the notes of what it plays."""
        return self.takes_sheets and self.config_of("score_model") is not None

    @property
    def analyses(self) -> bool:
        """Whether it finds beats and harmony of recordings."""
        return self.config_of("analyser") is not None

    @property
    def styles(self) -> tuple[str, ...]:
        """Styles that its sheets may have; none of a model that understands no sheets."""
        return tuple(self.config_of("denoiser").vocabulary["styles"]) if self.takes_sheets else ()

    @property
    def sample_rate(self) -> int:
        """Hz of the networks' input."""
        return int(self.config_of("log_mel").sample_rate)

    @property
    def output_rate(self) -> int:
        """Hz of what the vocoder plays."""
        return rate_of(self.config_of("vocoder"))

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems that it generates, in its order."""
        return tuple(self.config_of("denoiser").stems)

    @property
    def separated_stems(self) -> tuple[str, ...]:
        """Names of the stems that it separates: ``stems``, and what the mask network has beside."""
        refiner = self.config_of("refiner")
        return self.stems if refiner is None else tuple(refiner.stems or self.stems)

    def stems_by(self, method: str) -> tuple[str, ...]:
        """Names of the stems that a method of ``separate`` gives."""
        return self.separated_stems if method == "mask" else self.stems

    def vocoder_class(self, stem: str) -> int | None:
        """The vocoder's class of a stem, that of a mixture for one that it was not trained on.

        None of a vocoder without classes of stems.
        """
        config = self.config_of("vocoder")
        if not hasattr(config, "num_stems"):
            return None
        known = list(trained(config).get("stems") or self.stems)[: config.num_stems]
        return known.index(stem) if stem in known else int(config.num_stems)

    @property
    def channels(self) -> int:
        """1, or 2 if the denoiser's latents hold left and right."""
        autoencoder = self.config_of("vae")
        return int(self.config_of("denoiser").latent_channels // autoencoder.latent_channels)

    @property
    def segment_s(self) -> float:
        """Seconds of one model window."""
        return float(self.log_mel.segment_samples / self.sample_rate)

    @property
    def position_s(self) -> float:
        """Seconds of one latent position."""
        return self.position_samples / self.sample_rate

    @property
    def time_stride(self) -> int:
        """Mel frames per latent position."""
        return strides_of(self.config_of("vae"))[0]

    @property
    def mel_stride(self) -> int:
        """Mel bands per latent position."""
        return strides_of(self.config_of("vae"))[1]

    @property
    def position_samples(self) -> int:
        """Samples at ``sample_rate`` per latent position."""
        return self.time_stride * int(self.config_of("log_mel").hop_length)

    @property
    def latent_bands(self) -> int:
        """W of the latents."""
        return int(self.config_of("log_mel").num_mels) // self.mel_stride

    @property
    def window_positions(self) -> int:
        """H of one model window."""
        return int(self.config_of("log_mel").segment_frames) // self.time_stride

    @property
    def takes_whole_windows(self) -> bool:
        """Whether the denoiser was trained on whole windows alone, as the paper's network."""
        return not getattr(self.config_of("denoiser"), "known_stems", False)

    def positions_for(self, num_samples: int) -> int:
        """H that covers ``num_samples``, a multiple of what the denoiser's levels need.

        At least a window if it ``takes_whole_windows``.
        """
        config = self.config_of("denoiser")
        widths = getattr(config, "block_channels", None) or getattr(config, "channel_mult", None)
        multiple = 2 ** (len(widths or (1,)) - 1)
        positions = max(1, -(-num_samples // (self.position_samples * multiple))) * multiple
        return max(positions, self.window_positions) if self.takes_whole_windows else positions

    def _check_stems(self) -> None:
        """Raise ``InputError`` for stems whose names no file, which they become, can have."""
        for part in ("denoiser", "refiner", "score_model"):
            stems = getattr(self.config_of(part), "stems", None)
            names = stems if isinstance(stems, (list, tuple)) else [stems]
            wrong = [name for name in names if not is_plain(name)]
            if stems is not None and wrong:
                raise InputError(
                    f"the model's {part} has a stem named {repr(wrong[0])[:80]}: stems become "
                    "files, and no file can have that name"
                )

    def check_components(self) -> None:
        """Raise ``InputError`` that names every pair of parts that do not fit together."""
        mel, autoencoder = self.config_of("log_mel"), self.config_of("vae")
        denoiser, vocoder = self.config_of("denoiser"), self.config_of("vocoder")
        channels = denoiser.latent_channels
        vocoder_bands = getattr(vocoder, "num_mels", None) or vocoder.model_in_dim
        problems = []
        if channels not in (autoencoder.latent_channels, 2 * autoencoder.latent_channels):
            problems.append(
                f"the VAE has {autoencoder.latent_channels} latent channels, the denoiser "
                f"{channels} (equal for mono, twice as many for stereo)"
            )
        if vocoder_bands != mel.num_mels:
            problems.append(f"the vocoder takes {vocoder_bands} mel bands, not {mel.num_mels}")
        frame_rate = frame_rate_of(vocoder)
        if frame_rate != mel.sample_rate / mel.hop_length:
            problems.append(
                f"the vocoder takes {frame_rate:g} mel frames a second, not "
                f"{mel.sample_rate / mel.hop_length:g}"
            )
        if mel.segment_frames % self.time_stride or mel.num_mels % self.mel_stride:
            problems.append("the log-mel window does not divide into the VAE's patches")
        for kind, part in ((MaskRefiner, "refiner"), (MaskSharpener, "sharpener")):
            network = self.config_of(part)
            if network is not None:
                problems += kind.misfits(network, mel)
                if network.num_stems != len(self.separated_stems):
                    names = ", ".join(self.separated_stems)
                    problems.append(f"the {part} has {network.num_stems} stems, not {names}")
        missing = [stem for stem in self.stems if stem not in self.separated_stems]
        if missing:
            problems.append(f"the refiner lacks {', '.join(missing)} of the denoiser's stems")
        bands = getattr(denoiser, "latent_bands", None)
        if bands is not None and bands != self.latent_bands:
            problems.append(f"the denoiser takes {bands} latent bands, not {self.latent_bands}")
        own_autoencoder = trained(autoencoder).get("weights")
        for part in ("vae", "denoiser", "vocoder", "refiner", "sharpener"):
            problems += misfits(
                part,
                trained(self.config_of(part)),
                stems=self.stems if part == "denoiser" else self.separated_stems,
                log_mel=mel,
                autoencoder=own_autoencoder if part in ("denoiser", "vocoder") else None,
            )
        if problems:
            raise InputError("the model's parts do not fit together: " + "; ".join(problems))
