"""Melodies sung with recorded syllables: pitch, time and colour are WORLD's, note by note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d

from stemweave.render.score import Note
from stemweave.render.voices import FRAME_MS, Recording, Syllables, analysed, synthesised

FRAME_S = FRAME_MS / 1000
PHRASE_GAP_S = 0.35
"""Notes that are further apart belong to two phrases; shorter gaps are sung over."""
SHORTEST_S = 0.11
"""Of a note, from its onset to the next."""
FADE_S = 0.02
MOST_RECORDINGS = 12
"""That a phrase's words come from."""

Syllable = tuple[Syllables, tuple[int, int, int]]
"""A recording and one of its places."""


@dataclass(frozen=True)
class Manner:
    """How a voice sings.

    Attributes:
        formants: factor on the frequencies of the vocal tract: below 1 a larger one.
        glide_s: from one note's pitch to the next.
        vibrato_cents, vibrato_hz: of notes that last.
        scoop: chance that a phrase begins below its pitch and slides up.
        breath: 0 as recorded … 1 whispered.
        spoken: pitch falls over a phrase as in speech, and wanders.
        held: chance that a note goes on with the syllable of the note before.
        late_s: of every note, for doubles.
        cents: out of tune all along, for doubles.
    """

    formants: float = 1.0
    glide_s: float = 0.08
    vibrato_cents: float = 30.0
    vibrato_hz: float = 5.5
    scoop: float = 0.2
    breath: float = 0.1
    spoken: bool = False
    held: float = 0.1
    late_s: float = 0.0
    cents: float = 0.0


def draw_manner(rng: np.random.Generator, spoken: bool = False) -> Manner:
    """A singer's habits."""
    return Manner(
        formants=float(np.exp(rng.normal(0, 0.06))),
        glide_s=float(rng.uniform(0.04, 0.16)),
        vibrato_cents=float(rng.choice([0.0, rng.uniform(10, 90)], p=[0.2, 0.8])),
        vibrato_hz=float(rng.uniform(4.6, 6.8)),
        scoop=float(rng.uniform(0, 0.6)),
        breath=float(rng.beta(1, 4)),
        spoken=spoken,
        held=float(rng.choice([0.0, 0.1, 0.3])),
    )


def phrases_of(notes: Sequence[Note]) -> list[list[Note]]:
    """Notes one after another, each till the next in its phrase; those too close are left out."""
    phrases: list[list[Note]] = []
    for note in sorted(notes, key=lambda one: one.start_s):
        last = phrases[-1][-1] if phrases else None
        if last is None or note.start_s - last.end_s > PHRASE_GAP_S:
            phrases.append([note])
        elif note.start_s - last.start_s >= SHORTEST_S:
            phrases[-1][-1] = Note(last.start_s, note.start_s, last.pitch, last.velocity)
            phrases[-1].append(note)
    for phrase in phrases:
        last = phrase[-1]
        end_s = max(last.end_s, last.start_s + 0.15)
        phrase[-1] = Note(last.start_s, end_s, last.pitch, last.velocity)
    return phrases


def sing(
    notes: Sequence[Note],
    lyrics: Sequence[Recording],
    manner: Manner,
    num_samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    words: int,
) -> np.ndarray:
    """One voice (num_samples,) that sings ``notes`` to syllables of ``lyrics``.

    Without notes it is silent. A phrase begins with the beginning of a recording. Which syllables
    are sung when is a function of ``words``: two voices with the same sing the same text.
    """
    text = np.random.default_rng(words)
    voice = np.zeros(num_samples, np.float32)
    for phrase in phrases_of(notes):
        syllables: list[Syllable] = []
        for _ in range(MOST_RECORDINGS):
            if len(syllables) < len(phrase):
                spoken = analysed(lyrics[int(text.integers(len(lyrics)))], sample_rate)
                syllables += [(spoken, place) for place in spoken.places]
        if not syllables:  # recordings in which no vowel was found
            continue
        goes_on = text.random(len(phrase)) < manner.held
        sung = _sing_phrase(phrase, goes_on, syllables, manner, sample_rate, rng)
        start = max(round((phrase[0].start_s + manner.late_s) * sample_rate), 0)
        sung = sung[: max(num_samples - start, 0)]
        voice[start : start + len(sung)] += sung
    return voice


