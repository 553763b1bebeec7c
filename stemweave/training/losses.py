"""Losses between waveforms (N, T) and between the masks that spectra stand for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stemweave.audio.masking import mel_masks


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


def mask_error_db(estimate: Tensor, target: Tensor, mixture: Tensor, band_width: Tensor) -> Tensor:
    """Energy that wrong masks leave in each stem, in dB relative to the stem: (N, S).

    Masks of the estimated and of the true spectra are applied to the mixture's spectrum; without
    phases, this is the negative signal-to-distortion ratio. Stems more than 20 dB below the mixture
    count less and less.

    Args:
        estimate, target: log-mels of the stems (N, S, F, M).
        mixture: log-mels (N, F, M).
        band_width: (M,) proportional to the bandwidth of each mel band.
    """
    power = (2 * mixture).exp()[:, None] * band_width
    true_masks = mel_masks(target, exponent=2)
    wrong = ((mel_masks(estimate, exponent=2) - true_masks).square() * power).sum(dim=(-2, -1))
    right = (true_masks.square() * power).sum(dim=(-2, -1))
    whole = power.sum(dim=(-2, -1))
    return 10 * torch.log10((wrong + 1e-4 * whole) / (right + 1e-2 * whole))
