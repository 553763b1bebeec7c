"""Notes → waveform with fluidsynth; the synthesiser and its SoundFonts stay loaded.

fluidsynth's interpolation has no band limit, so low rates are rendered at a multiple and resampled.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fluidsynth
import numpy as np
import soxr

from stemweave.errors import InputError
from stemweave.render.score import Part

CHANNELS = 16
DRUM_CHANNEL = 9
DRUM_BANK = 128
BLOCK_SAMPLES = 64
"""fluidsynth computes so many samples at once; notes begin on this grid."""
MIN_INTERNAL_RATE = 32000
"""Hz; whatever folds back from above its half lands above 8 kHz at 16 kHz and is filtered out."""

Event = tuple[float, int, int, int, int]
"""Time in seconds, 1 for on and 0 for off, channel, pitch, velocity."""


def _of_synth(name: str, **arguments: Any) -> Callable[..., int]:
    """A function of fluidsynth that pyfluidsynth lacks: of a synth and ``arguments`` by C type."""
    types = {"synth": ctypes.c_void_p, **arguments}
    function: Callable[..., int] = fluidsynth.cfunc(
        name, ctypes.c_int, *((argument, kind, 1) for argument, kind in types.items())
    )
    return function


# pyfluidsynth has the 16-bit output only, which adds dither that depends on what was played before
_write_float = _of_synth(
    "fluid_synth_write_float", length=ctypes.c_int,
    left=ctypes.c_void_p, left_offset=ctypes.c_int, left_step=ctypes.c_int,
    right=ctypes.c_void_p, right_offset=ctypes.c_int, right_step=ctypes.c_int,
)  # fmt: skip

# pyfluidsynth can load a SoundFont into a synth, but not share a loaded one
_add_sfont = _of_synth("fluid_synth_add_sfont", font=ctypes.c_void_p)
_remove_sfont = _of_synth("fluid_synth_remove_sfont", font=ctypes.c_void_p)

# pyfluidsynth changes sounds by MIDI controllers only, which few SoundFonts follow
_set_generator = _of_synth(
    "fluid_synth_set_gen", channel=ctypes.c_int, generator=ctypes.c_int, value=ctypes.c_float
)

_set_log_function = fluidsynth.cfunc(
    "fluid_set_log_function",
    ctypes.c_void_p,
    ("level", ctypes.c_int, 1),
    ("function", ctypes.c_void_p, 1),
    ("data", ctypes.c_void_p, 1),
)
_WARNING = 2
_set_log_function(_WARNING, None, None)  # it warns of every SoundFont without drums


@dataclass(frozen=True)
class Voicing:
    """What is added to a SoundFont's own settings of a sound (SoundFont 2.04, 8.1.2).

    Attributes:
        cutoff_cents: of the low-pass filter, nearly always open at 13500 as recorded.
        resonance_cb: of the same filter.
        attack_timecents, decay_timecents, release_timecents: 1200 double the time.
        sustain_cb: how far a held note falls by its decay, in centibels.
    """

    cutoff_cents: float = 0.0
    resonance_cb: float = 0.0
    attack_timecents: float = 0.0
    decay_timecents: float = 0.0
    sustain_cb: float = 0.0
    release_timecents: float = 0.0


VOICING_GENERATORS = (8, 9, 34, 36, 37, 38)
"""Of the fields of ``Voicing``: initialFilterFc and -Q; the volume envelope's four."""


