"""Do stems keep time and harmony with each other? Measures between two parts of one piece.

A part is a mono waveform (T,), e.g. the given stems' sum and the generated stems' sum. FAD does
not measure any of this: stems of four different songs can score well there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import librosa
import mir_eval
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

HOP_LENGTH = 256
LAG_S = 0.05
"""Onset envelopes may be shifted by up to this against each other."""
BAR_RANGE_S = (1.28, 3.5)
"""Lengths that a bar may have."""
BEAT_TOLERANCE_S = 0.07
"""Beats this close count as the same beat, as usual in beat tracking."""
TEMPO_TOLERANCE = 0.04
EDGE_FRAMES = 10
"""Frames cut at both ends of an envelope: every part of a segment "starts" at its first sample,
and that shared edge would count as an onset in common."""
CHROMA_N_FFT = 4096
CHROMA_FLOOR = 1e-3
"""Frames of a part more than 60 dB below its loudest frame have no harmony."""

ONSET = "onset-envelope correlation"
BEAT = "beat F1"
CHROMA = "chroma cosine"
STABILITY = "tempo stability"
LIKENESS = "likeness of bars"
MEASURES = (ONSET, BEAT, CHROMA, STABILITY)
PIECE_MEASURES = (*MEASURES, LIKENESS)
"""What ``pairwise_coherence`` measures."""
BAR_BANDS = 64
BAR_HOP_S = 0.04
PITCHLESS = ("drums",)
"""Stems left out of harmony."""


def onset_envelope(part: Array, sample_rate: int) -> Array:
    """Onset strength per frame of ``HOP_LENGTH`` samples, without ``EDGE_FRAMES`` at both ends."""
    strength = librosa.onset.onset_strength(y=part, sr=sample_rate, hop_length=HOP_LENGTH)
    return strength[EDGE_FRAMES:-EDGE_FRAMES]


def onset_correlation(first: Array, second: Array, sample_rate: int) -> float:
    """Largest Pearson correlation of two onset envelopes over shifts up to ``LAG_S``.

    Takes envelopes of ``onset_envelope``. NaN where one of them is constant.
    """
    reach = round(LAG_S * sample_rate / HOP_LENGTH)
    length = min(len(first), len(second)) - 2 * reach
    if length < 2:
        return float("nan")
    middle = first[reach : reach + length]
    values = []
    for lag in range(2 * reach + 1):
        shifted = second[lag : lag + length]
        if middle.std() > 0 and shifted.std() > 0:
            values.append(float(np.corrcoef(middle, shifted)[0, 1]))
    return max(values, default=float("nan"))


def beat_times_s(envelope: Array, sample_rate: int) -> NDArray[np.float64]:
    """Beats that librosa's tracker (Ellis 2007) finds in an onset envelope, in seconds."""
    if not envelope.any():
        return np.zeros(0)
    _, beats = librosa.beat.beat_track(
        onset_envelope=envelope, sr=sample_rate, hop_length=HOP_LENGTH, units="time", trim=False
    )
    return np.asarray(beats, dtype=np.float64)


def beat_f1(first_s: NDArray[np.float64], second_s: NDArray[np.float64]) -> float:
    """F1 of two lists of beat times; each beat matches at most one of the other list.

    NaN where either list is empty: nothing to keep time with.
    """
    if not len(first_s) or not len(second_s):
        return float("nan")
    return float(mir_eval.beat.f_measure(first_s, second_s, BEAT_TOLERANCE_S))


