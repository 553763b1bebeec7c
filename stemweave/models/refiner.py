"""The mask network: separation masks on the mel grid from the mixture's spectrum.

It is trained on the waveform error of the masks alone and needs no diffusion: the denoiser works on
latents that are coarser than the mel grid and is trained for other tasks, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.acceleration import mask_precision
from stemweave.models.compact import SelfAttention
from stemweave.models.convolution import ResidualBlock
from stemweave.models.earlier_versions import PIXELS
from stemweave.models.log_mel import front_end_misfits, slaney_basis
from stemweave.models.part import Part

FINE_CHANNELS = 8
FRONT_END = ("num_mels", "sample_rate", "hop_length", "win_length", "log_floor")
"""What it must have in common with the log-mel."""


class MaskRefiner(Part):
    """U-Net over time × mel bands → soft masks of S stems that add up to one.

    Args:
        num_stems: S.
        num_mels: M.
        block_channels: width of each level. The first level has half the time and mel resolution
            of the spectra, every further one half of that.
        blocks_per_level: residual blocks on the way down and on the way up, each.
        attention_levels: levels whose last block is followed by self-attention.
        level_repeats: how often each level's blocks, with what follows them, come one after another
            on the way down and on the way up; None: once. A repetition changes nothing before it is
            trained, so weights of a network without it go on with it.
        head_channels: channels of one attention head.
        mel_mean, mel_std: of log-mels, to normalise the mixture.
        fine: take the mixture's ``FineSpectra`` beside its log-mel.
        sample_rate, hop_length, win_length, log_floor: of the log-mel, for ``FineSpectra``.
        band_mixers: add to every block a layer that is dense over its bands, for what harmonics
            far apart have in common.
        shifts: frames, even ones. ``separate`` gives the mean of the masks of the mixture that
            many frames later, which lies otherwise on the grids of the coarser levels.
        stems: names of the S masks; None: those of the model's denoiser.
    """

    exact = False
    """Computes in float32 everywhere, also where the CPU is faster in bfloat16 (0.001 in masks)."""

    def __init__(
        self,
        num_stems: int = 4,
        num_mels: int = 128,
        block_channels: Sequence[int] = (64, 96, 160, 256),
        blocks_per_level: int = 1,
        attention_levels: Sequence[int] = (3,),
        head_channels: int = 32,
        mel_mean: float = -4.7,
        mel_std: float = 2.1,
        shifts: Sequence[int] = (0,),
        fine: bool = False,
        band_mixers: bool = False,
        level_repeats: Sequence[int] | None = None,
        sample_rate: int = 16000,
        hop_length: int = 320,
        win_length: int = 2048,
        log_floor: float = 1e-3,
        stems: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if stems is not None and len(stems) != num_stems:
            raise ValueError(f"num_stems is {num_stems}, but stems names {len(stems)}")
        front_end = (sample_rate, hop_length, num_mels, win_length, log_floor)
        self.fine_spectra = FineSpectra(*front_end) if fine else None
        self.fine_in = nn.Conv2d(FINE_CHANNELS, block_channels[0], 3, padding=1) if fine else None
        levels = range(len(block_channels))
        if any(shift < 0 or shift % 2 for shift in shifts) or not shifts:
            raise ValueError(f"shifts must be even frames from 0 on, not {shifts}")
        repeats = level_repeats or [1] * len(block_channels)
        if len(repeats) != len(block_channels) or min(repeats) < 1:
            raise ValueError(f"level_repeats must be one number from 1 on a level, not {repeats}")
        self.conv_in = nn.Conv2d(PIXELS, block_channels[0], 3, padding=1)
        self.band_embedding = nn.Parameter(torch.zeros(block_channels[0], 1, num_mels // 2))

        def make_blocks(level: int) -> list[nn.Module]:
            blocks: list[nn.Module] = [
                ResidualBlock(block_channels[level], 16, True) for _ in range(blocks_per_level)
            ]
            if band_mixers:
                blocks.append(BandMixer(block_channels[level], num_mels // 2 ** (level + 1)))
            if level in attention_levels:
                blocks.append(SelfAttention(block_channels[level], head_channels))
            return blocks

        def make_level(level: int) -> nn.Sequential:
            repetitions = [Repetition(*make_blocks(level)) for _ in range(repeats[level] - 1)]
            return nn.Sequential(*make_blocks(level), *repetitions)

        self.down_blocks = nn.ModuleList(make_level(level) for level in levels)
        self.downsamplers = nn.ModuleList(
            nn.Conv2d(4 * block_channels[i], block_channels[i + 1], 1) for i in levels[:-1]
        )
        self.up_blocks = nn.ModuleList(make_level(level) for level in levels)
        self.upsamplers = nn.ModuleList(
            nn.Conv2d(block_channels[i + 1], 4 * block_channels[i], 1) for i in levels[:-1]
        )
        self.norm_out = nn.GroupNorm(16, block_channels[0])
        self.conv_out = nn.Conv2d(block_channels[0], 4 * num_stems, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(cast(Tensor, self.conv_out.bias))

    @staticmethod
    def misfits(config: Any, mel: Any) -> list[str]:
        """What keeps a network of ``config`` from log-mels of ``mel``; empty if nothing."""
        names = FRONT_END if config["fine"] else FRONT_END[:1]
        return front_end_misfits("refiner", config, mel, names)

    def forward(self, mixture: Tensor, fine: Tensor | None = None) -> Tensor:
        """Masks (B, S, F, M) from log-mels of the mixture (B, F, M).

        ``fine`` are ``fine_spectra`` of the mixture; a network that takes them raises
        ``ValueError`` without.
        """
        frames = mixture.shape[-2]
        padding = -frames % 2 ** len(self.down_blocks)
        if padding:
            mixture = functional.pad(mixture, (0, 0, 0, padding), mode="replicate")
        level = (mixture - self.config.mel_mean) / self.config.mel_std
        with mask_precision(self, mixture.device):
            logits = functional.pixel_shuffle(self._network(level[:, None], fine), 2).float()
        return torch.softmax(logits, dim=1)[..., :frames, :]

    def fine_of(self, waveform: Tensor) -> Tensor | None:
        """``fine`` for ``forward``, of mono mixtures (B, T); None if the network takes none."""
        return None if self.fine_spectra is None else self.fine_spectra(waveform)

    def separate(self, mixture: Tensor, waveform: Tensor) -> Tensor:
        """The mean of ``forward`` over all ``shifts``.

        ``waveform`` (B, T) is the mono mixture that ``mixture`` (B, F, M) is the log-mel of.
        """
        fine, masks = self.fine_of(waveform), []
        for shift in self.config.shifts:
            later = functional.pad(mixture, (0, 0, shift, 0), mode="replicate")
            beside = fine
            if fine is not None:
                beside = functional.pad(fine, (0, 0, shift // 2, 0), mode="replicate")
            masks.append(self(later, beside)[..., shift:, :])
        return torch.stack(masks).mean(dim=0)

    def _network(self, spectra: Tensor, fine: Tensor | None) -> Tensor:
        hidden = functional.pixel_unshuffle(spectra.to(self.dtype), 2)
        hidden = self.conv_in(hidden.contiguous(memory_format=torch.channels_last))
        if self.fine_in is not None:
            if fine is None:
                raise ValueError("this mask network takes the mixture's fine spectra, too")
            missing = hidden.shape[2] - fine.shape[2]
            fine = functional.pad(fine, (0, 0, 0, missing), mode="replicate")
            fine = ((fine - self.config.mel_mean) / self.config.mel_std).to(hidden.dtype)
            hidden = hidden + self.fine_in(fine.contiguous(memory_format=torch.channels_last))
        hidden = hidden + self.band_embedding.to(hidden.dtype)
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            hidden = blocks(hidden)
            if level < len(self.downsamplers):
                skips.append(hidden)
                hidden = self.downsamplers[level](functional.pixel_unshuffle(hidden, 2))
        for level in reversed(range(len(self.up_blocks))):
            if level < len(self.upsamplers):
                hidden = functional.pixel_shuffle(self.upsamplers[level](hidden), 2)
                hidden = (hidden + skips.pop()) * math.sqrt(0.5)
            hidden = self.up_blocks[level](hidden)
        return self.conv_out(functional.silu(self.norm_out(hidden)))


class Repetition(nn.Sequential):
    """A level's blocks once more; they change nothing before they are trained."""