class Synthesiser:
    """fluidsynth at one sample rate, without its own reverb and chorus.

    SoundFonts are loaded at first use and stay loaded; what was rendered before leaves no trace,
    because every rendering has a synth of its own.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._internal_rate = sample_rate * -(-MIN_INTERNAL_RATE // sample_rate)
        self._keepers: dict[Path, tuple[fluidsynth.Synth, int]] = {}

    def _new_synth(self) -> fluidsynth.Synth:
        return fluidsynth.Synth(
            gain=0.4,
            channels=CHANNELS,
            samplerate=float(self._internal_rate),
            **{"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.cpu-cores": 1},
        )

    @contextmanager
    def _prepared(self, soundfont: Path) -> Iterator[tuple[fluidsynth.Synth, int]]:
        """A new synth and the number that the SoundFont has in it."""
        if soundfont not in self._keepers:
            keeper = self._new_synth()
            font = keeper.sfload(str(soundfont))
            if font < 0:
                keeper.delete()
                raise InputError(f"{soundfont} is not a SoundFont that fluidsynth can load")
            self._keepers[soundfont] = keeper, font
        keeper, font = self._keepers[soundfont]
        loaded = fluidsynth.fluid_synth_get_sfont_by_id(keeper.synth, font)
        synth = self._new_synth()
        try:
            yield synth, _add_sfont(synth.synth, loaded)
        finally:
            for channel in range(CHANNELS):  # or it would warn that their programs are gone
                synth.program_unset(channel)
            _remove_sfont(synth.synth, loaded)  # deleting a synth deletes its SoundFonts too
            synth.delete()

    def render(
        self,
        parts: Sequence[Part],
        soundfont: Path,
        duration_s: float,
        drum_kit: int = 0,
        timbre_shift: int = 0,
        voicing: Voicing | None = None,
    ) -> np.ndarray:
        """Stereo float32 (2, samples) of ``parts`` played together, cut at ``duration_s``.

        ``timbre_shift`` plays samples recorded so many semitones lower, tuned up to the written
        pitch: the same notes with another colour. Drums are tuned by it, and not voiced. A kit or
        an instrument that the SoundFont lacks is replaced by its first one.
        """
        with self._prepared(soundfont) as (synth, font):
            events: list[Event] = []
            channels = [c for c in range(CHANNELS) if c != DRUM_CHANNEL]
            for index, part in enumerate(parts):
                channel = DRUM_CHANNEL if part.is_drum else channels[index % len(channels)]
                if part.is_drum:
                    bank, program = _drum_preset(synth, font, drum_kit)
                else:
                    bank, program = 0, _program(synth, font, part.program)
                synth.program_select(channel, font, bank, program)
                for controller, value in ((101, 0), (100, 2), (6, 64 + timbre_shift)):
                    synth.cc(channel, controller, value)  # coarse tuning
                if voicing is not None and not part.is_drum:
                    changes = dataclasses.astuple(voicing)
                    for generator, change in zip(VOICING_GENERATORS, changes, strict=True):
                        _set_generator(synth.synth, channel, generator, change)
                transposition = 0 if part.is_drum else timbre_shift
                events += _events(part, channel, transposition)
            events.sort()
            internal = self._play(synth, events, duration_s)
        if self._internal_rate != self.sample_rate:
            internal = soxr.resample(internal, self._internal_rate, self.sample_rate)
        total = round(duration_s * self.sample_rate)
        return np.ascontiguousarray(internal[:total].T)

    def kit_heard(self, soundfont: Path, drum_kit: int) -> int:
        """The drum kit that ``render`` plays for ``drum_kit`` with a SoundFont."""
        with self._prepared(soundfont) as (synth, font):
            return _drum_preset(synth, font, drum_kit)[1]

    def _play(
        self, synth: fluidsynth.Synth, events: Sequence[Event], duration_s: float
    ) -> np.ndarray:
        """Samples (T, 2) at the internal rate; T is a whole number of fluidsynth's blocks."""
        blocks = -(-round(duration_s * self._internal_rate) // BLOCK_SAMPLES)
        total = blocks * BLOCK_SAMPLES
        samples = np.zeros((total, 2), np.float32)
        position = 0
        for time_s, is_on, channel, pitch, velocity in [*events, (duration_s + 1, 0, 0, 0, 0)]:
            target = min(round(time_s * self._internal_rate), total)
            if target > position:
                address = samples[position:].ctypes.data
                _write_float(synth.synth, target - position, address, 0, 2, address, 1, 2)
                position = target
            if position >= total:
                break
            if is_on:
                synth.noteon(channel, pitch, velocity)
            else:
                synth.noteoff(channel, pitch)
        return samples


def _drum_preset(synth: fluidsynth.Synth, font: int, drum_kit: int) -> tuple[int, int]:
    """Bank and program of a kit: that of the number, the first one, or a drum-only font's."""
    for bank, program in ((DRUM_BANK, drum_kit), (DRUM_BANK, 0)):
        if synth.sfpreset_name(font, bank, program):
            return bank, program
    return 0, 0


def _program(synth: fluidsynth.Synth, font: int, program: int) -> int:
    """The program if the SoundFont has it, or its first."""
    return program if synth.sfpreset_name(font, 0, program) else 0


def _events(part: Part, channel: int, transposition: int) -> list[Event]:
    events = []
    for note in part.notes:
        pitch = min(max(note.pitch - transposition, 0), 127)
        events.append((note.start_s, 1, channel, pitch, note.velocity))
        events.append((max(note.end_s, note.start_s + 0.02), 0, channel, pitch, 0))
    return events
