"""Key and chords of a piece from its notes: the template that fits a beat, and few changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np

from stemweave.music.chords import Chord, ChordChange, parse_chord, tone_name
from stemweave.music.keys import key_name, note_name, parse_key, tonic_of
from stemweave.music.score import ScoreNote

QUALITIES = {
    "": 0.0, "m": 0.0, "7": 0.03, "m7": 0.03, "maj7": 0.04, "m7b5": 0.2, "dim": 0.2, "sus4": 0.1,
    "aug": 0.2,
}  # fmt: skip
"""Chords that are looked for, and how much better than a triad they must fit."""
ROOT_WEIGHT = 1.1
BASS_BONUS = 0.12
"""For chords whose root is the lowest note."""
CHANGE_COST, CHANGE_COST_ON_DOWNBEAT = 0.4, 0.1
MIN_SHARE_OF_BASS = 0.7
"""Of a chord's length, that another chord tone must be lowest to be written as its bass."""

KEY_PROFILES = {
    "major": (238, 6, 111, 6, 137, 94, 16, 214, 9, 80, 8, 81),
    "minor": (220, 6, 104, 123, 19, 103, 12, 214, 62, 22, 61, 52),
}
"""How often each note above the tonic is played, in thousandths: Albrecht and Shanahan, "The Use of
Large Corpora to Train a New Type of Key-Finding Algorithm" (2013)."""
FIRST_WEIGHT, LAST_WEIGHT = 4.0, 2.0
"""Of the roots of a piece's first and last chord, beside 1 for every tone."""
LOW_PITCH, LOW_WEIGHT = 45, 3
"""Notes below say more about the key."""


def estimate_key(notes: Sequence[ScoreNote], among: Collection[str] | None = None) -> str | None:
    """The key of ``among`` (None: all) whose profile goes best with how long pitches sound."""
    sounding = np.zeros(12)
    for note in notes:
        weight = LOW_WEIGHT if note.pitch < LOW_PITCH else 1
        sounding[note.pitch % 12] += weight * (note.end_beat - note.start_beat)
    return key_of_chroma(sounding, among)


def key_of_chroma(sounding: np.ndarray, among: Collection[str] | None = None) -> str | None:
    """The same of how long each pitch class sounds (12,)."""
    if not sounding.any():
        return None
    keys = [key_name(tonic, minor) for tonic in range(12) for minor in (False, True)]
    wanted = keys if among is None else [parse_key(key) for key in among]

    def fit(key: str) -> float:
        tonic, minor = tonic_of(key)
        profile = np.roll(KEY_PROFILES["minor" if minor else "major"], tonic)
        return float(np.corrcoef(profile, sounding)[0, 1])

    return max(wanted, key=fit)


def key_of_chords(changes: Sequence[ChordChange], num_beats: int) -> str | None:
    """The same of how long each chord's tones sound, and of the first and the last chord's
    roots.
    """
    sounding = np.zeros(12)
    ends = [change.start_beat for change in changes[1:]] + [float(num_beats)]
    for number, (change, end) in enumerate(zip(changes, ends, strict=False)):
        if change.chord is not None:
            length = end - change.start_beat
            sounding[list(change.chord.tones)] += length
            at_ends = FIRST_WEIGHT * (number == 0) + LAST_WEIGHT * (number == len(changes) - 1)
            sounding[change.chord.root] += at_ends * length
    return key_of_chroma(sounding)


def estimate_chords(
    notes: Sequence[ScoreNote], num_beats: int, downbeats: Collection[int], key: str | None
) -> tuple[ChordChange, ...]:
    """Changes over ``num_beats`` beats; None where nothing is played. Drums are no part of it."""
    return chords_of_chroma(*_beatwise(notes, num_beats), downbeats, key)


