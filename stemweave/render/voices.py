"""Recorded syllables of singers, analysed with WORLD: what voices of songs are sung from.

A folder's ``index.json`` lists recordings: ``file``, ``singer``, what is ``sung`` in even time on
one pitch (kana count as syllables; anything else is one) or ``spoken``, and ``median_f0_hz``.
"""

from __future__ import annotations

import json
import re
import warnings
import zlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import find_peaks

from stemweave.errors import InputError

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for pkg_resources, which warns of its own end
        import pyworld
except ImportError as error:
    raise InputError("voices need WORLD: pip install 'stemweave[voices]'") from error

FRAME_MS = 10.0
TEST_SINGERS = ("kawaiineko", "ru_RU_f_IvrvoiceRU")
"""A singer and a speaker that no training or validation song has."""
HELD_OUT_SHARE = 8
"""One recording in so many of the other singers is sung in validation songs only."""
NOT_SUNG = re.compile("[吸・息]")
MORA = re.compile("[ぁ-ゖァ-ヺー]")
SMALL_KANA = "ぁぃぅぇぉゃゅょゎァィゥェォャュョヮー"
LOWEST_HZ = 94.5
"""Three periods of it fit into 512 samples at 16 kHz, the shortest spectra that WORLD can use."""
CONSONANT_FRAMES, SHORTEST_VOWEL_FRAMES, SYLLABLE_FRAMES = 15, 5, 10
SILENCE_DB = 40.0
"""Below a recording's loudest frame nothing is sung."""


@dataclass(frozen=True)
class Recording:
    """One file of ``num_syllables`` sung in even time on one pitch, or of speech."""

    path: Path
    singer: str
    num_syllables: int
    f0_hz: float
    spoken: bool = False


@dataclass(frozen=True)
class Syllables:
    """WORLD's analysis of a recording of ``N`` frames of ``FRAME_MS``.

    Natural logarithm of the power spectrum (N, bins) float16, coded aperiodicity (N, bands),
    ``voiced`` (N,) bool; ``places``: of each syllable its first frame, that of its vowel, and the
    vowel's last.
    """

    log_envelope: np.ndarray
    aperiodicity: np.ndarray
    voiced: np.ndarray
    places: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=4)
def read_recordings(folders: tuple[str, ...], split: str) -> tuple[Recording, ...]:
    """Recordings of the singers that songs of ``split`` have; "test" has ``TEST_SINGERS`` alone.

    Raises ``InputError`` if a folder has no readable ``index.json``, or none such a recording.
    """
    recordings = [one for folder in folders for one in _read_index(Path(folder))]
    chosen = tuple(one for one in recordings if _split_of(one) == split)
    if not chosen:
        raise InputError(f"{', '.join(folders)}: no recorded voices for {split} songs")
    return chosen


def _read_index(folder: Path) -> list[Recording]:
    index = folder / "index.json"
    try:
        return [
            Recording(
                folder / entry["file"],
                entry["singer"],
                count_syllables(entry["sung"]),
                float(entry["median_f0_hz"]),
                bool(entry.get("spoken", False)),
            )
            for entry in json.loads(index.read_text())
            if not NOT_SUNG.search(entry["sung"])
        ]
    except OSError as error:
        raise InputError(f"cannot read {index}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{index} does not list recorded voices: {error}") from error


def count_syllables(sung: str) -> int:
    """Morae of kana, small ones sung with the one before; 1 of other writing."""
    return max(sum(c not in SMALL_KANA for c in MORA.findall(sung)), 1)


def _split_of(recording: Recording) -> str:
    if recording.singer in TEST_SINGERS:
        return "test"
    held_out = zlib.crc32(recording.path.name.encode()) % HELD_OUT_SHARE == 0
    return "validation" if held_out else "train"


def synthesised(
    f0_hz: np.ndarray, log_envelope: np.ndarray, aperiodicity: np.ndarray, sample_rate: int
) -> np.ndarray:
    """Waveform of frames as in ``Syllables``, at pitches ``f0_hz`` (N,), 0 where unvoiced."""
    decoded = pyworld.decode_aperiodicity(
        aperiodicity.astype(np.float64), sample_rate, _fft_samples(sample_rate)
    )
    envelope = np.exp(log_envelope, dtype=np.float64)
    waveform: np.ndarray = pyworld.synthesize(f0_hz, envelope, decoded, sample_rate, FRAME_MS)
    return waveform


