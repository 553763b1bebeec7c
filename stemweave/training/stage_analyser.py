"""Training of the analyser: stems of songs whose sheets are known, mixed at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.data.damage import undamaged
from stemweave.data.mixing import read_stem
from stemweave.data.song_conditions import read_song_conditions
from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.models.analyser import NO_PITCH, PITCH_CLASSES, Analysis
from stemweave.music.lead_sheet import LeadSheet
from stemweave.training.networks import make_analyser
from stemweave.training.part_settings import AnalyserSettings
from stemweave.training.settings import RunSettings

SEMITONES = (-5, 7)
UNKNOWN = -100
"""Class of what is not to be learnt."""
BEAT_WEIGHT = 6.0
"""Of frames with a beat, which are few."""
SILENT_RMS = 1e-4


def targets_of(
    sheet: LeadSheet, start_s: float, num_frames: int, frame_s: float, metres: Sequence[str]
) -> dict[str, np.ndarray]:
    """What the analyser is to find in frames from ``start_s`` on.

    ``beat`` and ``downbeat`` (F,), half in the frames beside a beat; ``root`` and ``bass`` (F,)
    classes; ``tones`` (F, 12); ``metre`` a class. What the sheet does not know is ``UNKNOWN``.
    """
    assert sheet.beats_s is not None and sheet.downbeats is not None
    beats_s = np.array(sheet.beats_s)
    times_s = start_s + frame_s * np.arange(num_frames)
    found: dict[str, np.ndarray] = {
        "beat": _peaks(beats_s - start_s, num_frames, frame_s),
        "downbeat": _peaks(beats_s[list(sheet.downbeats)] - start_s, num_frames, frame_s),
    }
    root, bass = (np.full(num_frames, UNKNOWN) for _ in range(2))
    tones = np.zeros((num_frames, PITCH_CLASSES), dtype=np.float32)
    if sheet.chords is not None:
        starts = np.array([change.start_beat for change in sheet.chords])
        index = np.searchsorted(starts, sheet.beat_at(times_s), "right") - 1
        for number, change in enumerate(sheet.chords):
            own, chord = index == number, change.chord
            root[own] = NO_PITCH if chord is None else chord.root
            bass[own] = NO_PITCH if chord is None else chord.bass
            if chord is not None:
                tones[np.ix_(own, list(chord.tones))] = 1
    known = sheet.metre in metres
    metre = np.array(list(metres).index(sheet.metre) if known else UNKNOWN)  # type: ignore[arg-type]
    return {**found, "root": root, "bass": bass, "tones": tones, "metre": metre}


def _peaks(times_s: np.ndarray, num_frames: int, frame_s: float) -> np.ndarray:
    peaks = np.zeros(num_frames, dtype=np.float32)
    frames = np.round(times_s / frame_s).astype(int)
    for by, height in ((-1, 0.5), (1, 0.5), (0, 1.0)):
        inside = (frames + by >= 0) & (frames + by < num_frames)
        peaks[frames[inside] + by] = height
    return peaks


def analysis_losses(found: Analysis, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean losses: of beats and downbeats, metre, root and bass, and tones of the chord."""

    def of_peaks(logits: Tensor, peaks: Tensor) -> Tensor:
        weight = 1 + (BEAT_WEIGHT - 1) * (peaks > 0)
        return functional.binary_cross_entropy_with_logits(logits, peaks, weight)

    def of_classes(logits: Tensor, classes: Tensor) -> Tensor:
        flat = logits.flatten(0, -2), classes.flatten()
        known = (flat[1] != UNKNOWN).sum().clamp(min=1)
        return functional.cross_entropy(*flat, ignore_index=UNKNOWN, reduction="sum") / known

    harmonic = (wanted["root"] != UNKNOWN)[..., None]
    tones = functional.binary_cross_entropy_with_logits(
        found.tones, wanted["tones"], reduction="none"
    )
    tones = (tones * harmonic).sum() / (harmonic.sum() * PITCH_CLASSES).clamp(min=1)
    return {
        "beat": of_peaks(found.beat, wanted["beat"]),
        "downbeat": of_peaks(found.downbeat, wanted["downbeat"]),
        "metre": 0.2 * of_classes(found.metre.mean(dim=1), wanted["metre"]),
        "root": 0.3 * of_classes(found.root, wanted["root"]),
        "bass": 0.2 * of_classes(found.bass, wanted["bass"]),
        "tones": tones,
    }


