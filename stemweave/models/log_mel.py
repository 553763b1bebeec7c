"""Waveform → log-mel spectrogram (the paper's front end, Section 3, at any resolution).

Shapes: waveform (..., T) → log-mel (..., F, M). Magnitudes, Slaney mel bands, natural logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stemweave.models.part import Part


class LogMel(Part):
    """Log-mel spectrogram of a waveform; owns every constant of the time-frequency grid.

    Args:
        sample_rate: Hz.
        n_fft: FFT size in samples.
        hop_length: samples between frames.
        win_length: samples of the periodic Hann window.
        num_mels: mel bands M between ``f_min`` and ``f_max`` (Hz).
        segment_frames: mel frames of one model window (1024 in the paper, 10.24 s).
        log_floor: magnitudes are clamped from below to this before the logarithm.

    The filter bank and the window are saved with the weights, so that a library's change of
    definition cannot change a saved model's input.
    """

    mel_basis: Tensor
    window: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 1024,
        hop_length: int = 160,
        win_length: int = 1024,
        num_mels: int = 64,
        f_min: float = 0.0,
        f_max: float = 8000.0,
        segment_frames: int = 1024,
        log_floor: float = 1e-5,
    ) -> None:
        super().__init__()
        # on the CPU even if the weights are about to be loaded: "meta" would import a compiler
        window = torch.hann_window(win_length, periodic=True, device="cpu")
        basis = torch.empty(n_fft // 2 + 1, num_mels)
        if not basis.is_meta:  # else the saved one is about to be loaded
            basis = slaney_basis(n_fft, num_mels, f_min, f_max, sample_rate)
        self.register_buffer("mel_basis", basis)  # (n_fft // 2 + 1, M)
        self.register_buffer("window", window)

    @property
    def segment_samples(self) -> int:
        """Samples T of one model window."""
        return self.config.segment_frames * self.config.hop_length

    @property
    def frames_per_second(self) -> float:
        return self.config.sample_rate / self.config.hop_length

    def stft(self, waveform: Tensor) -> Tensor:
        """Complex STFT (..., 1 + T // hop_length, n_fft // 2 + 1) of ``waveform`` (..., T).

        Centred frames with reflect padding; raises ``ValueError`` if T ≤ n_fft / 2.
        """
        config = self.config
        num_samples = waveform.shape[-1]
        if num_samples <= config.n_fft // 2:
            raise ValueError(
                f"waveform has {num_samples} samples; at least {config.n_fft // 2 + 1} are needed"
            )
        spectrum = torch.stft(
            waveform.reshape(-1, num_samples).to(self.window.device),
            config.n_fft,
            config.hop_length,
            config.win_length,
            self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        return spectrum.transpose(-1, -2).reshape(
            *waveform.shape[:-1], spectrum.shape[-1], spectrum.shape[-2]
        )

    def mel_of_magnitude(self, magnitude: Tensor) -> Tensor:
        """Log-mel (..., F, M) of an STFT magnitude (..., F, n_fft // 2 + 1)."""
        return torch.clamp(magnitude @ self.mel_basis, min=self.config.log_floor).log()

    def forward(self, waveform: Tensor, all_frames: bool = False) -> Tensor:
        """Log-mel (..., F, M) of ``waveform`` (..., T) in [-1, 1].

        F = T // hop_length: the last of the 1 + T // hop_length centred frames is dropped, as in
        the paper (1025 → 1024), unless ``all_frames``.
        """
        frames = None if all_frames else waveform.shape[-1] // self.config.hop_length
        return self.mel_of_magnitude(self.stft(waveform).abs()[..., :frames, :])


def slaney_basis(n_fft: int, num_mels: int, f_min: float, f_max: float, sample_rate: int) -> Tensor:
    """Slaney's filter bank (n_fft // 2 + 1, M) of bands between ``f_min`` and ``f_max`` Hz."""
    from transformers.audio_utils import mel_filter_bank  # slow to import; saved models need it not

    bins = n_fft // 2 + 1
    basis = mel_filter_bank(bins, num_mels, f_min, f_max, sample_rate, "slaney", "slaney")
    return torch.from_numpy(basis).float()


def mono_log_mel(log_mels: Tensor, dim: int) -> Tensor:
    """Log-mel of the mean of channels that are in phase, from theirs; ``dim`` is theirs."""
    return torch.logsumexp(log_mels, dim=dim) - math.log(log_mels.shape[dim])


def front_end_misfits(
    part: str, made_for: Mapping[str, Any], mel: Mapping[str, Any], names: Sequence[str]
) -> list[str]:
    """What of ``names`` the log-mel ``mel`` has otherwise than the configuration ``made_for``."""
    return [
        f"the {part} was made for {name} {made_for[name]}, not {mel[name]}"
        for name in names
        if made_for[name] != mel[name]
    ]
