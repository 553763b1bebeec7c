"""Parts → stem waveforms of one song: presets, effects, levels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from stemweave.data.songs import Song, write_song
from stemweave.files import appearing
from stemweave.render.effects import draw_effects, draw_voicing
from stemweave.render.score import Part
from stemweave.render.synth import Synthesiser

PEAK = 0.9
"""Largest absolute sample of a song's mixture."""

STEM_LEVELS_DB = {"bass": -21.0, "drums": -20.0, "guitar": -23.0, "piano": -23.0}
"""Typical RMS of a stem while it plays, relative to full scale, before the song is scaled."""


def render_stems(
    stems: Mapping[str, Sequence[Part]],
    duration_s: float,
    synthesiser: Synthesiser,
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]],
    rng: np.random.Generator,
    voiced: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Mono waveforms (T,) by stem, whose sum stays below ``PEAK``, and the SoundFont of each.

    ``soundfonts`` lists files with their weights for each stem. If ``voiced``, three stems in five
    have other filters and envelopes than their SoundFont gives them.
    """
    rendered, fonts = {}, {}
    for stem, parts in stems.items():
        files, weights = zip(*soundfonts[stem], strict=True)
        shares = np.array(weights) / sum(weights)
        font = files[rng.choice(len(files), p=shares)]
        kit = int(rng.choice([0, 0, 0, 8, 16, 24, 25, 32, 40]))
        effects = draw_effects(stem, rng)
        level_db = STEM_LEVELS_DB[stem] + rng.normal(0, 3)
        timbre_shift = int(rng.integers(-5, 6)) if rng.random() < 0.5 else 0
        voicing = draw_voicing(rng) if voiced and rng.random() < 0.6 else None
        stereo = synthesiser.render(parts, font, duration_s, kit, timbre_shift, voicing)
        processed = effects(_normalised(stereo.mean(axis=0)), synthesiser.sample_rate)
        rendered[stem] = _normalised(processed) * np.float32(10 ** (level_db / 20))
        fonts[stem] = font.name
    peak = float(np.abs(sum(rendered.values())).max())
    scale = np.float32(min(1.0, PEAK / max(peak, 1e-6)))
    return {stem: waveform * scale for stem, waveform in rendered.items()}, fonts


def _normalised(waveform: np.ndarray) -> np.ndarray:
    """Unit RMS over the part that plays; silence stays silence."""
    loud = np.abs(waveform) > 1e-3 * max(float(np.abs(waveform).max()), 1e-6)
    rms = np.sqrt(np.mean(np.square(waveform[loud]))) if loud.any() else 0.0
    return waveform / max(rms, 1e-5) if rms > 1e-5 else np.zeros_like(waveform)


def write_stems(
    folder: Path, stems: Mapping[str, np.ndarray], sample_rate: int, song: Song
) -> None:
    """16-bit FLAC files and ``song.json``; the folder appears only when it is complete."""
    with appearing(folder) as partial:
        partial.mkdir()
        for stem, waveform in stems.items():
            soundfile.write(partial / f"{stem}.flac", waveform.T, sample_rate, subtype="PCM_16")
        write_song(dataclasses.replace(song, folder=partial, sample_rate=sample_rate))
