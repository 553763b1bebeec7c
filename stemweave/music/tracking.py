"""A lead sheet from what the analyser finds in each frame: beats, bars, key, chords."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stemweave.music.estimate import chords_of_chroma, key_of_chords
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.metre import beats_per_bar

TEMPI_BPM = (45.0, 230.0)
USUAL_BPM = 115.0
FASTER_SHARE = 0.8
"""The shortest period counts whose autocorrelation is so much of the best one's: not every other
beat."""
TEMPO_STIFFNESS = 30.0
STEADY_WITHIN_S = 0.02
"""Beats whose typical distance from an even grid is below this are on it."""
MIN_STEADY_BEATS = 6


@dataclass(frozen=True)
class FrameFindings:
    """Probabilities of F frames, ``frames_per_s`` apart.

    ``beat`` and ``downbeat`` (F,); ``metre`` of the whole piece for the names in ``metres``;
    ``tones`` (F, 12): a pitch class belongs to the chord; ``bass`` and ``root`` (F, 13), the last
    for no harmony.
    """

    beat: np.ndarray
    downbeat: np.ndarray
    metre: np.ndarray
    tones: np.ndarray
    bass: np.ndarray
    root: np.ndarray
    metres: Sequence[str]
    frames_per_s: float


def sheet_of_findings(found: FrameFindings, duration_s: float) -> LeadSheet:
    """Beats in whole bars over ``duration_s``, metre, tempo, key and chords; empty if no beat is.

    Even beats lie on their exact grid; the first bar may begin before 0 s.
    """
    beats_s = find_beats(found.beat, found.frames_per_s)
    if len(beats_s) < 3:
        return LeadSheet()
    beats_s = straightened(beats_s)
    metre, first = find_bars(beats_s, found)
    bar_beats = beats_per_bar(metre)
    beats_s = _whole_bars(beats_s, first, bar_beats, duration_s)
    num_beats = len(beats_s) - 1
    downbeats = tuple(range(0, num_beats + 1, bar_beats))
    chroma, lowest = _harmony_of_beats(found, beats_s)
    unspelt = chords_of_chroma(chroma, lowest, downbeats, None)
    key = key_of_chords(unspelt, len(chroma))
    return LeadSheet(
        beats_s=tuple(beats_s.tolist()),
        downbeats=downbeats,
        metre=metre,
        tempo_bpm=round(60 / float(np.median(np.diff(beats_s))), 3),
        key=key,
        chords=chords_of_chroma(chroma, lowest, downbeats, key) or None,
    )


def find_beats(activation: np.ndarray, frames_per_s: float) -> np.ndarray:
    """Times in seconds of a series of peaks about one period apart (Ellis, "Beat tracking by
    dynamic programming", 2007)."""
    period = _period(activation, frames_per_s)
    if period is None:
        return np.zeros(0)
    gaps = np.arange(max(round(0.6 * period), 1), round(1.6 * period) + 1)
    costs = TEMPO_STIFFNESS * np.log(gaps / period) ** 2 * float(activation.max())
    score, before = activation.astype(np.float64).copy(), np.full(len(activation), -1)
    for frame in range(gaps[0], len(activation)):
        reached = gaps[gaps <= frame]
        candidates = score[frame - reached] - costs[: len(reached)]
        best = int(np.argmax(candidates))
        if candidates[best] > 0:
            score[frame] += candidates[best]
            before[frame] = frame - reached[best]
    frame = len(score) - period + int(np.argmax(score[len(score) - period :]))
    beats = []
    while frame >= 0:
        beats.append(_peak_near(activation, frame))
        frame = int(before[frame])
    return np.array(beats[::-1]) / frames_per_s


def _period(activation: np.ndarray, frames_per_s: float) -> int | None:
    """Frames between beats; None if nothing returns."""
    centred = activation - activation.mean()
    length = 2 ** math.ceil(math.log2(2 * len(centred)))
    spectrum = np.fft.rfft(centred, length)
    repeats = np.fft.irfft(np.abs(spectrum) ** 2)[: len(centred)]
    slowest = min(round(60 * frames_per_s / TEMPI_BPM[0]), len(centred) - 1)
    fastest = round(60 * frames_per_s / TEMPI_BPM[1])
    if repeats[0] <= 0 or slowest <= fastest:
        return None
    lags = np.arange(fastest, slowest + 1)
    padded = np.append(repeats, 0.0)  # neighbours belong to a peak: few periods are whole frames
    strength = repeats[lags] + 0.5 * (padded[lags - 1] + padded[lags + 1])
    strength *= len(centred) / (len(centred) - lags)
    prior = np.exp(-0.5 * (np.log2(60 * frames_per_s / lags / USUAL_BPM) / 1.2) ** 2)
    weighted = strength * prior
    is_peak = np.ones(len(lags), dtype=bool)
    is_peak[1:] &= strength[1:] >= strength[:-1]
    is_peak[:-1] &= strength[:-1] >= strength[1:]
    if not is_peak.any():  # none of it is a number
        return None
    good = is_peak & (weighted >= FASTER_SHARE * weighted[is_peak].max())
    return int(lags[np.argmax(good)]) if weighted[is_peak].max() > 0 else None


def _peak_near(activation: np.ndarray, frame: int) -> float:
    """``frame``, between frames where the parabola through it and its neighbours is highest."""
    if not 0 < frame < len(activation) - 1:
        return float(frame)
    left, middle, right = activation[frame - 1 : frame + 2]
    curvature = left - 2 * middle + right
    if curvature >= 0:
        return float(frame)
    return frame + float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))


