"""Soft masks from the model's stem spectra, applied to the original mixture's own spectrum.

Masks of the model's mel grid (S, F, M) are carried to the STFT of the original at its own rate and
channels. Stems keep the mixture's phase and stereo image and add up to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.panning import panned
from stemweave.audio.waveforms import in_mono, polarity

FAINT = 1e-3
"""Level of a stem over a window, relative to the mixture's: -60 dB."""
HOPS_PER_WINDOW = 4
"""Of the spectrum that masks are applied to."""


def mel_masks(log_mels: Tensor, exponent: float = 1.0) -> Tensor:
    """Soft masks (..., S, F, M) that add up to one over S, from log-mels of the same shape.

    ``exponent`` 2 weighs powers (Wiener's rule for true spectra), 1 magnitudes, which is better for
    estimates: a sharp mask turns their errors into holes.
    """
    return torch.softmax(exponent * log_mels, dim=-3)


class MaskSeparator:
    """Applies mel-grid masks to waveforms of one sample rate.

    Args:
        log_mel: the model's ``LogMel``, which defines the masks' grid.
        sample_rate: Hz of the waveforms to separate.
        sharpen: ``MaskSharpener.sharpen``, for spectra at the model's level and scale; or None.
    """

    def __init__(
        self,
        log_mel: Any,
        sample_rate: int,
        sharpen: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        config = log_mel.config
        scale = sample_rate / config.sample_rate
        self.n_fft = fast_fft_size(config.n_fft * scale)
        self.scale = config.n_fft / self.n_fft
        self.hop_length = self.n_fft // HOPS_PER_WINDOW
        self.window = torch.hann_window(self.n_fft, periodic=True).sqrt()
        self.sample_rate = sample_rate
        self.frames_per_second = log_mel.frames_per_second
        self.to_bins = mel_to_bins(log_mel, self.n_fft, sample_rate)
        self.sharpen = sharpen

    def separate(self, mixture: Tensor, masks: Tensor, gain: float = 1.0) -> Tensor:
        """Stems (S, channels, T) of ``mixture`` (channels, T) by ``masks`` (S, F, M).

        The stems add up to the mixture to float precision. ``gain`` brings the mixture to the
        model's level, for ``sharpen``. Where two channels differ, panning refines the masks.
        """
        num_samples = mixture.shape[-1]
        padding = max(0, self.n_fft - num_samples)  # very short input
        padded = functional.pad(mixture, (0, padding))
        spectrum = self.spectrum(padded)
        mono = in_mono(spectrum, polarity(mixture)) * gain
        bin_masks = self.bin_masks(masks[None], mono[None])[0]
        if len(spectrum) == 2:
            bin_masks = panned(bin_masks, spectrum)
        # the last stem is what the others leave: one inverse transform less, and an exact sum
        stems = [
            self.waveform(spectrum * mask, padded.shape[-1])[..., :num_samples]
            for mask in bin_masks[:-1]
        ]
        rest = mixture - sum(stems, torch.zeros_like(mixture))
        return torch.stack([*stems, rest])

    def spectrum(self, waveforms: Tensor) -> Tensor:
        """Complex (..., bins, frames) of (..., T) with T ≥ ``n_fft``; the window's root twice."""
        spectrum = torch.stft(
            waveforms.flatten(0, -2),
            self.n_fft,
            self.hop_length,
            window=self.window.to(waveforms.device),
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum.unflatten(0, waveforms.shape[:-1])

    def waveform(self, spectra: Tensor, num_samples: int) -> Tensor:
        """(..., num_samples) of spectra (..., bins, frames)."""
        waveforms = torch.istft(
            spectra.flatten(0, -3),
            self.n_fft,
            self.hop_length,
            window=self.window.to(spectra.device),
            length=num_samples,
        )
        return waveforms.unflatten(0, spectra.shape[:-2])

    def bin_masks(self, masks: Tensor, spectrum: Tensor) -> Tensor:
        """Masks (B, S, bins, frames) for ``spectrum`` (B, bins, frames) from (B, S, F, M).

        ``spectrum`` is the mono mixture's, at the model's level.
        """
        at_frames = self._at_frames(masks, spectrum.shape[-1])
        bin_masks = self.to_bins.to(masks.device).mT @ at_frames.mT  # frames last in memory, too
        if self.sharpen is None:
            return bin_masks
        return self.sharpen(spectrum * self.scale, bin_masks)

    def _at_frames(self, masks: Tensor, num_frames: int) -> Tensor:
        """Masks (..., num_frames, M): linear interpolation from mel frames to STFT frames."""
        time_s = torch.arange(num_frames, device=masks.device) * self.hop_length / self.sample_rate
        position = (time_s * self.frames_per_second).clamp(max=masks.shape[-2] - 1)
        left = position.floor().long()
        right = (left + 1).clamp(max=masks.shape[-2] - 1)
        share = (position - left)[:, None]
        return masks[..., left, :] * (1 - share) + masks[..., right, :] * share


def silence_faint(stems: Tensor, mixture: Tensor, optional: Sequence[int]) -> None:
    """Silence those ``optional`` ones of ``stems`` (S, channels, T) that are below ``FAINT``.

    In place. The loudest stem takes what was in them: all still add up to ``mixture``.
    """
    levels = torch.linalg.vector_norm(stems, dim=(1, 2), dtype=torch.float64)
    limit = FAINT * torch.linalg.vector_norm(mixture, dtype=torch.float64)
    faint = [index for index in optional if levels[index] <= limit]
    if faint:
        stems[faint] = levels[faint] = 0
        loudest = int(levels.argmax())
        stems[loudest] = 0
        stems[loudest] = mixture - stems.sum(dim=0)


def fast_fft_size(wanted: float) -> int:
    """The multiple of 4 nearest to ``wanted`` (≥ 4) samples without prime factors above 11."""
    step = 0
    while True:
        for size in (4 * (round(wanted / 4) - step), 4 * (round(wanted / 4) + step)):
            rest = size
            for prime in (2, 3, 5, 7, 11):
                while rest > 1 and rest % prime == 0:
                    rest //= prime
            if rest == 1:
                return size
        step += 1


def mel_to_bins(log_mel: Any, n_fft: int, sample_rate: int) -> Tensor:
    """Interpolation (M, bins) from mel bands; beyond the highest the mean of its upper octave."""
    basis = log_mel.mel_basis.double().cpu()
    model_hz = torch.linspace(0, log_mel.config.sample_rate / 2, basis.shape[0]).double()
    weight = basis.sum(dim=0)
    centres = (basis * model_hz[:, None]).sum(dim=0) / weight.clamp(min=1e-12)
    num_bands = len(centres)
    hz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1).double()
    right = torch.searchsorted(centres.contiguous(), hz).clamp(1, num_bands - 1)
    left = right - 1
    share = ((hz - centres[left]) / (centres[right] - centres[left])).clamp(0, 1)
    matrix = torch.zeros(num_bands, len(hz), dtype=torch.float64)
    bins = torch.arange(len(hz))
    matrix[left, bins] += 1 - share
    matrix[right, bins] += share
    beyond = hz > centres[-1]
    upper_octave = (centres > centres[-1] / 2).double()
    matrix[:, beyond] = (upper_octave / upper_octave.sum())[:, None]
    return cast(Tensor, matrix.float())


def separate_with_masks(log_mel: Any, mixture: Tensor, log_mels: Tensor) -> Tensor:
    """Stems (S, channels, T) of ``mixture`` at the model's rate by true ``log_mels`` (S, F, M)."""
    masks = mel_masks(log_mels, exponent=2)
    return MaskSeparator(log_mel, log_mel.config.sample_rate).separate(mixture, masks)