def chroma(part: Array, sample_rate: int) -> tuple[NDArray, NDArray]:
    """Chroma (12, frames) and which frames are loud enough to have one."""
    spectrum = np.abs(librosa.stft(part, n_fft=CHROMA_N_FFT, hop_length=CHROMA_N_FFT // 2))
    level = np.sqrt((spectrum**2).sum(0))
    sounding = level > CHROMA_FLOOR * max(float(level.max()), 1e-6)
    bands = librosa.feature.chroma_stft(
        S=spectrum**2, sr=sample_rate, n_fft=CHROMA_N_FFT, norm=None, tuning=0.0
    )
    return bands, sounding


def chroma_cosine(first: Array, second: Array, sample_rate: int) -> float:
    """Mean cosine of two parts' chroma over the frames where both sound; NaN if there is none.

    The mean chroma over all frames and both parts is not removed: unrelated parts score well
    above 0, so read it beside the value for another song's stems.
    """
    bands_a, heard_a = chroma(first, sample_rate)
    bands_b, heard_b = chroma(second, sample_rate)
    both = heard_a & heard_b
    if not both.any():
        return float("nan")
    a, b = bands_a[:, both], bands_b[:, both]
    norms = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return float(np.mean((a * b).sum(0) / np.maximum(norms, 1e-12)))


def tempo_stability(envelope: Array, sample_rate: int) -> float:
    """Share of frames whose local tempo is within 4 % of the piece's median tempo.

    Local tempo: the peak of librosa's tempogram (4-second windows). NaN without any onset.
    """
    if not envelope.any():
        return float("nan")
    local = librosa.feature.tempo(
        onset_envelope=envelope, sr=sample_rate, hop_length=HOP_LENGTH, aggregate=None, ac_size=4.0
    )
    return float(np.mean(np.abs(local / np.median(local) - 1) < TEMPO_TOLERANCE))


def bar_likeness(piece: Array, sample_rate: int) -> float:
    """How like a bar is to the next: the largest correlation of log-mels a bar's length apart.

    Over all lengths in ``BAR_RANGE_S``, each band without its mean over time. NaN if nothing
    changes, or the piece is shorter than two bars.
    """
    hop_length = round(BAR_HOP_S * sample_rate)
    mel = librosa.feature.melspectrogram(
        y=piece, sr=sample_rate, n_fft=2048, hop_length=hop_length, n_mels=BAR_BANDS, power=1.0
    )
    moving = np.log(mel + 1e-3)
    moving -= moving.mean(axis=1, keepdims=True)
    shortest, longest = (round(length_s / BAR_HOP_S) for length_s in BAR_RANGE_S)
    values = []
    for lag in range(shortest, min(longest, moving.shape[1] // 2) + 1):
        before, after = moving[:, :-lag], moving[:, lag:]
        size = math.sqrt(float(np.square(before).sum() * np.square(after).sum()))
        if size > 1e-6:
            values.append(float((before * after).sum()) / size)
    return max(values, default=float("nan"))


@dataclass(frozen=True)
class Part:
    """What the measures need of one part of a piece, computed once."""

    envelope: Array
    beats_s: NDArray[np.float64]
    pitched: Array | None
    """Sum of the pitched stems, None if the part has none."""


def describe_part(stems: dict[str, Array], sample_rate: int) -> Part:
    """Envelope, beats and pitched sum of the named ``stems`` (each (T,))."""
    envelope = onset_envelope(np.sum(list(stems.values()), axis=0), sample_rate)
    pitched = [stem for name, stem in stems.items() if name not in PITCHLESS]
    return Part(
        envelope, beat_times_s(envelope, sample_rate), np.sum(pitched, axis=0) if pitched else None
    )


def agreement(given: Part, other: Part, sample_rate: int) -> dict[str, float]:
    """All measures between the given and the other part, measure → value (NaN: not defined).

    Tempo stability is the other part's own.
    """
    harmony = float("nan")
    if given.pitched is not None and other.pitched is not None:
        harmony = chroma_cosine(given.pitched, other.pitched, sample_rate)
    return {
        ONSET: onset_correlation(given.envelope, other.envelope, sample_rate),
        BEAT: beat_f1(given.beats_s, other.beats_s),
        CHROMA: harmony,
        STABILITY: tempo_stability(other.envelope, sample_rate),
    }


def pairwise_coherence(stems: dict[str, Array], sample_rate: int) -> dict[str, float]:
    """Each measure's mean over all pairs of ``stems`` of one piece (NaN where never defined).

    Tempo stability and the likeness of bars are the whole piece's.
    """
    parts = {name: describe_part({name: stem}, sample_rate) for name, stem in stems.items()}
    names: Sequence[str] = list(parts)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    values = [agreement(parts[a], parts[b], sample_rate) for a, b in pairs]
    result = {}
    for measure in (ONSET, BEAT, CHROMA):
        finite = [value[measure] for value in values if np.isfinite(value[measure])]
        result[measure] = float(np.mean(finite)) if finite else float("nan")
    mixture = np.sum(list(stems.values()), axis=0)
    result[STABILITY] = tempo_stability(onset_envelope(mixture, sample_rate), sample_rate)
    result[LIKENESS] = bar_likeness(mixture, sample_rate)
    return result
