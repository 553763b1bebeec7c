"""Any collection of MIDI files → song folders in the spirit of Slakh2100.

Parts become stems by program and drum channel, in random presets, SoundFonts and channel strips. A
song is a function of (seed, the file's path below the collection).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stemweave.data.readers import Skipped, split_of_name
from stemweave.data.songs import Song, listed_names, read_song
from stemweave.errors import InputError
from stemweave.io.jobs import TWO_PROCESSES, Workers, map_jobs
from stemweave.music.midi import score_and_sheet
from stemweave.music.midi_file import read_midi_file
from stemweave.render.collection import SKIPPED, Collected, collect, other_stem, worker_synthesiser
from stemweave.render.form import form_of_sheet
from stemweave.render.mixdown import draw_sounds, render_stems
from stemweave.render.score import classes_of, end_s, others_of, parts_of
from stemweave.render.sheets import Music, excerpt, instruments_heard, score_of, write_stems
from stemweave.render.soundfonts import font_names, soundfonts_by_stem
from stemweave.stems import PROGRAMS

MIDI_SUFFIXES = (".mid", ".midi")
MIN_DURATION_S = 10.0
TAIL_S = 1.0
"""After the last note, for reverb and release."""


@dataclass(frozen=True, kw_only=True)
class MidiJob:
    """Everything a worker needs to render one file; paths are absolute, for workers elsewhere."""

    collection: Path
    path: Path
    data: Path
    seed: int
    soundfonts: Mapping[str, Sequence[tuple[Path, float]]]
    sample_rate: int
    min_stems: int
    max_duration_s: float
    licence: str | None = None
    voices: Sequence[str] = ()

    @property
    def key(self) -> str:
        """The file's path below the collection, which names and seeds the song."""
        return self.path.relative_to(self.collection).as_posix()

    @property
    def song_name(self) -> str:
        """A readable folder name, different for every file."""
        letters = (c if c.isalnum() or c in "-_" else "_" for c in self.path.stem[:40])
        return f"{''.join(letters)}_{zlib.crc32(self.key.encode()):08x}"


def render_file(job: MidiJob) -> Song | Skipped:
    """Render and write one song, or say why not; a song that exists is read."""
    folder = job.data / job.song_name
    if folder.exists():  # finished, but its worker or the driver died before it was listed
        return read_song(folder)
    try:
        midi = read_midi_file(job.path)
        _, sheet = score_and_sheet(midi)
    except ValueError as error:
        return Skipped(Path(job.key), str(error))
    stems = {stem: own for stem, own in classes_of(parts_of(midi)).items() if own}
    if len(stems) < job.min_stems:
        return Skipped(Path(job.key), f"only {', '.join(stems) or 'other instruments'}")
    duration_s = min(end_s(stems) + TAIL_S, job.max_duration_s)
    if duration_s < MIN_DURATION_S:
        return Skipped(Path(job.key), f"too short: {duration_s:.1f} s")
    rng = np.random.default_rng([job.seed, zlib.crc32(job.key.encode())])
    for stem, own in stems.items():  # a random program of the class for every one in the file
        chosen: dict[int, int] = {}
        for part in own if stem in PROGRAMS else ():
            part.program = chosen.setdefault(part.program, int(rng.choice(PROGRAMS[stem])))
    sounds = draw_sounds(list(stems), job.soundfonts, rng)
    synthesiser = worker_synthesiser(job.sample_rate)
    split = split_of_name(job.song_name)
    more = other_stem(
        form_of_sheet(sheet), others_of(parts_of(midi)), duration_s, job.voices,
        "train" if split == "train" else "validation", job.soundfonts, synthesiser, rng,
    )  # fmt: skip
    waveforms = render_stems(stems, sounds, duration_s, synthesiser, more)
    fonts = font_names(sounds)
    details = {"origin": f"MIDI {job.key}", "seed": job.seed, "soundfonts": fonts}
    if job.licence is not None:
        details["licence"] = job.licence
    sheet = replace(sheet, instruments=instruments_heard(stems, sounds, synthesiser))
    music = excerpt(Music(sheet, score_of(stems, sheet)), 0.0, duration_s)
    samples = len(next(iter(waveforms.values())))
    song = Song(
        folder, split, samples / job.sample_rate, job.sample_rate, tuple(waveforms), details=details
    )
    write_stems(folder, waveforms, job.sample_rate, song, music)
    return song


def render_midi_folder(
    collection: Path,
    data: Path,
    *,
    soundfonts: Mapping[str, float] | None = None,
    seed: int = 0,
    sample_rate: int = 16000,
    workers: Workers = TWO_PROCESSES,
    min_stems: int = 2,
    max_duration_s: float = 600.0,
    licence: str | None = None,
    voices: Sequence[str] = (),
) -> Collected:
    """Render every MIDI file below ``collection``; what earlier runs made or skipped is kept.

    Files need ``min_stems`` of the four classes; longer songs are cut at ``max_duration_s``; the
    ``licence`` is noted with every song. For ``soundfonts`` see ``soundfonts_by_stem``; with
    folders of recorded ``voices`` songs have a stem ``other``. Raises ``InputError`` if there is no
    MIDI file or a SoundFont is missing.
    """
    collection, data = collection.absolute(), data.absolute()
    if next(_midi_files(collection), None) is None:
        raise InputError(f"{collection} holds no MIDI files (*.mid, *.midi)")
    fonts = soundfonts_by_stem(soundfonts)
    if voices:
        from stemweave.render.voices import read_recordings

        for split in ("train", "validation"):
            read_recordings(tuple(voices), split)
    data.mkdir(parents=True, exist_ok=True)
    done = _done(data)

    def jobs() -> Iterator[MidiJob]:
        for path in _midi_files(collection):
            job = MidiJob(
                collection=collection, path=path, data=data, seed=seed, soundfonts=fonts,
                sample_rate=sample_rate, min_stems=min_stems, max_duration_s=max_duration_s,
                licence=licence, voices=voices,
            )  # fmt: skip
            if job.key not in done and job.song_name not in done:
                yield job

    total = sum(1 for _ in jobs())
    return collect(map_jobs(render_file, jobs(), workers, total), data)


def _midi_files(collection: Path) -> Iterator[Path]:
    if not collection.is_dir():
        raise InputError(f"{collection} is not a folder of MIDI files")
    for path in collection.rglob("*"):
        if path.suffix.lower() in MIDI_SUFFIXES and path.is_file():
            yield path


def _done(data: Path) -> set[str]:
    """Names of songs that exist and paths of files that were skipped."""
    done = listed_names(data)
    if (data / SKIPPED).exists():
        with (data / SKIPPED).open() as file:
            done |= {json.loads(line)["path"] for line in file}
    return done