def _fft_samples(sample_rate: int) -> int:
    """Length of WORLD's spectra."""
    return int(pyworld.get_cheaptrick_fft_size(sample_rate, LOWEST_HZ))


def read_waveform(recording: Recording, sample_rate: float) -> np.ndarray:
    """Samples (T,); raises ``InputError`` if it is no audio."""
    try:
        samples, recorded_rate = soundfile.read(recording.path, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{recording.path} is not audio: {error}") from error
    waveform: np.ndarray = soxr.resample(samples.mean(axis=1), recorded_rate, sample_rate)
    return waveform


@lru_cache(maxsize=1000)
def analysed(recording: Recording, sample_rate: int) -> Syllables:
    """Spectra and syllables of a recording; raises ``InputError`` if it is no audio."""
    mono = read_waveform(recording, sample_rate).astype(np.float64)
    low, high = max(0.6 * recording.f0_hz, 60.0), 1.6 * recording.f0_hz
    coarse, times = pyworld.dio(mono, sample_rate, low, high, frame_period=FRAME_MS)
    f0 = pyworld.stonemask(mono, coarse, times, sample_rate)
    size = _fft_samples(sample_rate)
    envelope = pyworld.cheaptrick(mono, f0, times, sample_rate, fft_size=size)
    aperiodicity = pyworld.d4c(mono, f0, times, sample_rate, fft_size=size)
    level_db = 10 * np.log10(envelope.mean(axis=1))
    voiced = f0 > 0
    coded = pyworld.code_aperiodicity(aperiodicity, sample_rate).astype(np.float32)
    places = find_syllables(level_db, voiced, 0 if recording.spoken else recording.num_syllables)
    for _, vowel, last in places:  # where the pitch was not found, a vowel would be whispered
        inside = slice(vowel, last + 1)
        coded[inside][~voiced[inside]] = np.median(coded[inside][voiced[inside]], axis=0)
        voiced[inside] = True
    loud = np.log(10) / 10 * np.percentile(level_db, 80)
    return Syllables((np.log(envelope) - loud).astype(np.float16), coded, voiced, places)


def find_syllables(
    level_db: np.ndarray, voiced: np.ndarray, count: int
) -> tuple[tuple[int, int, int], ...]:
    """Places of ``count`` syllables sung in even time (0: of speech), but those without a vowel.

    A syllable starts where it is quietest near its place in the even time; of speech, where it is
    quieter than what is beside.
    """
    loud = level_db > level_db.max() - SILENCE_DB
    sung = np.flatnonzero(voiced & loud)
    if not len(sung):
        return ()
    first = max(int(np.argmax(loud)), int(sung[0]) - CONSONANT_FRAMES)
    end = int(sung[-1]) + 1
    if count:
        edges = _even_starts(level_db, first, end, count)
    else:
        quiet, _ = find_peaks(-level_db[first:end], distance=SYLLABLE_FRAMES, prominence=4)
        edges = [first, *(first + int(frame) for frame in quiet), end]
    places = []
    for start, after in pairwise(edges):
        level = np.where(voiced[start:after], level_db[start:after], -np.inf)
        steady = level > level.max(initial=-np.inf) - 12
        changes = np.flatnonzero(np.diff(np.concatenate([[False], steady, [False]]).astype(int)))
        runs = changes.reshape(-1, 2)
        begin, last = runs[np.argmax(np.diff(runs))] if len(runs) else (0, 0)
        if last - begin >= SHORTEST_VOWEL_FRAMES:
            begin += np.argmax(level[begin:last] > level[begin:last].max() - 6)
            places.append((start, start + int(begin), start + int(last) - 1))
    return tuple(places)


def _even_starts(level_db: np.ndarray, first: int, end: int, count: int) -> list[int]:
    """Where ``count`` syllables start, and ``end``."""
    step = (end - first) / count
    starts = [first]
    for number in range(1, count):
        centre, reach = first + number * step, 0.3 * step
        frames = np.arange(round(centre - reach), round(centre + reach) + 1)
        frames = np.clip(frames, starts[-1], end - 1)
        away_db = 6 * np.square((frames - centre) / max(reach, 1.0))
        starts.append(int(frames[np.argmin(level_db[frames] + away_db)]))
    return [*starts, end]
