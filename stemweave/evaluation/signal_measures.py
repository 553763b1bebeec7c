"""Measures of an estimated stem against the true one: waveforms (…, T), log-mels (…, F, M).

SI-SDR after Le Roux et al. 2019 ("SDR – half-baked or well done?"); SDR as in BSS Eval with a
512-tap distortion filter, computed by fast-bss-eval.
"""

from __future__ import annotations

import fast_bss_eval
import torch
from torch import Tensor

SILENCE_DBFS = -60.0
"""A stem whose RMS is below this counts as silent: it has no SI-SDR and no SDR."""

MIXED_DB = -35.0
"""A stem is mixed with others where neither it nor their sum is so far below the mixture.

Validation in training uses the same limit (``training.stage_refiner``)."""

SI_SDR_RANGE_DB = (-50.0, 100.0)
"""SI-SDR is clamped to this, so that one silent estimate cannot take a whole mean to -inf."""


def rms_dbfs(waveform: Tensor) -> Tensor:
    """RMS level (…) in dB relative to full scale of ``waveform`` (…, T); digital silence → -200."""
    power = waveform.double().square().mean(-1)
    return 10 * torch.log10(power.clamp(min=1e-20))


def is_silent(waveform: Tensor) -> Tensor:
    """Whether each waveform (…, T) is below ``SILENCE_DBFS``."""
    return rms_dbfs(waveform) < SILENCE_DBFS


def is_mixed(stems: Tensor, mixture: Tensor) -> Tensor:
    """Whether there is something to separate: (S,) for stems (S, T) of ``mixture`` (T,).

    False for stems that are silent, buried under the others or alone (``MIXED_DB``). The mixture
    of a lone stem has an unlimited SI-SDR, so that an "improvement" over it says nothing.
    """
    limit = rms_dbfs(mixture) + MIXED_DB
    buried = rms_dbfs(stems) < limit
    return ~(is_silent(stems) | buried | is_alone(stems, mixture))


def is_alone(stems: Tensor, mixture: Tensor) -> Tensor:
    """Whether the sum of all others is inaudible beside each of ``stems`` (S, T): (S,)."""
    others = mixture - stems
    return ~is_silent(stems) & (rms_dbfs(others) < rms_dbfs(mixture) + MIXED_DB)


def si_sdr_db(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio (…) in dB of ``estimate`` (…, T).

    No mean is removed. An estimate without any component along the reference gets the lower end
    of ``SI_SDR_RANGE_DB``; the reference must not be silent (check with ``is_silent``).
    """
    estimate, reference = estimate.double(), reference.double()
    energy = reference.square().sum(-1, keepdim=True)
    scale = (estimate * reference).sum(-1, keepdim=True) / energy
    target = scale * reference
    signal = target.square().sum(-1)
    noise = (estimate - target).square().sum(-1)
    ratio = 10 * (torch.log10(signal) - torch.log10(noise))
    low, high = SI_SDR_RANGE_DB
    return torch.nan_to_num(ratio, nan=low, posinf=high, neginf=low).clamp(low, high)


def sdr_db(estimate: Tensor, reference: Tensor) -> Tensor:
    """BSS Eval's SDR (N,) in dB of ``estimate`` (N, T), 512-tap filter, no permutation search."""
    low, high = SI_SDR_RANGE_DB
    ratio = -fast_bss_eval.sdr_loss(
        estimate.double(), reference.double(), filter_length=512, load_diag=1e-10
    )
    return torch.nan_to_num(ratio, nan=low, posinf=high, neginf=low).clamp(low, high)


def log_mel_mse(estimate: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference (…) of log-mels (…, F, M): the paper's "MSE on mel"."""
    return (estimate - reference).square().mean((-2, -1))


def log_mel_l1(estimate: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute difference (…) of log-mels (…, F, M)."""
    return (estimate - reference).abs().mean((-2, -1))
