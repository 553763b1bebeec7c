"""Sheets and scores of songs that were composed or rendered, beside their stems."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pedalboard
import soundfile

from stemweave.data.songs import Song, write_song
from stemweave.io.files import appearing
from stemweave.music.chords import ChordChange, parse_chord
from stemweave.music.folder import write_music
from stemweave.music.harmony import QUALITIES
from stemweave.music.instruments import instrument_of
from stemweave.music.keys import key_name, note_name
from stemweave.music.lead_sheet import LeadSheet, changes_of_bars, steady_beats
from stemweave.music.metre import chord_starts
from stemweave.music.score import Score, ScoreNote, playable
from stemweave.music.styles import style_of_groove
from stemweave.render.compose import ComposedSong
from stemweave.render.form import Form
from stemweave.render.mixdown import Sound
from stemweave.render.score import Part
from stemweave.render.synth import Synthesiser

INSTRUMENT_FONTS = {
    f"{name}.sf2": kind
    for kind, names in {
        "finger": "bass_jazz_bass bass_jazz_bass_staccato bass_killer_bass electric_bass",
        "steel": "acoustic_guitar guitar_steel_guitar_hd28",
        "clean": "electric_guitar",
        "jazz": "guitar_archtop_guitar_mic guitar_archtop_guitar_pickup",
        "nylon": "nylon_guitar",
        "bright": "piano_electric_grand_cp80",
        "electric 1": "piano_pianet_t piano_rhodes piano_wurlitzer_ep200",
        "grand": "salamander_piano upright_piano",
    }.items()
    for name in names.split()
}
"""Classes of SoundFonts that have one instrument, whatever program is asked for."""
FONT_OF_PROGRAM = re.compile(r"freepats_\w+_(\d{3})\.sf2")
DRIVES_DB = ((18.0, "distorted"), (0.0, "overdriven"))
"""Kinds of guitar by the drive of a distortion in their channel strip, at least."""


def music_of_composed(
    song: ComposedSong, sounds: Mapping[str, Sound], synthesiser: Synthesiser
) -> Music:
    """What a song was composed from. Style is unknown where grooves' styles differ."""
    form = song.form
    key = key_name(form.key.tonic, form.key.minor)
    beats_s = steady_beats(60 / song.grid_beat_s, form.num_beats)
    styles = {style_of_groove(groove) for groove in song.grooves}
    sheet = LeadSheet(
        beats_s,
        tuple(range(0, len(beats_s), form.beats_per_bar)),
        form.metre,
        60 / song.grid_beat_s,
        key,
        _chord_changes(form, key),
        styles.pop() if len(styles) == 1 and not song.riff else None,
        instruments_heard(song.stems, sounds, synthesiser),
    )
    return Music(sheet, score_of(song.stems, sheet))


def _chord_changes(form: Form, key: str) -> tuple[ChordChange, ...]:
    bars = []
    for chords in form.bars:
        starts = chord_starts(len(chords), form.beats_per_bar)
        symbols = [note_name(chord.root, key) + QUALITIES[chord.quality][1] for chord in chords]
        bars.append(
            [ChordChange(at, parse_chord(s)) for at, s in zip(starts, symbols, strict=True)]
        )
    return changes_of_bars(bars, form.beats_per_bar, len(bars))


def score_of(stems: Mapping[str, Sequence[Part]], sheet: LeadSheet) -> Score:
    """The notes that are played, in the sheet's beats."""
    notes = {}
    for stem, parts in stems.items():
        played = [note for part in parts for note in part.notes]
        times_s = np.array([(note.start_s, note.end_s) for note in played]).reshape(-1, 2)
        notes[stem] = playable(
            ScoreNote(start_beat, end_beat, note.pitch, note.velocity)
            for (start_beat, end_beat), note in zip(
                sheet.beat_at(times_s).tolist(), played, strict=True
            )
        )
    return Score(notes)


def instruments_heard(
    stems: Mapping[str, Sequence[Part]], sounds: Mapping[str, Sound], synthesiser: Synthesiser
) -> dict[str, str]:
    """Class of each stem as it sounds, if it has one: by SoundFont, kit, program and distortion."""
    classes = {}
    for stem, sound in sounds.items():
        notes_of_programs: Counter[int] = Counter()
        for part in stems[stem]:
            notes_of_programs[part.program] += len(part.notes)
        if not notes_of_programs.total():
            continue
        program = notes_of_programs.most_common(1)[0][0]
        if stem == "drums":
            program = synthesiser.kit_heard(sound.font, sound.kit)
        elif named := FONT_OF_PROGRAM.fullmatch(sound.font.name):
            program = int(named[1])
        instrument = INSTRUMENT_FONTS.get(sound.font.name)
        if instrument is None and not sound.font.name.startswith(f"{stem}_"):
            instrument = instrument_of(stem, program)
        if stem == "guitar":
            instrument = _with_drive(instrument, [*(sound.amplifier or []), *sound.effects])
        if instrument is not None:
            classes[stem] = instrument
    return classes


def _with_drive(instrument: str | None, effects: Sequence[pedalboard.Plugin]) -> str | None:
    drives_db = [one.drive_db for one in effects if isinstance(one, pedalboard.Distortion)]
    if not drives_db or instrument == "distorted":
        return instrument
    return next(name for least_db, name in DRIVES_DB if max(drives_db) >= least_db)


class Music(NamedTuple):
    """What the stems of a song play."""

    sheet: LeadSheet
    score: Score


def excerpt(music: Music, start_s: float, end_s: float) -> Music:
    """What a cut of the stems plays."""
    sheet = music.sheet.excerpt(start_s, end_s)
    assert sheet.beats_s is not None
    first_beat = round(music.sheet.beat_at(start_s + sheet.beats_s[0]))
    end_beat = music.sheet.beat_at(end_s)
    return Music(sheet, music.score.excerpt(first_beat, end_beat))


def write_stems(
    folder: Path, stems: Mapping[str, np.ndarray], sample_rate: int, song: Song, music: Music
) -> None:
    """16-bit FLAC files, ``song.json``, sheet and score; the folder appears when it is complete."""
    with appearing(folder) as partial:
        partial.mkdir()
        for stem, waveform in stems.items():
            soundfile.write(partial / f"{stem}.flac", waveform.T, sample_rate, subtype="PCM_16")
        write_music(partial, *music)
        write_song(dataclasses.replace(song, folder=partial, sample_rate=sample_rate))
