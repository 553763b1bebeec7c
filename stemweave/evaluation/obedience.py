"""Does a piece do what its sheet and its score say? Stems against notes and chords that are known.

Waveforms are mono (T,) and begin at ``start_s`` of the sheet.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import librosa
import numpy as np
import soxr
from torch import Tensor

from stemweave.data.song_conditions import SongConditions
from stemweave.evaluation.coherence import Array, chroma
from stemweave.evaluation.table import Samples
from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet
from stemweave.music.metre import quarters_per_beat
from stemweave.music.rolls import (
    CHORD_COLUMNS,
    HARMONY_KNOWN,
    PITCHED,
    PITCHES,
    TimedNotes,
    roll_columns,
    roll_of_notes,
    sheet_rows,
)

RATE = 16_000
POSITION_S = 0.08
ONSET_HOP_S = 0.02
ONSET_LATE_S = 0.04
"""What librosa's onset strength comes after an onset."""
GRID_HOP_S = 0.005
GRID_LATE_S = 0.01
"""The same of onsets that are picked from it at this hop."""
GRID_TOLERANCE_S = 0.025
SIXTEENTHS_PER_QUARTER = 4

PLAYED = "notes of the own score (correlation)"
PLAYED_OTHER = "notes of another piece's score (correlation)"
SHEET = "agreement with the sheet"
ON_GRID = "drum onsets within 25 ms of a sixteenth"
ON_CHORD = "chord tones' share of guitar and piano"


def notes_played(stem: str, waveform: Array, sample_rate: int, roll: Array) -> float:
    """Correlation of what ``stem`` plays with its ``roll`` (H, 264); NaN if either is constant.

    Of pitched stems chroma, weighted by level, every 80 ms; of drums onset strength every 20 ms.
    """
    if sample_rate != RATE:
        waveform = soxr.resample(waveform, sample_rate, RATE)
    columns = roll[:, roll_columns(stem)].astype(np.float64)
    if stem not in PITCHED:
        hop = round(ONSET_HOP_S * RATE)
        strength = librosa.onset.onset_strength(y=waveform, sr=RATE, hop_length=hop)
        strength = strength[round(ONSET_LATE_S / ONSET_HOP_S) :]
        written = columns.reshape(len(roll), -1, 4).sum(axis=1).reshape(-1)
        written = np.convolve(written, [0.5, 1, 0.5], "same")
        length = min(len(strength), len(written))
        return _correlation(strength[:length], written[:length])
    hop = round(POSITION_S * RATE)
    classes = librosa.feature.chroma_cqt(
        y=waveform, sr=RATE, hop_length=hop, fmin=librosa.note_to_hz("C1"), n_octaves=6, tuning=0.0
    ).T
    level = librosa.feature.rms(y=waveform, frame_length=2 * hop, hop_length=hop)[0]
    written = columns[:, :PITCHES].reshape(len(roll), -1, 12).sum(axis=1)
    length = min(len(classes), len(level), len(written))
    return _correlation(classes[:length] * level[:length, None], written[:length])


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    size = math.sqrt(float(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / size if size > 1e-9 else math.nan


def onsets_on_grid(drums: Array, sample_rate: int, sheet: LeadSheet, start_s: float) -> float:
    """Share of drum onsets that lie near a sixteenth of ``sheet``; NaN without onsets or beats."""
    if sheet.beats_s is None:
        return math.nan
    hop = round(GRID_HOP_S * sample_rate)
    found = librosa.onset.onset_detect(y=drums, sr=sample_rate, hop_length=hop, units="time")
    times_s = found - GRID_LATE_S + start_s
    if not len(times_s):
        return math.nan
    per_beat = SIXTEENTHS_PER_QUARTER * quarters_per_beat(sheet.metre or DEFAULT_METRE)
    nearest = np.round(sheet.beat_at(times_s) * per_beat) / per_beat
    return float(np.mean(np.abs(sheet.time_of(nearest) - times_s) <= GRID_TOLERANCE_S))


def mass_on_chords(harmony: Array, sample_rate: int, sheet: LeadSheet, start_s: float) -> float:
    """Share of the chroma energy of ``harmony`` that lies on the tones of the sheet's chords.

    NaN where nothing sounds or no chord is known.
    """
    bands, sounding = chroma(harmony, sample_rate)
    hop_s = len(harmony) / sample_rate / max(bands.shape[1] - 1, 1)
    rows = sheet_rows(sheet, start_s - hop_s / 2, bands.shape[1], hop_s)
    tones = rows[:, CHORD_COLUMNS][:, 12:24].T  # (12, frames)
    known = sounding & (rows[:, HARMONY_KNOWN] > 0) & tones.any(axis=0)
    energy = float(bands[:, known].sum())
    return float((bands * tones)[:, known].sum()) / energy if energy > 0 else math.nan


class Obedience:
    """Collects the measures of all pieces of all rows."""

    def __init__(self, stems: Sequence[str], sample_rate: int) -> None:
        self.stems, self.sample_rate = list(stems), sample_rate
        self.values: Samples = defaultdict(list)
        self._before: dict[str, np.ndarray] = {}

    def add(self, row: str, stems: Tensor, song: SongConditions, start_s: float) -> None:
        """Stems (S, T) of one piece of ``row`` that should play ``song`` from ``start_s`` on.

        The score that they should not play is that of the row's piece before.
        """
        named = dict(zip(self.stems, stems.numpy(), strict=True))
        if song.notes is not None:
            count = math.ceil(stems.shape[-1] / self.sample_rate / POSITION_S)
            roll = roll_of_notes(song.notes, start_s, count, POSITION_S)
            self._add_notes(row, named, song.notes, roll)
        if song.sheet is None:
            return
        if "drums" in named:
            share = onsets_on_grid(named["drums"], self.sample_rate, song.sheet, start_s)
            self.values[SHEET, row, ON_GRID].append(share)
        harmony = [named[stem] for stem in ("guitar", "piano") if stem in named]
        if harmony:
            part = np.sum(harmony, axis=0)
            share = mass_on_chords(part, self.sample_rate, song.sheet, start_s)
            self.values[SHEET, row, ON_CHORD].append(share)

    def _add_notes(
        self, row: str, named: Mapping[str, Array], notes: TimedNotes, roll: np.ndarray
    ) -> None:
        before = self._before.get(row)
        for stem, waveform in named.items():
            if stem in notes:
                own = notes_played(stem, waveform, self.sample_rate, roll)
                self.values[PLAYED, row, stem].append(own)
                if before is not None and math.isfinite(own):
                    other = notes_played(stem, waveform, self.sample_rate, before)
                    self.values[PLAYED_OTHER, row, stem].append(other)
        self._before[row] = roll
