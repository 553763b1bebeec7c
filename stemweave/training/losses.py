"""Spectral losses between waveforms (N, T)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def stft_magnitude(waveform: Tensor, n_fft: int) -> Tensor:
    """Magnitudes (N, n_fft // 2 + 1, frames), hop n_fft / 4, Hann window."""
    window = torch.hann_window(n_fft, device=waveform.device)
    return torch.stft(waveform, n_fft, n_fft // 4, window=window, return_complex=True).abs()


def multi_resolution_stft_distance(
    estimate: Tensor, target: Tensor, n_ffts: Sequence[int] = (256, 512, 1024, 2048)
) -> Tensor:
    """Spectral convergence plus log-magnitude L1, mean over resolutions (arXiv 1910.11480).

    Magnitudes are floored at 1e-3 (about -80 dB of full scale for a sinusoid), so that inaudible
    noise does not count.
    """
    total = estimate.new_zeros(())
    for n_fft in n_ffts:
        ours, theirs = stft_magnitude(estimate, n_fft), stft_magnitude(target, n_fft)
        difference = torch.linalg.norm(theirs - ours, dim=(-2, -1))
        convergence = difference / torch.linalg.norm(theirs, dim=(-2, -1)).clamp(min=1e-1)
        logarithm = (ours.clamp(min=1e-3).log() - theirs.clamp(min=1e-3).log()).abs().mean()
        total = total + convergence.mean() + logarithm
    return total / len(n_ffts)
