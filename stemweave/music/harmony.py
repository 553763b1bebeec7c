"""Chord progressions from a small grammar of functional harmony."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOTE_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")

# intervals above the root, and how mma writes the chord
QUALITIES: dict[str, tuple[tuple[int, ...], str]] = {
    "major": ((0, 4, 7), ""),
    "minor": ((0, 3, 7), "m"),
    "dominant": ((0, 4, 7, 10), "7"),
    "major7": ((0, 4, 7, 11), "M7"),
    "minor7": ((0, 3, 7, 10), "m7"),
    "half-diminished": ((0, 3, 6, 10), "m7b5"),
    "suspended": ((0, 5, 7), "sus4"),
}

# degree in semitones, quality → what may follow, with weights
Degree = tuple[int, str]
MAJOR: dict[Degree, dict[Degree, float]] = {
    (0, "major"): {(5, "major"): 4, (9, "minor"): 3, (7, "major"): 3, (2, "minor"): 2,
                   (4, "minor"): 1, (10, "major"): 0.5, (9, "dominant"): 0.5},
    (2, "minor"): {(7, "major"): 5, (5, "major"): 1, (0, "major"): 0.7},
    (4, "minor"): {(9, "minor"): 3, (5, "major"): 3},
    (5, "major"): {(7, "major"): 4, (0, "major"): 3, (2, "minor"): 1, (5, "minor"): 0.5,
                   (9, "minor"): 0.7},
    (5, "minor"): {(0, "major"): 3, (7, "major"): 1},
    (7, "major"): {(0, "major"): 5, (9, "minor"): 2, (5, "major"): 1.5, (4, "minor"): 0.3},
    (9, "minor"): {(5, "major"): 4, (2, "minor"): 2, (7, "major"): 2, (0, "major"): 1},
    (9, "dominant"): {(2, "minor"): 4, (2, "dominant"): 1},
    (2, "dominant"): {(7, "major"): 4},
    (10, "major"): {(5, "major"): 3, (0, "major"): 2},
}  # fmt: skip
MINOR: dict[Degree, dict[Degree, float]] = {
    (0, "minor"): {(5, "minor"): 2, (8, "major"): 3, (10, "major"): 3, (7, "minor"): 1,
                   (3, "major"): 2, (7, "dominant"): 1},
    (3, "major"): {(10, "major"): 2, (8, "major"): 3, (5, "minor"): 1},
    (5, "minor"): {(7, "dominant"): 3, (0, "minor"): 2, (10, "major"): 1.5},
    (7, "minor"): {(0, "minor"): 2, (8, "major"): 2},
    (7, "dominant"): {(0, "minor"): 5, (8, "major"): 1},
    (8, "major"): {(10, "major"): 4, (3, "major"): 2, (7, "dominant"): 1, (0, "minor"): 1},
    (10, "major"): {(0, "minor"): 3, (3, "major"): 3, (8, "major"): 1},
}  # fmt: skip

SEVENTHS = {"major": "major7", "minor": "minor7"}


@dataclass(frozen=True)
class Chord:
    """Root as a pitch class 0–11 and a key of ``QUALITIES``."""

    root: int
    quality: str

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        return tuple((self.root + interval) % 12 for interval in QUALITIES[self.quality][0])

    @property
    def name(self) -> str:
        """As mma writes it, e.g. ``Bbm7``."""
        return NOTE_NAMES[self.root] + QUALITIES[self.quality][1]


@dataclass(frozen=True)
class Key:
    """Tonic pitch class and mode; ``scale`` lists its seven pitch classes."""

    tonic: int
    minor: bool

    @property
    def scale(self) -> tuple[int, ...]:
        steps = (0, 2, 3, 5, 7, 8, 10) if self.minor else (0, 2, 4, 5, 7, 9, 11)
        return tuple((self.tonic + step) % 12 for step in steps)


def draw_progression(
    key: Key, num_bars: int, seventh_probability: float, rng: np.random.Generator
) -> list[list[Chord]]:
    """Chords of each bar (one, sometimes two), beginning on the tonic or close to it."""
    table = MINOR if key.minor else MAJOR
    degree: Degree = (0, "minor" if key.minor else "major")
    if rng.random() < 0.3:
        degree = list(table)[rng.integers(len(table))]
    bars = []
    for bar in range(num_bars):
        chords = []
        for _ in range(2 if rng.random() < 0.18 else 1):
            quality = degree[1]
            if rng.random() < seventh_probability:
                quality = SEVENTHS.get(quality, quality)
            if degree[0] == 7 and quality in ("major", "major7"):
                quality = "dominant" if rng.random() < 0.4 + seventh_probability else "major"
            chords.append(Chord((key.tonic + degree[0]) % 12, quality))
            followers = table[degree]
            weights = np.array(list(followers.values()))
            degree = list(followers)[rng.choice(len(followers), p=weights / weights.sum())]
        if bar == num_bars - 1 and rng.random() < 0.6:
            chords[-1] = Chord((key.tonic + 7) % 12, "dominant")
        bars.append(chords)
    return bars
