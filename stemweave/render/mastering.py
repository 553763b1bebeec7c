"""Mixes as engineers leave them: bus compression and a limiter, whose gain all stems share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import lfilter

from stemweave.render.mixdown import PEAK

SHARE = 0.6
"""Of songs that are mastered at all."""
BLOCK_S = 0.005
"""Gains are computed so often and glide between."""
LOOKAHEAD_BLOCKS = 2


def master(
    stems: Mapping[str, np.ndarray], sample_rate: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Stems (T,) with one gain over time, so that they still add up to the mixture."""
    if rng.random() >= SHARE:
        return dict(stems)
    mixture = np.sum(list(stems.values()), axis=0)
    block = round(BLOCK_S * sample_rate)
    blocks = np.pad(mixture, (0, -len(mixture) % block)).reshape(-1, block)
    gain = _compression(np.square(blocks).mean(axis=1), rng)
    peaks = np.abs(blocks).max(axis=1) * gain
    ceiling = peaks.max() * 10 ** (-rng.uniform(0, 8) / 20)
    limit = minimum_filter1d(
        np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9)), 2 * LOOKAHEAD_BLOCKS + 1
    )
    gain = gain * uniform_filter1d(limit, LOOKAHEAD_BLOCKS + 1)
    centres = (np.arange(len(gain)) + 0.5) * block
    gliding = np.interp(np.arange(len(mixture)), centres, gain)
    scale = PEAK / max(float(np.abs(mixture * gliding).max()), 1e-6)
    shared = (gliding * scale).astype(np.float32)
    return {stem: waveform * shared for stem, waveform in stems.items()}


def _compression(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain of each block of a compressor that follows the mean ``power`` of blocks (N,)."""
    memory = np.exp(-BLOCK_S / rng.uniform(0.02, 0.3))
    followed = lfilter([1 - memory], [1, -memory], power)
    level_db = 10 * np.log10(np.maximum(followed, 1e-9))
    threshold_db = np.percentile(level_db, rng.uniform(20, 80))
    slope = 1 - 1 / rng.uniform(1.3, 4.0)
    gain: np.ndarray = 10 ** (-np.maximum(level_db - threshold_db, 0) * slope / 20)
    return gain