class BandMixer(nn.Module):
    """What every band adds to every other, the same in all channels, beside a skip connection."""

    def __init__(self, channels: int, num_bands: int) -> None:
        super().__init__()
        inner = max(16, num_bands // 2)
        self.norm = nn.GroupNorm(16, channels)
        self.gather = nn.Linear(num_bands, inner)
        self.spread = nn.Linear(inner, num_bands)
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        update = functional.silu(self.norm(hidden)).permute(0, 2, 3, 1)  # bands × channels
        update = torch.matmul(self.gather.weight, update) + self.gather.bias[:, None]
        update = torch.matmul(self.spread.weight, functional.silu(update))
        update = update + self.spread.bias[:, None]
        return hidden + update.permute(0, 3, 1, 2)


class FineSpectra(nn.Module):
    """Log-mels of a window a quarter and of one twice as long as the model's, on half its grid.

    Sharper attacks and narrower harmonics than one window length shows. The short window has twice
    the frames and half of the bands of the model's log-mel (M bands every ``hop_length`` samples),
    the long one half of the frames and twice the bands: each gives four numbers, which are
    channels, for a place two frames long and two bands high.
    """

    short_basis: Tensor
    long_basis: Tensor
    short_window: Tensor
    long_window: Tensor

    def __init__(
        self, sample_rate: int, hop_length: int, num_mels: int, win_length: int, log_floor: float
    ) -> None:
        super().__init__()
        self.hop_length, self.log_floor = hop_length, log_floor
        resolutions = {
            "short": (win_length // 4, num_mels // 2),
            "long": (2 * win_length, 2 * num_mels),
        }
        for name, (length, bands) in resolutions.items():
            basis = torch.empty(length // 2 + 1, bands)
            if not basis.is_meta:  # else the saved one is about to be loaded
                basis = slaney_basis(length, bands, 0.0, sample_rate / 2, sample_rate)
            self.register_buffer(f"{name}_basis", basis)
            window = torch.hann_window(length, periodic=True, device="cpu")
            self.register_buffer(f"{name}_window", window)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 8, F / 2, M / 2) of (B, T) at the model's level; T a multiple of two hops."""
        short = self._log_mel(waveform, self.short_window, self.short_basis, self.hop_length // 2)
        long = self._log_mel(waveform, self.long_window, self.long_basis, 2 * self.hop_length)
        short = short.unflatten(1, (-1, 4)).transpose(2, 3)
        long = long.unflatten(2, (-1, 4))
        return torch.cat([short, long], dim=-1).permute(0, 3, 1, 2)

    def _log_mel(self, waveform: Tensor, window: Tensor, basis: Tensor, hop_length: int) -> Tensor:
        """(B, T // hop_length, bands), whatever the precision of the network around it."""
        spectrum = torch.stft(
            waveform.float(),
            len(window),
            hop_length,
            window=window.float(),
            pad_mode="constant",
            return_complex=True,
        )
        frames = waveform.shape[-1] // hop_length
        magnitude = spectrum[..., :frames].abs().transpose(1, 2)
        return torch.clamp(magnitude @ basis.float(), min=self.log_floor).log()
