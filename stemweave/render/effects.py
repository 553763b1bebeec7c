"""Random effects of a stem, as a mixing engineer's channel strip would have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pedalboard

from stemweave.render.synth import Voicing


def draw_effects(stem: str, rng: np.random.Generator) -> pedalboard.Pedalboard:
    """A chain for ``stem``: drive, modulation, equaliser, compressor, reverb, each by chance."""
    chain: list[pedalboard.Plugin] = []
    if stem == "guitar" and rng.random() < 0.25:
        chain.append(pedalboard.Distortion(drive_db=float(rng.uniform(5, 30))))
        chain.append(pedalboard.LowpassFilter(cutoff_frequency_hz=float(rng.uniform(2500, 6000))))
    if stem == "bass" and rng.random() < 0.2:
        chain.append(pedalboard.Distortion(drive_db=float(rng.uniform(3, 15))))
    if stem in ("guitar", "piano", "other") and rng.random() < 0.25:
        chain.append(
            pedalboard.Chorus(rate_hz=float(rng.uniform(0.3, 2)), mix=float(rng.uniform(0.1, 0.5)))
        )
    if rng.random() < 0.6:
        low, middle, high = (float(gain) for gain in rng.normal(0, 4, 3))
        chain.append(pedalboard.LowShelfFilter(float(rng.uniform(100, 300)), low))
        chain.append(pedalboard.PeakFilter(float(rng.uniform(400, 3000)), middle, 0.7))
        chain.append(pedalboard.HighShelfFilter(float(rng.uniform(2500, 6000)), high))
    if rng.random() < 0.4:
        chain.append(_draw_compressor(rng, (-35, -15), (2, 6), (1, 30), (50, 300)))
    if rng.random() < (0.2 if stem == "bass" else 0.6):
        chain.append(_draw_reverb(rng, 0.8, 0.3))
    return pedalboard.Pedalboard(chain)


def draw_amplifier(
    stem: str, cabinets: Sequence[Path], rng: np.random.Generator
) -> pedalboard.Pedalboard | None:
    """Drive and a cabinet for guitars, now and then for basses; None for a direct sound.

    Clean, crunchy or with high gain; a boost of the middle before the drive, an impulse response
    of ``cabinets`` after it.
    """
    if rng.random() >= {"guitar": 0.6, "bass": 0.35}.get(stem, 0.0):
        return None
    kind = str(rng.choice(["clean", "crunch", "high gain"], p=[0.25, 0.35, 0.4]))
    drive_db = rng.uniform(*{"clean": (0, 8), "crunch": (10, 22), "high gain": (22, 42)}[kind])
    if stem == "bass":
        drive_db /= 2
    chain: list[pedalboard.Plugin] = []
    if kind != "high gain" and rng.random() < 0.4:
        chain.append(pedalboard.Compressor(float(rng.uniform(-30, -15)), float(rng.uniform(2, 6))))
    chain.append(pedalboard.HighpassFilter(float(rng.uniform(20, 60 if stem == "bass" else 180))))
    if kind != "clean":
        boost_db = float(rng.uniform(0, 9))
        chain.append(pedalboard.PeakFilter(float(rng.uniform(600, 1500)), boost_db, 0.7))
    chain.append(pedalboard.Distortion(float(drive_db)))
    if kind == "high gain":  # a second stage, and the tone controls after it
        chain.append(pedalboard.HighpassFilter(float(rng.uniform(60, 150))))
        chain.append(pedalboard.Distortion(float(rng.uniform(0, 10))))
        chain.append(pedalboard.PeakFilter(float(rng.uniform(400, 900)), float(rng.normal(-3, 4))))
    if stem == "guitar":
        cabinet = str(cabinets[int(rng.integers(len(cabinets)))])
        chain.append(pedalboard.Convolution(cabinet, 1.0))
    chain.append(pedalboard.LowpassFilter(float(rng.uniform(3500, 8000))))
    if rng.random() < 0.15:
        chain.append(pedalboard.Phaser(rate_hz=float(rng.uniform(0.2, 3))))
    return pedalboard.Pedalboard(chain)


def draw_voice_effects(beat_s: float, rng: np.random.Generator) -> pedalboard.Pedalboard:
    """A chain for a voice: rumble out, equaliser, compressor, rarely drive, echoes, reverb."""
    chain: list[pedalboard.Plugin] = [pedalboard.HighpassFilter(float(rng.uniform(60, 150)))]
    if rng.random() < 0.05:  # through a telephone or a megaphone
        chain.append(pedalboard.HighpassFilter(500.0))
        chain.append(pedalboard.Distortion(drive_db=float(rng.uniform(5, 20))))
    if rng.random() < 0.8:
        presence, air = float(rng.normal(2, 3)), float(rng.normal(1, 4))
        chain.append(pedalboard.PeakFilter(float(rng.uniform(1500, 5000)), presence, 0.7))
        chain.append(pedalboard.HighShelfFilter(float(rng.uniform(4000, 7000)), air))
    if rng.random() < 0.8:
        chain.append(_draw_compressor(rng, (-30, -10), (2, 8), (1, 20), (40, 200)))
    if rng.random() < 0.12:
        chain.append(pedalboard.Chorus(mix=float(rng.uniform(0.15, 0.5))))
    if rng.random() < 0.3:
        chain.append(
            pedalboard.Delay(
                beat_s * float(rng.choice([0.25, 0.5, 0.75, 1.0])),
                feedback=float(rng.uniform(0, 0.4)),
                mix=float(rng.uniform(0.08, 0.3)),
            )
        )
    if rng.random() < 0.75:
        chain.append(_draw_reverb(rng, 0.9, 0.35))
    return pedalboard.Pedalboard(chain)


def _draw_compressor(
    rng: np.random.Generator,
    threshold_db: tuple[float, float],
    ratio: tuple[float, float],
    attack_ms: tuple[float, float],
    release_ms: tuple[float, float],
) -> pedalboard.Compressor:
    """One with settings between these bounds."""
    return pedalboard.Compressor(
        *(float(rng.uniform(*bounds)) for bounds in (threshold_db, ratio, attack_ms, release_ms))
    )


def _draw_reverb(
    rng: np.random.Generator, largest_room: float, wettest: float
) -> pedalboard.Reverb:
    return pedalboard.Reverb(
        room_size=float(rng.uniform(0.1, largest_room)),
        damping=float(rng.uniform(0.2, 0.9)),
        wet_level=float(rng.uniform(0.03, wettest)),
        dry_level=0.8,
    )


def draw_voicing(rng: np.random.Generator) -> Voicing:
    """Another filter and envelope than the SoundFont's own, each by chance."""
    cutoff_cents = resonance_cb = attack_timecents = sustain_cb = 0.0
    if rng.random() < 0.5:
        cutoff_cents = float(np.clip(-abs(rng.normal(0, 2200)), -4500, 0))
        resonance_cb = float(rng.uniform(0, 60))
    if rng.random() < 0.3:
        attack_timecents = float(rng.uniform(0, 3600))
    if rng.random() < 0.4:
        sustain_cb = float(rng.uniform(0, 250))
    decay_timecents, release_timecents = (float(one) for one in rng.normal(0, 1000, 2))
    return Voicing(
        cutoff_cents, resonance_cb, attack_timecents, decay_timecents, sustain_cb, release_timecents
    )