def straightened(beats_s: np.ndarray) -> np.ndarray:
    """Beats on the even grid that they lie close to, or as they are if they lie on none."""
    if len(beats_s) < MIN_STEADY_BEATS:
        return beats_s
    index = np.arange(len(beats_s))
    slope, start = np.polyfit(index, beats_s, 1)
    for _ in range(3):  # without the outliers
        distance = np.abs(beats_s - (start + slope * index))
        near = distance <= max(2 * float(np.median(distance)), 1e-3)
        slope, start = np.polyfit(index[near], beats_s[near], 1)
    distance = np.abs(beats_s - (start + slope * index))
    return start + slope * index if np.median(distance) < STEADY_WITHIN_S else beats_s


def find_bars(beats_s: np.ndarray, found: FrameFindings) -> tuple[str, int]:
    """The metre, and the index of the first beat that begins a bar.

    The number of beats in a bar is the one whose downbeats stand out most; among metres with as
    many (4/4 and 12/8) ``found.metre`` decides.
    """
    frames = np.clip(np.round(beats_s * found.frames_per_s), 1, len(found.downbeat) - 2).astype(int)
    strength = np.max([found.downbeat[frames + by] for by in (-1, 0, 1)], axis=0)
    contrasts = {
        (bar_beats, phase): strength[phase::bar_beats].mean()
        - np.delete(strength, np.arange(phase, len(strength), bar_beats)).mean()
        for bar_beats in {beats_per_bar(metre) for metre in found.metres}
        for phase in range(bar_beats)
        if 1 < bar_beats < len(beats_s)
    }
    bar_beats, first = max(contrasts, key=lambda bar: contrasts[bar])
    fitting = [metre for metre in found.metres if beats_per_bar(metre) == bar_beats]
    return max(fitting, key=lambda metre: found.metre[list(found.metres).index(metre)]), first


def _whole_bars(beats_s: np.ndarray, first: int, bar_beats: int, duration_s: float) -> np.ndarray:
    """``beats_s`` from a downbeat at or before 0 s to the end of the piece's last bar."""
    early, late = beats_s[1] - beats_s[0], beats_s[-1] - beats_s[-2]
    before = max(math.ceil(beats_s[0] / early - 0.05), 0)
    before += -(first + before) % bar_beats
    beats_s = np.concatenate([beats_s[0] - early * np.arange(before, 0, -1), beats_s])
    late_downbeats = np.flatnonzero(beats_s[::bar_beats] <= 0.05 * early)
    beats_s = beats_s[bar_beats * int(late_downbeats[-1]) :] if len(late_downbeats) else beats_s
    after = max(math.ceil((duration_s - beats_s[-1]) / late - 0.05), 0)
    after += -(len(beats_s) - 1 + after) % bar_beats
    return np.concatenate([beats_s, beats_s[-1] + late * np.arange(1, after + 1)])


def _harmony_of_beats(found: FrameFindings, beats_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much each pitch class sounds in every beat (beats, 12), and the lowest one (-1: none)."""
    num_frames = len(found.tones)
    edges = np.clip(np.round(beats_s * found.frames_per_s).astype(int), 0, num_frames)
    chroma, lowest = np.zeros((len(beats_s) - 1, 12)), np.full(len(beats_s) - 1, -1)
    for beat, (start, end) in enumerate(pairwise(edges)):
        if end <= start or found.root[start:end, 12].mean() > 0.5:
            continue
        root = found.root[start:end, :12].mean(axis=0)
        chroma[beat] = found.tones[start:end].mean(axis=0) + 0.5 * root
        lowest[beat] = int(np.argmax(found.bass[start:end, :12].mean(axis=0)))
    return chroma, lowest
