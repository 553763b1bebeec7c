"""Notes → waveform with fluidsynth; the synthesiser and its SoundFonts stay loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fluidsynth
import numpy as np

from stemweave.render.score import Part

DRUM_CHANNEL = 9
DRUM_BANK = 128


class Synthesiser:
    """fluidsynth at one sample rate, without its own reverb and chorus.

    Args:
        sample_rate: Hz.

    SoundFonts are loaded at first use and stay loaded.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._synths: dict[Path, tuple[fluidsynth.Synth, int]] = {}

    def _load(self, soundfont: Path) -> tuple[fluidsynth.Synth, int]:
        if soundfont not in self._synths:
            synth = fluidsynth.Synth(
                gain=0.4,
                samplerate=float(self.sample_rate),
                **{"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.cpu-cores": 1},
            )
            font = synth.sfload(str(soundfont))
            if font < 0:
                raise ValueError(f"{soundfont} is not a SoundFont that fluidsynth can load")
            self._synths[soundfont] = synth, font
        return self._synths[soundfont]

    def _drum_preset(self, soundfont: Path, drum_kit: int) -> tuple[int, int]:
        """Bank and program of a kit: that of the number, the first one, or a drum-only font's."""
        synth, font = self._load(soundfont)
        for bank, program in ((DRUM_BANK, drum_kit), (DRUM_BANK, 0)):
            if synth.sfpreset_name(font, bank, program):
                return bank, program
        return 0, 0

    def render(
        self,
        parts: Sequence[Part],
        soundfont: Path,
        duration_s: float,
        drum_kit: int = 0,
        timbre_shift: int = 0,
    ) -> np.ndarray:
        """Stereo float32 (2, samples) of ``parts`` played together, cut at ``duration_s``.

        ``timbre_shift`` plays samples recorded so many semitones lower, tuned up to the written
        pitch (higher and tuned down if negative): the same notes with another colour. Drums are
        tuned by it. A drum kit that the SoundFont lacks is replaced by its first one.
        """
        synth, font = self._load(soundfont)
        synth.system_reset()
        events: list[tuple[float, int, int, int, int]] = []  # time, on, channel, pitch, velocity
        channels = [c for c in range(16) if c != DRUM_CHANNEL]
        for index, part in enumerate(parts):
            channel = DRUM_CHANNEL if part.is_drum else channels[index % len(channels)]
            bank, program = 0, part.program
            if part.is_drum:
                bank, program = self._drum_preset(soundfont, drum_kit)
            synth.program_select(channel, font, bank, program)
            for controller, value in ((101, 0), (100, 2), (6, 64 + timbre_shift)):  # coarse tuning
                synth.cc(channel, controller, value)
            transposition = 0 if part.is_drum else timbre_shift
            for note in part.notes:
                pitch = min(max(note.pitch - transposition, 0), 127)
                events.append((note.start_s, 1, channel, pitch, note.velocity))
                events.append((max(note.end_s, note.start_s + 0.02), 0, channel, pitch, 0))
        events.sort()
        total = round(duration_s * self.sample_rate)
        blocks, position = [], 0
        for time_s, is_on, channel, pitch, velocity in events:
            target = min(round(time_s * self.sample_rate), total)
            if target > position:
                blocks.append(synth.get_samples(target - position))
                position = target
            if position >= total:
                break
            if is_on:
                synth.noteon(channel, pitch, velocity)
            else:
                synth.noteoff(channel, pitch)
        if position < total:
            blocks.append(synth.get_samples(total - position))
        samples = np.concatenate(blocks) if blocks else np.zeros(2 * total, np.int16)
        return samples.reshape(-1, 2).T.astype(np.float32) / 32768.0