def chords_of_chroma(
    chroma: np.ndarray, lowest: np.ndarray, downbeats: Collection[int], key: str | None
) -> tuple[ChordChange, ...]:
    """The same of how much each pitch class sounds in every beat (beats, 12), and the lowest one or
    -1.

    ``key`` decides how notes are spelled.
    """
    num_beats = len(chroma)
    playing: np.ndarray = np.any(chroma, axis=1)
    if not playing.any():
        return ()
    templates, _ = _templates()
    unit = chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9)
    fits = unit @ templates.T
    fits -= np.repeat(list(QUALITIES.values()), 12)
    roots = np.tile(np.arange(12), len(QUALITIES))
    fits += BASS_BONUS * (lowest[:, None] == roots)
    costs = np.full(num_beats, CHANGE_COST)
    costs[[beat for beat in downbeats if 0 <= beat < num_beats]] = CHANGE_COST_ON_DOWNBEAT
    fits[~playing] = 0  # silent beats go on with what was
    path = _best_path(fits, costs)
    changes: list[ChordChange] = []
    for first, last in _runs(path, playing):
        chord = _named(int(path[first]), lowest[first:last], key) if playing[first] else None
        if not changes or changes[-1].chord != chord:
            changes.append(ChordChange(float(first), chord))
    return tuple(changes)


def _beatwise(notes: Sequence[ScoreNote], num_beats: int) -> tuple[np.ndarray, np.ndarray]:
    """How much of each pitch class sounds in every beat (beats, 12), and the lowest class (-1)."""
    chroma = np.zeros((num_beats, 12))
    lowest = np.full(num_beats, 128)
    for note in notes:
        start, end = note.start_beat, max(note.end_beat, note.start_beat + 1e-3)
        for beat in range(max(int(start + 0.06), 0), min(int(np.ceil(end)), num_beats)):
            share = min(end, beat + 1) - max(start, beat)
            if share > 0.05:
                chroma[beat, note.pitch % 12] += share * note.velocity
                lowest[beat] = min(lowest[beat], note.pitch)
    return chroma, np.where(lowest == 128, -1, lowest % 12)


@lru_cache(maxsize=1)
def _templates() -> tuple[np.ndarray, list[Chord]]:
    """Templates of unit length (chords, 12), by quality and root, and the chords."""
    chords = [parse_chord(note_name(root) + quality) for quality in QUALITIES for root in range(12)]
    templates = np.zeros((len(chords), 12))
    for row, chord in zip(templates, chords, strict=True):
        row[list(chord.tones)] = 1
        row[chord.root] = ROOT_WEIGHT
    return templates / np.linalg.norm(templates, axis=1, keepdims=True), chords


def _best_path(fits: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """States (beats,) of the largest sum of ``fits`` (beats, states), less ``costs`` of changes."""
    best = fits[0].copy()
    origins = np.zeros(fits.shape, np.int64)
    stay = np.arange(fits.shape[1])
    for beat in range(1, len(fits)):
        leader = int(np.argmax(best))
        changed = best[leader] - costs[beat]
        origins[beat] = np.where(best >= changed, stay, leader)
        best = np.maximum(best, changed) + fits[beat]
    path = np.empty(len(fits), np.int64)
    path[-1] = np.argmax(best)
    for beat in range(len(fits) - 1, 0, -1):
        path[beat - 1] = origins[beat, path[beat]]
    return path


def _runs(path: np.ndarray, playing: np.ndarray) -> list[tuple[int, int]]:
    """First beat and end of every stretch of one chord; a silence of under a bar is none."""
    silent = ~playing
    state = path.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(np.int64), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first >= 4:
            state[first:last] = -1
        elif first == 0:
            state[first:last] = state[min(last, len(state) - 1)]
    playing[:] = state >= 0
    starts = [0, *(np.flatnonzero(np.diff(state)) + 1)]
    return list(zip(starts, [*starts[1:], len(state)], strict=True))


def _named(state: int, lowest: np.ndarray, key: str | None) -> Chord:
    """The chord, spelled as the key wants it, over another bass if that is lowest throughout."""
    chord = _templates()[1][state]
    name = note_name(chord.root, key) + list(QUALITIES)[state // 12]
    others = [tone for tone in chord.tones if tone != chord.root]
    bass = max(others, key=lambda tone: float(np.mean(lowest == tone)))
    if np.mean(lowest == bass) >= MIN_SHARE_OF_BASS:
        name += "/" + tone_name(name, bass)
    return parse_chord(name)