def _sing_phrase(
    phrase: Sequence[Note],
    goes_on: np.ndarray,
    syllables: Sequence[Syllable],
    manner: Manner,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    edges = np.array([n.start_s for n in phrase] + [phrase[-1].end_s]) - phrase[0].start_s
    frames = np.maximum(np.round(np.diff(edges) / FRAME_S).astype(int), 2)
    envelopes, aperiodicities, voicings = [], [], []
    number = 0
    for index, length in enumerate(frames):
        held = index > 0 and goes_on[index]
        number += index > 0 and not held
        one, place = syllables[number % len(syllables)]
        at = _times(place, int(length), held)
        below, part = at.astype(int), (at % 1)[:, None].astype(np.float32)
        above = np.minimum(below + 1, len(one.voiced) - 1)
        envelope = one.log_envelope
        envelopes.append((1 - part) * envelope[below] + part * envelope[above])
        aperiodicities.append(one.aperiodicity[below])
        voicings.append(one.voiced[below])
    pitch = _pitch_line(phrase, frames, manner, rng)
    f0_hz = np.where(np.concatenate(voicings), 440 * 2 ** ((pitch - 69) / 12), 0.0)
    loudness_db = _smooth(np.repeat([(n.velocity - 90) / 5 for n in phrase], frames), 0.06)
    log_envelope = _shifted(np.concatenate(envelopes), manner.formants)
    log_envelope += loudness_db[:, None] * (np.log(10) / 10)
    coded = np.concatenate(aperiodicities) * (1 - 0.8 * manner.breath)
    waveform = synthesised(f0_hz, log_envelope, coded, sample_rate)
    return faded(waveform, FADE_S, sample_rate).astype(np.float32)


def faded(waveform: np.ndarray, fade_s: float, sample_rate: int) -> np.ndarray:
    """``waveform`` (T,) with straight fades at both ends."""
    fade = np.minimum(np.arange(len(waveform)) / (fade_s * sample_rate), 1.0)
    return waveform * fade * fade[::-1]


def _times(place: tuple[int, int, int], length: int, held: bool) -> np.ndarray:
    """Where each of a note's frames is in the recording: its consonant as sung, its vowel bent."""
    start, vowel, last = place
    if held:
        return np.linspace((vowel + last) / 2, last, length)
    consonant = min(vowel - start, length // 2)
    begin = np.arange(vowel - consonant, vowel)
    return np.concatenate([begin, np.linspace(vowel, last, length - consonant)])


def _pitch_line(
    phrase: Sequence[Note], frames: np.ndarray, manner: Manner, rng: np.random.Generator
) -> np.ndarray:
    """MIDI pitch of every frame: notes with glides, scoops, vibrato and a little drift."""
    total = int(frames.sum())
    pitches = [n.pitch + rng.normal(0, 0.08) for n in phrase]
    line = np.repeat(np.array(pitches, float), frames)
    if manner.spoken:
        line += np.linspace(1.5, -2.5, total) + _smooth(rng.normal(0, 6.0, total), 0.25)
    line = _smooth(line, manner.glide_s)
    line += _smooth(rng.normal(0, 0.5, total), 0.15) + manner.cents / 100
    if rng.random() < manner.scoop:
        line -= rng.uniform(0.5, 2.5) * np.exp(-np.arange(total) * FRAME_S / 0.05)
    if manner.spoken:
        return line
    since = np.concatenate([np.arange(length) for length in frames]) * FRAME_S
    depth = manner.vibrato_cents / 100 * np.clip((since - 0.2) / 0.3, 0, 1)
    rate_hz = manner.vibrato_hz * (1 + 0.3 * _smooth(rng.normal(0, 1, total), 0.3))
    phase = 2 * np.pi * np.cumsum(rate_hz) * FRAME_S + rng.uniform(0, 2 * np.pi)
    return line + _smooth(depth, 0.05) * np.sin(phase)


def _smooth(values: np.ndarray, width_s: float) -> np.ndarray:
    """``values`` averaged over a Hann window of ``width_s``, ends held."""
    window = np.hanning(max(round(width_s / FRAME_S), 1) + 2)
    return convolve1d(np.asarray(values, float), window / window.sum(), mode="nearest")


def _shifted(log_envelope: np.ndarray, formants: float) -> np.ndarray:
    """Spectra (N, bins) whose frequencies are multiplied by ``formants``."""
    bins = log_envelope.shape[1]
    at = np.minimum(np.arange(bins) / formants, bins - 1)
    below = at.astype(int)
    part = (at - below).astype(np.float32)
    above = np.minimum(below + 1, bins - 1)
    shifted = (1 - part) * log_envelope[:, below] + part * log_envelope[:, above]
    return np.ascontiguousarray(shifted)
