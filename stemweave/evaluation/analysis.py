"""Beats, bars, key and chords that the analyser finds, beside libraries, on songs with sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mir_eval
import numpy as np
import torch
from tqdm import tqdm

from stemweave.data.song_conditions import read_song_conditions
from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.evaluation.analysis_libraries import OPTIONAL, Finder, installed_libraries
from stemweave.evaluation.note_scores import NOTES, note_agreement
from stemweave.evaluation.results import Evaluation
from stemweave.evaluation.segments import Segment, load_stems
from stemweave.evaluation.table import Table
from stemweave.music.keys import note_name
from stemweave.music.lead_sheet import LeadSheet
from stemweave.tasks.transcribe import INSTALL, can_transcribe

OURS, BASIC_PITCH = "ours", "basic-pitch"
CHORDS = "chords, root and third"


def evaluate_analysis(
    pipe: Any,
    songs: Sequence[Song],
    count: int = 64,
    *,
    seconds: float | None = None,
    beside: Sequence[str] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Each finder on mixtures of ``count`` songs that have sheets, or on their first ``seconds``.

    Beat and downbeat F1 within 70 ms, tempo within 4 %, metre, key (weighted) and chords (share of
    the time in which root and third are right) as mir_eval counts them; with basic-pitch also the
    notes of the stems. ``beside`` names the libraries that have rows, None all; the table's notes
    name what is not installed.
    """
    asked = known_libraries(beside)
    known = [(song, read_song_conditions(song.folder).sheet) for song in songs]
    known = [(song, sheet) for song, sheet in known if sheet is not None and sheet.beats_s]
    if not known:
        raise InputError("no song has a sheet.json: compose them with 'stemweave compose'")
    kept = known[:: max(len(known) // count, 1)][:count]
    finders = {row: find for row, find in finders_beside(pipe).items() if row in (OURS, *asked)}
    hears_notes = BASIC_PITCH in asked and can_transcribe()
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for whole_song, sheet in tqdm(kept, desc="songs", disable=not progress):
        assert sheet is not None
        song = replace(whole_song, duration_s=min(whole_song.duration_s, seconds or math.inf))
        whole = Segment(song, 0.0, song.duration_s)
        mixture = load_stems(whole, song.stems, pipe.sample_rate).sum(dim=0).numpy()
        for row, find in finders.items():
            for measure, value in agreement(find(mixture, pipe.sample_rate), sheet, song).items():
                values.setdefault((measure, row, "mean"), {})[song.name] = value
        for (row, stem), value in (note_agreement(pipe, song) if hears_notes else {}).items():
            values.setdefault((NOTES, row, stem), {})[song.name] = value
    extent = "" if seconds is None else f", the first {seconds:g} s of each"
    table = Table(f"Analysis: {len(kept)} songs{extent}", digits=2)
    for (measure, row, column), own in values.items():
        table.put_samples(measure, row, column, list(own.values()), list(own))
    measured = [*finders, *([BASIC_PITCH] if hears_notes else [])]
    missing = [row for row in asked if row not in measured]
    if missing:
        table.notes.append(f"Not installed, so without a row: {', '.join(missing)} ({INSTALL})")
    return Evaluation(table)


def known_libraries(names: Sequence[str] | None) -> tuple[str, ...]:
    """``names``, or all; ``InputError`` for one that has no row."""
    known = ("librosa", *OPTIONAL, BASIC_PITCH)
    for name in names or ():
        if name not in known:
            raise InputError(f"no row is of {name}: choose of {', '.join(known)}")
    return known if names is None else tuple(names)


def finders_beside(pipe: Any) -> dict[str, Finder]:
    """The model's analyser and the libraries that are installed, by the names of their rows."""
    return {
        OURS: lambda samples, rate: pipe.analyse(torch.from_numpy(samples)[None], rate),
        **installed_libraries(),
    }


def agreement(found: LeadSheet, sheet: LeadSheet, song: Song) -> dict[str, float]:
    """Measures of the fields that were ``found``."""
    measures = {}
    beats_s = np.array([t for t in sheet.beats_s or () if 0 <= t < song.duration_s])
    if found.tempo_bpm is not None and sheet.tempo_bpm is not None:
        own = np.array([t for t in found.beats_s or () if 0 <= t < song.duration_s])
        measures["beat F1"] = mir_eval.beat.f_measure(beats_s, own)
        near = abs(found.tempo_bpm / sheet.tempo_bpm - 1) < 0.04
        measures["tempo within 4 %"] = float(near)
    if found.downbeats is not None:
        measures["downbeat F1"] = mir_eval.beat.f_measure(
            _bar_times(sheet, song.duration_s), _bar_times(found, song.duration_s)
        )
        measures["metre"] = float(found.metre == sheet.metre)
    if found.key is not None and sheet.key is not None:
        measures["key"] = mir_eval.key.weighted_score(sheet.key.lower(), found.key.lower())
    if found.chords is not None and sheet.chords:
        intervals, names = _labels(sheet, song.duration_s)
        estimated = mir_eval.util.adjust_intervals(
            *_labels(found, song.duration_s), intervals.min(), intervals.max(), "N", "N"
        )
        scores = mir_eval.chord.evaluate(intervals, names, *estimated)
        measures[CHORDS] = scores["thirds"]
    return measures


def _bar_times(sheet: LeadSheet, duration_s: float) -> np.ndarray:
    times = [sheet.beats_s[index] for index in sheet.downbeats or ()] if sheet.beats_s else []
    return np.array([time for time in times if 0 <= time < duration_s])


def _labels(sheet: LeadSheet, duration_s: float) -> tuple[np.ndarray, list[str]]:
    """Intervals (N, 2) in seconds and the chords in them as mir_eval writes them."""
    changes = sheet.chords or ()
    starts = [float(sheet.time_of(change.start_beat)) for change in changes]
    edges = np.clip([*starts, duration_s], 0.0, duration_s).tolist()
    rows = [
        (a, b, one.chord) for a, b, one in zip(edges[:-1], edges[1:], changes, strict=True) if b > a
    ]
    names = ["N" if chord is None else _name(chord) for _, _, chord in rows]
    return np.array([(a, b) for a, b, _ in rows]), names


def _name(chord: Any) -> str:
    """Root and third, which is all that is compared."""
    root = note_name(chord.root)
    tones = {(tone - chord.root) % 12 for tone in chord.tones}
    return root + (":min" if 3 in tones and 4 not in tones else ":maj")
