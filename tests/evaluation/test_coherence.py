"""Coherence measures on click tracks and chords whose answers are known."""

import numpy as np
import pytest

pytest.importorskip("librosa")

from stemweave.evaluation.coherence import (
    BEAT,
    CHROMA,
    ONSET,
    PIECE_MEASURES,
    STABILITY,
    agreement,
    bar_likeness,
    beat_f1,
    chroma_cosine,
    describe_part,
    onset_correlation,
    pairwise_coherence,
)

SAMPLE_RATE = 16_000


def clicks(period_s: float, offset_s: float = 0.0, duration_s: float = 8.0) -> np.ndarray:
    waveform = np.zeros(int(duration_s * SAMPLE_RATE), dtype=np.float32)
    burst = np.random.default_rng(0).normal(size=400) * np.exp(-np.arange(400) / 80)
    for time_s in np.arange(offset_s, duration_s - 0.1, period_s):
        start = int(time_s * SAMPLE_RATE)
        waveform[start : start + 400] += 0.3 * burst.astype(np.float32)
    return waveform


def chord(*frequencies_hz: float, duration_s: float = 4.0) -> np.ndarray:
    time_s = np.arange(int(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    tones = [np.sin(2 * np.pi * frequency * time_s) for frequency in frequencies_hz]
    return (0.1 * np.sum(tones, axis=0)).astype(np.float32)


def test_beat_f1_counts_each_beat_once() -> None:
    beats = np.arange(8) * 0.5
    assert beat_f1(beats, beats + 0.06) == 1.0
    assert beat_f1(beats, beats + 0.25) == 0.0
    assert beat_f1(beats, beats[::2]) == pytest.approx(2 * 4 / 12)
    assert beat_f1(beats[:1], beats[:1].repeat(3)) == pytest.approx(2 / 4)
    assert np.isnan(beat_f1(beats, np.zeros(0)))


def test_parts_that_keep_time_agree_and_others_do_not() -> None:
    first = describe_part({"drums": clicks(0.5, 0.1)}, SAMPLE_RATE)
    same = describe_part({"bass": clicks(0.5, 0.1) * 0.3}, SAMPLE_RATE)
    other = describe_part({"bass": clicks(0.37, 0.2)}, SAMPLE_RATE)
    together = agreement(first, same, SAMPLE_RATE)
    apart = agreement(first, other, SAMPLE_RATE)
    assert together[ONSET] > 0.95
    assert together[BEAT] > 0.9
    assert apart[ONSET] < 0.5
    assert apart[BEAT] < 0.75
    assert together[STABILITY] > 0.9
    assert np.isnan(together[CHROMA])


def test_onset_correlation_of_constants_is_undefined() -> None:
    assert np.isnan(onset_correlation(np.zeros(500), np.random.rand(500), SAMPLE_RATE))


def test_chroma_of_the_same_chord_an_octave_up_and_of_a_tritone() -> None:
    c_major = chord(261.63, 329.63, 392.0)
    octave = chord(523.25, 659.26, 783.99)
    tritone = chord(369.99, 466.16, 554.37)
    assert chroma_cosine(c_major, octave, SAMPLE_RATE) > 0.9
    assert chroma_cosine(c_major, tritone, SAMPLE_RATE) < 0.4
    assert np.isnan(chroma_cosine(c_major, np.zeros_like(c_major), SAMPLE_RATE))


def test_unsteady_tempo_is_less_stable() -> None:
    steady = describe_part({"drums": clicks(0.5, 0.1, 16.0)}, SAMPLE_RATE)
    parts = [clicks(period, 0.05, 4.0) for period in (0.3, 0.55, 0.4, 0.7)]
    unsteady = describe_part({"drums": np.concatenate(parts)}, SAMPLE_RATE)
    assert (
        agreement(steady, unsteady, SAMPLE_RATE)[STABILITY]
        < agreement(unsteady, steady, SAMPLE_RATE)[STABILITY] - 0.2
    )


def test_bars_that_return_are_alike() -> None:
    rng = np.random.default_rng(0)
    bars = [rng.standard_normal(2 * SAMPLE_RATE).astype(np.float32) for _ in range(4)]
    for bar in bars:  # notes that come and go
        bar *= np.repeat(rng.random(8), SAMPLE_RATE // 4).astype(np.float32)
    same, other = np.tile(bars[0], 4), np.concatenate(bars)
    in_pairs = np.concatenate([bars[0], bars[1], bars[0], bars[1]])
    assert bar_likeness(same, SAMPLE_RATE) > 0.98
    assert bar_likeness(other, SAMPLE_RATE) < 0.5
    assert bar_likeness(in_pairs, SAMPLE_RATE) < 0.5
    assert np.isnan(bar_likeness(np.zeros(4 * SAMPLE_RATE, np.float32), SAMPLE_RATE))
    assert np.isnan(bar_likeness(same[: 2 * SAMPLE_RATE], SAMPLE_RATE))


def test_pairs_of_a_piece_and_silence() -> None:
    stems = {"bass": chord(261.63), "piano": chord(261.63, 523.25), "drums": clicks(0.5, 0.1, 4.0)}
    values = pairwise_coherence(stems, SAMPLE_RATE)
    assert set(values) == set(PIECE_MEASURES)
    assert values[CHROMA] > 0.95
    silent = {name: np.zeros(SAMPLE_RATE * 4, dtype=np.float32) for name in ("bass", "drums")}
    assert all(np.isnan(value) for value in pairwise_coherence(silent, SAMPLE_RATE).values())