class AnalyserStage:
    """The analyser's training on composed songs, each with its ``sheet.json``.

    Raises ``InputError`` if no training song, or no validation song, has a sheet with its bars.
    """

    def __init__(
        self, settings: RunSettings, train: Sequence[Song], validation: Sequence[Song]
    ) -> None:
        self.settings: AnalyserSettings = settings.analyser
        self.stems = settings.stems
        self.train, self.validation = _with_bars(train), _with_bars(validation)
        metres = sorted({self._sheet(song).metre or "" for song in self.train} - {""})
        self.network = make_analyser(settings, metres)

    def _sheet(self, song: Song) -> LeadSheet:
        sheet = read_song_conditions(song.folder).sheet
        assert sheet is not None
        return sheet

    def draw(
        self, songs: Sequence[Song], count: int, rng: np.random.Generator, vary: bool
    ) -> tuple[Tensor, dict[str, Tensor], list[int]]:
        """Mixtures (B, N), their targets, and by how many semitones the network is to move them.

        In half of the mixtures that vary some stems are missing, and each has a gain of its own.
        """
        config, frames = self.network.config, self.settings.crop_frames
        num_samples, frame_s = (
            (frames - 1) * config.hop_length,
            config.hop_length / config.sample_rate,
        )
        waveforms, targets, moves = [], [], []
        for _ in range(count):
            song, start_s, stems = self._read(songs, num_samples, rng)
            if vary:
                stems = self._varied(stems, rng)
            own = targets_of(self._sheet(song), start_s, frames, frame_s, config.metres)
            by = int(rng.integers(*SEMITONES)) if vary else 0
            pitched = [one for stem, one in stems.items() if stem != "drums"]
            if not pitched or np.sqrt(np.mean(sum(pitched) ** 2)) < SILENT_RMS:
                own["root"][:] = own["bass"][:] = UNKNOWN
            waveforms.append(np.sum(list(stems.values()), axis=0))
            targets.append(_moved(own, by))
            moves.append(by)
        stacked = {
            name: torch.from_numpy(np.stack([own[name] for own in targets])) for name in targets[0]
        }
        return torch.from_numpy(np.stack(waveforms)), stacked, moves

    def _read(
        self, songs: Sequence[Song], num_samples: int, rng: np.random.Generator
    ) -> tuple[Song, float, dict[str, np.ndarray]]:
        """A song, where a crop of it begins in seconds, and its stems (T,); passes damage by."""
        rate = self.network.config.sample_rate
        duration_s = self.settings.crop_frames * self.network.config.hop_length / rate

        def draw() -> tuple[Song, float, dict[str, np.ndarray]]:
            song = songs[int(rng.integers(len(songs)))]
            start_s = float(rng.uniform(0, max(song.duration_s - duration_s, 1e-3)))
            where = (start_s, num_samples, rate)
            return song, start_s, {stem: read_stem(song, stem, *where) for stem in song.stems}

        return undamaged(draw, songs)

    def _varied(
        self, stems: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        names = list(stems)
        if rng.random() < self.settings.subset_share:
            count = int(rng.integers(1, len(names) + 1))
            names = [names[index] for index in rng.permutation(len(names))[:count]]
        gains = 10 ** (rng.normal(0, self.settings.gain_std_db, len(names)) / 20)
        return {
            name: stems[name] * np.float32(gain) for name, gain in zip(names, gains, strict=True)
        }

    def loss(
        self, network: nn.Module, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        waveforms, targets, moves = self.draw(self.train, self.settings.batch_size, rng, vary=True)
        losses = self._losses(network, waveforms, targets, moves, len(moves))
        return sum(losses.values(), torch.zeros(())), {n: one.item() for n, one in losses.items()}

    def _losses(
        self,
        network: Any,
        waveforms: Tensor,
        targets: Mapping[str, Tensor],
        moves: Sequence[int],
        at_once: int,
    ) -> dict[str, Tensor]:
        """Losses of all, of which the network takes so many ``at_once``."""
        device = next(network.parameters()).device
        wanted = {name: one.to(device) for name, one in targets.items()}
        found = [
            network(waveforms[start : start + at_once].to(device), moves[start : start + at_once])
            for start in range(0, len(moves), at_once)
        ]
        return analysis_losses(Analysis(*map(torch.cat, zip(*found, strict=True))), wanted)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Losses on songs of grooves that training never has, all stems at their levels."""
        rng, count = np.random.default_rng(1), self.settings.validation_samples
        drawn = self.draw(self.validation, count, rng, vary=False)
        losses = self._losses(network, *drawn, at_once=self.settings.batch_size)
        figures = {f"val_{name}": value.item() for name, value in losses.items()}
        return {"val_loss": sum(figures.values()), **figures}

    def export(self, network: Any, folder: Path) -> None:
        network.save_pretrained(folder)


def _moved(targets: dict[str, np.ndarray], semitones: int) -> dict[str, np.ndarray]:
    """Targets of the same music, higher."""

    def classes(own: np.ndarray) -> np.ndarray:
        return np.where((own >= 0) & (own < NO_PITCH), (own + semitones) % PITCH_CLASSES, own)

    tones = np.roll(targets["tones"], semitones, axis=1)
    return {
        **targets,
        "root": classes(targets["root"]),
        "bass": classes(targets["bass"]),
        "tones": tones,
    }


def _with_bars(songs: Sequence[Song]) -> list[Song]:
    sheets = [read_song_conditions(song.folder).sheet for song in songs]
    kept = [
        s for s, sheet in zip(songs, sheets, strict=True) if sheet is not None and sheet.downbeats
    ]
    if not kept:
        raise InputError(
            "no song has a sheet.json with its bars: stemweave compose writes such songs"
        )
    return kept
