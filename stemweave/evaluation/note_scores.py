"""Notes found in stems against the notes that were played."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mir_eval
import numpy as np
import torch

from stemweave.data.song_conditions import read_song_conditions
from stemweave.data.songs import Song
from stemweave.evaluation.segments import Segment, load_stems
from stemweave.music.rolls import PITCHED
from stemweave.tasks.transcribe import found_notes

NOTES = "note onsets F1 (first 30 s)"
EXCERPT_S = 30.0
TRUE_ROW = "basic-pitch, true stems"
SEPARATED_ROW = "ours: separated, then basic-pitch"
"""What ``stemweave analyse --midi`` writes of a mixture."""
TOLERANCE_S, TOLERANCE_CENTS = 0.05, 50.0


def note_agreement(pipe: Any, song: Song) -> dict[tuple[str, str], float]:
    """(row, stem) → F1 of the notes in the song's first ``EXCERPT_S``, by the stem's own sound
    and as it is separated from the mixture. Stems that play no note there are left out."""
    played = read_song_conditions(song.folder).notes or {}
    excerpt = Segment(song, 0.0, min(EXCERPT_S, song.duration_s))
    stems = load_stems(excerpt, song.stems, pipe.sample_rate)
    true = {
        stem: waveform[None]
        for stem, waveform in zip(song.stems, stems, strict=True)
        if stem in PITCHED and begun_before(played.get(stem), excerpt.duration_s).size
    }
    if not true:
        return {}
    separated = pipe.separate(stems.sum(dim=0)[None], pipe.sample_rate)
    values = {}
    sources: tuple[tuple[str, Mapping[str, torch.Tensor]], ...] = (
        (TRUE_ROW, true),
        (SEPARATED_ROW, separated),
    )
    for row, waveforms in sources:
        for stem in true:
            found = found_notes(waveforms[stem], pipe.sample_rate)
            values[row, stem] = onset_f1(
                begun_before(played[stem], excerpt.duration_s),
                begun_before(found, excerpt.duration_s),
            )
    return values


def begun_before(notes: np.ndarray | None, end_s: float) -> np.ndarray:
    """Those of ``notes`` (N, 4) that begin between 0 and ``end_s``."""
    if notes is None:
        return np.zeros((0, 4))
    return notes[(notes[:, 0] >= 0) & (notes[:, 0] < end_s)]


def onset_f1(played: np.ndarray, found: np.ndarray) -> float:
    """F1 of onsets within 50 ms and a quarter tone; where notes end does not count."""
    if not len(played) or not len(found):
        return float(len(played) == len(found))
    pairs = (_intervals_and_hz(played), _intervals_and_hz(found))
    *_, f1, _ = mir_eval.transcription.precision_recall_f1_overlap(
        *pairs[0],
        *pairs[1],
        onset_tolerance=TOLERANCE_S,
        pitch_tolerance=TOLERANCE_CENTS,
        offset_ratio=None,
    )
    return float(f1)


def _intervals_and_hz(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As mir_eval takes them; a note of no length gets a millisecond."""
    start_s, end_s = notes[:, 0], np.maximum(notes[:, 1], notes[:, 0] + 1e-3)
    return np.stack([start_s, end_s], axis=1), 440 * 2 ** ((notes[:, 2] - 69) / 12)
