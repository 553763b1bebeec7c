"""Training crops of stems: which song, where, how loud, through which filter.

Shapes: waveforms (N, S, T); spectra (N, S, F, n_fft // 2 + 1); log-mels (N, S, F, M). Stereo crops
have an axis for the channels after S. Everything is a function of the random generator that is
passed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from stemweave.data.damage import MOST_PEAK, DamagedFile, undamaged
from stemweave.data.songs import Song
from stemweave.data.tar_songs import Songs, songs_at_hand
from stemweave.errors import InputError
from stemweave.io.decode import AudioReader
from stemweave.io.sndfile import stated_samples
from stemweave.models.log_mel import LogMel


@dataclass(frozen=True)
class MixSettings:
    """How crops are varied before they are encoded.

    Attributes:
        stem_gain_std_db: spread of each stem's random gain.
        level_std_db: spread of the whole mixture's level around ``reference_rms``.
        reference_rms: RMS of the mixture to which crops are normalised; None keeps the level.
        whole_songs: it is the whole song's RMS, not the crop's: quiet places stay quiet.
        stem_drop_probability: chance that a stem is silenced (at least one is kept), of all or by
            their names; those that are not named are never silenced.
        cross_song_probability: chance that each stem of a crop comes from another song. Such
            crops are marked incoherent: they teach separation, not generation.
        equaliser_std_db: spread of a smooth random filter per stem.
        tape_semitones: a crop is played so much faster or slower at most, all stems of a song
            alike: other keys, tempi and timbres.
        drive_probability: chance that a stem is overdriven, by 0 to ``MOST_DRIVE_DB``.
        clip_mixture: clip the mixture to ±1 before its log-mel (the paper's code); not for
            equalised stems.
    """

    stem_gain_std_db: float = 3.0
    level_std_db: float = 3.0
    reference_rms: float | None = 0.1
    stem_drop_probability: float | Mapping[str, float] = 0.08
    cross_song_probability: float = 0.25
    equaliser_std_db: float = 3.0
    tape_semitones: float = 0.0
    drive_probability: float = 0.0
    clip_mixture: bool = False
    whole_songs: bool = False


MOST_DRIVE_DB = 30.0
"""Largest gain before an overdriven stem's soft clipping, over unit RMS."""
OVERSAMPLING = 4
"""Of what is overdriven."""

PLAIN = MixSettings(0.0, 0.0, None, 0.0, 0.0, 0.0)
"""No variation at all: songs as they are on disk."""

Place = tuple[Song, float, float]
"""A song, where its crop starts in seconds, and how fast it is played."""


@dataclass
class Crops:
    """A batch of crops.

    Attributes:
        waveforms: (N, S, T) or (N, S, 2, T) float32.
        coherent: (N,) bool, whether all stems are of one place.
        places: of each crop; of incoherent ones, that of the last stem.
    """

    waveforms: Tensor
    coherent: Tensor
    places: list[Place]


def read_crop(
    path: Path,
    start_s: float,
    num_samples: int,
    sample_rate: int,
    channels: int = 1,
    speed: float = 1.0,
) -> np.ndarray:
    """Samples (num_samples,) from ``start_s`` on, at ``sample_rate``; zeros past the end.

    With two ``channels`` (2, num_samples): left and right, or a mono file twice. ``speed`` is that
    of a tape: at 2 it sounds an octave higher and is over in half the time.

    Raises:
        DamagedFile: if they cannot be read, are not all there, or are not finite or absurdly loud.
    """
    try:
        native_rate, samples = _samples(path, start_s, num_samples / sample_rate * speed)
    except DamagedFile:
        raise
    except (InputError, OSError, soundfile.LibsndfileError) as error:
        raise DamagedFile(path, f"cannot be read: {error}") from error
    if not np.isfinite(samples).all():
        raise DamagedFile(path, "has samples that are NaN or infinite")
    peak = max(samples.max(initial=0.0), -samples.min(initial=0.0))
    if peak > MOST_PEAK:
        raise DamagedFile(path, f"has a peak of {peak:.3g} full scales")
    heard_rate = native_rate * speed
    if samples.shape[1] != channels:
        samples = samples.mean(axis=1, keepdims=True)
    if heard_rate != sample_rate:
        samples = soxr.resample(samples, heard_rate, sample_rate)
    crop = np.zeros((channels, num_samples), dtype=np.float32)
    crop[:, : len(samples)] = samples[:num_samples].T
    return crop[0] if channels == 1 else crop


def _samples(path: Path, start_s: float, duration_s: float) -> tuple[int, np.ndarray]:
    """Rate and samples (T, channels), fewer where the file ends.

    Raises ``DamagedFile`` if the file ends before it says that it does.
    """
    if path.suffix.lower() == ".m4a":
        reader = AudioReader(path, counted=False)
        rate, available = reader.info.sample_rate, reader.info.num_samples
        start = min(round(start_s * rate), available)
        length = min(math.ceil(duration_s * rate), available - start)
        return rate, reader(start, length).numpy().T
    with soundfile.SoundFile(path) as sound:
        stated = stated_samples(sound.extra_info, sound.frames)
        start = min(round(start_s * sound.samplerate), stated)
        length = min(math.ceil(duration_s * sound.samplerate), stated - start)
        sound.seek(min(start, sound.frames))
        samples = sound.read(length, dtype="float32", always_2d=True)
        is_guessed = sound.subtype.startswith("MPEG")
        if len(samples) < length and not is_guessed:
            ends_s = (start + len(samples)) / sound.samplerate
            raise DamagedFile(path, f"is damaged or cut off: no samples after {ends_s:.1f} s")
        return sound.samplerate, samples


def draw_crops(
    songs: Songs,
    stems: Sequence[str],
    num_crops: int,
    num_samples: int,
    sample_rate: int,
    settings: MixSettings,
    rng: np.random.Generator,
    channels: int = 1,
) -> Crops:
    """Random crops with gains, dropped stems and cross-song mixtures; filters come afterwards
    (``mix_spectra``, ``equalise``).

    Longer songs are drawn more often, in proportion to their duration. Stems that a song does not
    have are silent. Of tar shards, those at hand are drawn from.
    """
    songs = songs_at_hand(songs)
    weights = np.array([song.duration_s for song in songs])
    weights /= weights.sum()
    axes = () if channels == 1 else (channels,)
    waveforms = np.zeros((num_crops, len(stems), *axes, num_samples), dtype=np.float32)
    coherent = np.ones(num_crops, dtype=bool)
    duration_s = num_samples / sample_rate

    def draw_place() -> Place:
        song = songs[rng.choice(len(songs), p=weights)]
        speed = 1.0
        if settings.tape_semitones > 0:
            speed = 2 ** (rng.uniform(-1, 1) * settings.tape_semitones / 12)
        return song, rng.uniform(0, max(song.duration_s - speed * duration_s, 0)), speed

    def draw(crop: int) -> Place:
        waveforms[crop] = 0
        coherent[crop] = rng.random() >= settings.cross_song_probability
        place = draw_place()
        for index, stem in enumerate(stems):
            if not coherent[crop]:
                place = draw_place()
            sound = waveforms[crop, index]
            song, start_s, speed = place
            if stem in song.stems:
                sound += read_stem(song, stem, start_s, num_samples, sample_rate, channels, speed)
            if settings.drive_probability > 0 and rng.random() < settings.drive_probability:
                sound[:] = overdriven(sound, rng.uniform(0, MOST_DRIVE_DB))
        mono = waveforms[crop] if channels == 1 else waveforms[crop].mean(axis=1)
        whole = settings.whole_songs and bool(coherent[crop])
        rms = rms_of_song(place[0], tuple(stems)) if whole else None
        gains = _draw_gains(mono, stems, settings, rng, rms)
        waveforms[crop] *= gains.reshape(-1, *(1 for _ in axes), 1)
        return place

    places = [undamaged(partial(draw, crop), songs) for crop in range(num_crops)]
    return Crops(torch.from_numpy(waveforms), torch.from_numpy(coherent), places)


def read_stem(
    song: Song,
    stem: str,
    start_s: float,
    num_samples: int,
    sample_rate: int,
    channels: int = 1,
    speed: float = 1.0,
) -> np.ndarray:
    """The sum of ``read_crop`` of all files of a stem."""
    about = (start_s, num_samples, sample_rate, channels, speed)
    crops = [read_crop(path, *about) for path in stem_files(song, stem)]
    summed: np.ndarray = np.sum(crops, axis=0)
    return summed


def stem_files(song: Song, stem: str) -> tuple[Path, ...]:
    """``Song.stem_paths``; raises ``DamagedFile`` if there are none."""
    try:
        return song.stem_paths(stem)
    except InputError as error:
        raise DamagedFile(song.folder / stem, "is listed and not there") from error


def overdriven(waveform: np.ndarray, drive_db: float) -> np.ndarray:
    """``waveform`` (..., T) through a soft clipper, ``drive_db`` over unit RMS, as loud as before.

    It clips at four times the rate: harmonics above half the rate would fold back.
    """
    rms = float(np.sqrt(np.mean(np.square(waveform))))
    if rms < 1e-5:
        return waveform
    gain = np.float32(10 ** (drive_db / 20) / rms)
    fine = soxr.resample(waveform.T, 1, OVERSAMPLING)
    clipped = soxr.resample(np.tanh(fine * gain), OVERSAMPLING, 1)[: waveform.shape[-1]].T
    louder = float(np.sqrt(np.mean(np.square(clipped)))) / rms
    return np.ascontiguousarray(clipped) / np.float32(louder)


@lru_cache(maxsize=16384)
def rms_of_song(song: Song, stems: tuple[str, ...]) -> float:
    """RMS of the sum of a whole song's ``stems``, in mono."""
    mixture: np.ndarray | float = 0.0
    for stem in stems:
        if stem in song.stems:
            for path in stem_files(song, stem):
                whole = round(song.duration_s * song.sample_rate)
                mixture = mixture + read_crop(path, 0.0, whole, song.sample_rate)
    return float(np.sqrt(np.mean(np.square(mixture))))


def _draw_gains(
    waveforms: np.ndarray,
    stems: Sequence[str],
    settings: MixSettings,
    rng: np.random.Generator,
    song_rms: float | None = None,
) -> np.ndarray:
    """Gain (S,) of each stem of one crop (S, T), as factors; ``song_rms`` counts as its level."""
    num_stems, drop = len(stems), settings.stem_drop_probability
    chances = [drop.get(stem, 0.0) if isinstance(drop, Mapping) else drop for stem in stems]
    gain_db = rng.normal(0, 1, num_stems) * settings.stem_gain_std_db
    gain = (10 ** (gain_db / 20)).astype(np.float32)
    dropped = rng.random(num_stems) < chances
    dropped[rng.integers(num_stems)] = False
    gain[dropped] = 0
    level_db = rng.normal() * settings.level_std_db
    if settings.reference_rms is not None:
        mixture = (waveforms * gain[:, None]).sum(axis=0)
        rms = np.sqrt(np.mean(np.square(mixture))) if song_rms is None else song_rms
        # near-silent crops stay quiet instead of becoming amplified noise
        gain *= settings.reference_rms / max(rms, settings.reference_rms / 30)
    return gain * np.float32(10 ** (level_db / 20))


def mix_mels(
    log_mel: LogMel, waveforms: Tensor, settings: MixSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Log-mels of stems (N, S, F, M) and of their sum (N, F, M), through random equalisers.

    Of stereo crops (N, S, 2, F, M) and (N, 2, F, M).
    """
    spectra = mix_spectra(log_mel, waveforms, settings, rng)
    stems = log_mel.mel_of_magnitude(spectra.abs())
    if settings.clip_mixture:
        return stems, log_mel(waveforms.sum(dim=1).clamp(-1, 1))
    return stems, log_mel.mel_of_magnitude(spectra.sum(dim=1).abs())


def mix_spectra(
    log_mel: LogMel, waveforms: Tensor, settings: MixSettings, rng: np.random.Generator
) -> Tensor:
    """Complex spectra (N, S, F, n_fft // 2 + 1) of stems, each through a random equaliser.

    The STFT is linear: the mixture's spectrum is the sum over S.
    """
    spectra = log_mel.stft(waveforms)[..., :-1, :]
    if settings.equaliser_std_db > 0:
        response = _draw_equalisers(waveforms.shape[:2], spectra.shape[-1], settings, rng)
        for _ in range(spectra.ndim - response.ndim):
            response = response.unsqueeze(2)
        torch.view_as_real(spectra).mul_(response[..., None])
    return spectra


def equalise(waveforms: Tensor, settings: MixSettings, rng: np.random.Generator) -> Tensor:
    """Waveforms (N, S, T) or (N, S, 2, T), each stem through a random equaliser: ``mix_spectra``
    for networks that take samples. The filters have no delay; crops are taken as periodic.
    """
    if settings.equaliser_std_db <= 0:
        return waveforms
    spectra = torch.fft.rfft(waveforms)
    response = _draw_equalisers(waveforms.shape[:2], spectra.shape[-1], settings, rng)
    if waveforms.ndim > response.ndim:
        response = response[:, :, None]
    return torch.fft.irfft(spectra * response, n=waveforms.shape[-1])


def _draw_equalisers(
    shape: Sequence[int], num_bins: int, settings: MixSettings, rng: np.random.Generator
) -> Tensor:
    """Smooth random gains (N, S, num_bins) on a roughly logarithmic frequency axis, as factors."""
    num_knots = 7
    gain_db = rng.normal(0, settings.equaliser_std_db, (*shape, num_knots))
    gain_db -= gain_db.mean(axis=-1, keepdims=True)
    position = np.log1p(np.arange(num_bins) / num_bins * 50) / np.log1p(50) * (num_knots - 1)
    left = np.minimum(position.astype(int), num_knots - 2)
    right_share = 0.5 - 0.5 * np.cos(np.pi * (position - left))
    curve = gain_db[..., left] * (1 - right_share) + gain_db[..., left + 1] * right_share
    return torch.from_numpy(10 ** (curve / 20)).float()
