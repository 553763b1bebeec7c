"""Losses between waveforms (N, T), between log-mels, and between the masks they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

MAX_SI_SDR_DB = 30.0
"""Better than this is not rewarded."""


N_FFTS = (256, 512, 1024, 2048)
POOLS = ((1, 1), (8, 1), (1, 8), (4, 4))
"""Blocks of (frames, bands) that log-mels are compared in."""
LONGEST_STFT = 2048
"""Samples of the longest window of these, and of the vocoder's."""


def stft_magnitudes(
    waveform: Tensor, n_ffts: Sequence[int] = N_FFTS, from_share: float = 0.0
) -> list[Tensor]:
    """Magnitudes (N, bins, frames) at each resolution, hop n_fft / 4, Hann window.

    Bins from ``from_share`` of half the sample rate on.
    """
    magnitudes = []
    for n_fft in n_ffts:
        window = torch.hann_window(n_fft, device=waveform.device)
        spectrum = torch.stft(waveform, n_fft, n_fft // 4, window=window, return_complex=True)
        magnitudes.append(spectrum.abs()[:, round(from_share * n_fft / 2) :])
    return magnitudes


def magnitudes_distance(
    ours: Sequence[Tensor], theirs: Sequence[Tensor], level: Sequence[Tensor] | None = None
) -> Tensor:
    """Spectral convergence plus log-magnitude L1, mean over resolutions (arXiv 1910.11480).

    All are of ``stft_magnitudes``. They are floored at 1e-3 (about -80 dB of full scale for a
    sinusoid), so that inaudible noise does not count. The convergence is relative to ``level``
    (None: to ``theirs``).
    """
    total = ours[0].new_zeros(())
    for own, other, reference in zip(ours, theirs, level or theirs, strict=True):
        total = total + _magnitude_distance(own, other, reference)
    return total / len(ours)


def multi_resolution_stft_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """``magnitudes_distance`` of waveforms (N, T)."""
    return magnitudes_distance(stft_magnitudes(estimate), stft_magnitudes(target))


def multi_resolution_mel_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """The same distance between log-mels (N, 1, F, M), mean over resolutions.

    Before the logarithm, magnitudes are averaged over blocks of (frames, bands): details may move
    within a block, its energy has to be right.
    """
    # an untrained network's logarithms would overflow
    ours, theirs = estimate.clamp(max=10.0).exp(), target.exp()
    total = estimate.new_zeros(())
    for pool in POOLS:
        total = total + _magnitude_distance(
            functional.avg_pool2d(ours, pool)[:, 0],
            functional.avg_pool2d(theirs, pool)[:, 0],
            functional.avg_pool2d(theirs, pool)[:, 0],
        )
    return total / len(POOLS)


def _magnitude_distance(ours: Tensor, theirs: Tensor, level: Tensor) -> Tensor:
    """Spectral convergence relative to ``level`` plus log-magnitude L1; all are (N, ..., ...)."""
    difference = torch.linalg.norm(theirs - ours, dim=(-2, -1))
    convergence = difference / torch.linalg.norm(level, dim=(-2, -1)).clamp(min=1e-1)
    logarithm = (ours.clamp(min=1e-3).log() - theirs.clamp(min=1e-3).log()).abs().mean()
    return convergence.mean() + logarithm


def separation_error_db(
    reached_db: Tensor, left: Tensor, sounding: Tensor, silence_energy: float, silence_weight: float
) -> Tensor:
    """Mean of minus the SI-SDR of stems that sound, and of what estimates leave of the others.

    All are (N, S): SI-SDR ``reached_db``; energy ``left`` of the estimates relative to the
    mixture's, which counts in dB above ``silence_energy`` and by ``silence_weight``; which are
    ``sounding``.
    """
    left_db = 10 * torch.log10(left + silence_energy)
    return torch.where(
        sounding, -reached_db.clamp(max=MAX_SI_SDR_DB), silence_weight * left_db
    ).mean()
