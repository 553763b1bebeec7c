"""Parts → stem waveforms of one song: sounds, effects, levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pedalboard
import soxr

from stemweave.render.effects import draw_amplifier, draw_effects, draw_voicing
from stemweave.render.score import Part
from stemweave.render.synth import Synthesiser, Voicing

PEAK = 0.9
"""Largest absolute sample of a song's mixture."""

AMPLIFIER_RATE, AMPLIFIER_INPUT_DB = 44100, -16.0
"""Hz, at least; RMS of what goes into an amplifier, relative to full scale."""
STEM_LEVELS_DB = {"bass": -21.0, "drums": -20.0, "guitar": -23.0, "piano": -23.0, "other": -25.0}
"""Typical RMS of a stem while it plays, relative to full scale, before the song is scaled."""


@dataclass(frozen=True)
class Sound:
    """How a stem sounds: SoundFont, drum kit, amplifier, channel strip, level, colour."""

    font: Path
    kit: int
    effects: pedalboard.Pedalboard
    level_db: float
    timbre_shift: int
    voicing: Voicing | None
    amplifier: pedalboard.Pedalboard | None = None


def draw_sounds(
    stems: Sequence[str],
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]],
    rng: np.random.Generator,
    voiced: bool = False,
    cabinets: Sequence[Path] = (),
) -> dict[str, Sound]:
    """A sound for each stem; ``soundfonts`` lists files with their weights for each.

    If ``voiced``, three stems in five have other filters and envelopes than their SoundFont gives
    them. With impulse responses of ``cabinets``, guitars and basses may have an amplifier.
    """
    sounds = {}
    for stem in stems:
        files, weights = zip(*soundfonts[stem], strict=True)
        shares = np.array(weights) / sum(weights)
        sounds[stem] = Sound(
            font=files[rng.choice(len(files), p=shares)],
            kit=int(rng.choice([0, 0, 0, 8, 16, 24, 25, 32, 40])),
            effects=draw_effects(stem, rng),
            level_db=STEM_LEVELS_DB[stem] + rng.normal(0, 3),
            timbre_shift=int(rng.integers(-5, 6)) if rng.random() < 0.5 else 0,
            voicing=draw_voicing(rng) if voiced and rng.random() < 0.6 else None,
            amplifier=draw_amplifier(stem, cabinets, rng) if cabinets else None,
        )
    return sounds


def render_stems(
    stems: Mapping[str, Sequence[Part]],
    sounds: Mapping[str, Sound],
    duration_s: float,
    synthesiser: Synthesiser,
    more: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Mono waveforms (T,) by stem, whose sum stays below ``PEAK``; ``more`` are there already."""
    rendered = {
        stem: render_parts(parts, sounds[stem], duration_s, synthesiser)
        for stem, parts in stems.items()
    } | dict(more or {})
    peak = float(np.abs(sum(rendered.values())).max())
    scale = np.float32(min(1.0, PEAK / max(peak, 1e-6)))
    return {stem: waveform * scale for stem, waveform in rendered.items()}


def render_parts(
    parts: Sequence[Part], sound: Sound, duration_s: float, synthesiser: Synthesiser
) -> np.ndarray:
    """Mono waveform (T,) at the sound's level, or silence if nothing is played."""
    stereo = synthesiser.render(
        parts, sound.font, duration_s, sound.kit, sound.timbre_shift, sound.voicing
    )
    mono: np.ndarray = stereo.mean(axis=0)
    if sound.amplifier is not None:
        mono = amplified(mono, sound.amplifier, synthesiser.sample_rate)
    return levelled(mono, sound.effects, sound.level_db, synthesiser.sample_rate)


def amplified(
    waveform: np.ndarray, amplifier: pedalboard.Pedalboard, sample_rate: int
) -> np.ndarray:
    """``waveform`` (T,) through an amplifier at a rate whose half its harmonics stay below."""
    factor = -(-AMPLIFIER_RATE // sample_rate)
    given = _normalised(waveform) * np.float32(10 ** (AMPLIFIER_INPUT_DB / 20))
    played = amplifier(soxr.resample(given, 1, factor), factor * sample_rate)
    back: np.ndarray = soxr.resample(played, factor, 1)
    return back[: len(waveform)]


def levelled(
    waveform: np.ndarray, effects: pedalboard.Pedalboard, level_db: float, sample_rate: int
) -> np.ndarray:
    """``waveform`` (T,) through ``effects``, at ``level_db`` while it plays."""
    processed = effects(_normalised(waveform), sample_rate)
    return _normalised(processed) * np.float32(10 ** (level_db / 20))


def _normalised(waveform: np.ndarray) -> np.ndarray:
    """Unit RMS over the part that plays; silence stays silence."""
    rms = rms_while_playing(waveform)
    return waveform / rms if rms > 1e-5 else np.zeros_like(waveform)


def rms_while_playing(waveform: np.ndarray) -> float:
    """Of samples within 60 dB of the peak; 0 of silence."""
    loud = np.abs(waveform) > 1e-3 * max(float(np.abs(waveform).max()), 1e-6)
    return float(np.sqrt(np.mean(np.square(waveform[loud])))) if loud.any() else 0.0
