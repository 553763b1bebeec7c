"""A piece for digital audio workstations: stems on a time line, MIDI, Reaper and DAWproject."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from stemweave.errors import InputError
from stemweave.io.broadcast import write_broadcast_wav
from stemweave.io.decode import AUDIO_SUFFIXES, probe_audio
from stemweave.io.output_names import portable_name
from stemweave.music.dawproject import write_dawproject
from stemweave.music.drawing import lasting
from stemweave.music.guides import bar_lines
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.midi_file import read_midi_file
from stemweave.music.midi_out import write_midi
from stemweave.music.reaper import reaper_project
from stemweave.music.score import Score
from stemweave.music.session import Session
from stemweave.stems import MIXTURE, OTHER, STEMS, stem_of_file

KINDS = ("midi", "reaper", "dawproject")
STEM_FOLDER = "stems"


def stem_sounds(folder: Path) -> dict[str, Path]:
    """Sound files of a folder of results by stem; its mixture if it has nothing else.

    "My Song - Bass" is the bass. Sums that ``separate`` wrote (``bass+drums``, ``without_drums``)
    are no stems. Raises ``InputError`` if there is none, or two of one name.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder of results: give one with bass.wav, drums.wav, ..."
        )
    sounds: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        is_sum = "+" in path.stem or path.stem.startswith("without_")
        if path.suffix.lower() not in AUDIO_SUFFIXES or path.name.startswith(".") or is_sum:
            continue
        stem = stem_of_file(path.stem, (*STEMS, OTHER, MIXTURE)) or path.stem
        if stem in sounds:
            raise InputError(f"{folder} has both {sounds[stem].name} and {path.name}: keep one")
        sounds[stem] = path
    stems = {name: path for name, path in sounds.items() if name != MIXTURE} or sounds
    if not stems:
        raise InputError(f"{folder} holds no sound: give a folder with bass.wav, drums.wav, ...")
    return stems


def export_files(
    folder: Path,
    title: str,
    sounds: Mapping[str, Path],
    sheet: LeadSheet,
    score: Score | None = None,
    kinds: Collection[str] = KINDS,
    loop_bars: tuple[int, int] | None = None,
) -> Iterator[Path]:
    """Write a session into ``folder``, which is there; the files one by one as they are complete.

    Stems become Broadcast WAV in ``stems/``. Beats go on until the longest ends.

    Args:
        sounds: files by stem.
        sheet: with beats, or at least a tempo.
        kinds: of ``KINDS``, which are written beside the stems.
        loop_bars: the first and last bar of a loop, from 1.

    Raises:
        InputError: if a stem cannot be read, bars are not there, or the disk is full.
    """
    infos = {portable_name(stem): probe_audio(path) for stem, path in sounds.items()}
    duration_s = max(info.duration_s for info in infos.values())
    sheet = lasting(sheet, duration_s)
    assert sheet.beats_s is not None
    start_s = max(-sheet.beats_s[0], 0.0)
    loop_s = None
    if loop_bars is not None:
        lines, (first, last) = bar_lines(sheet), loop_bars
        if not 1 <= first <= last < len(lines):
            raise InputError(
                f"bars {first} to {last} are no loop: there are bars 1 to {len(lines) - 1}"
            )
        loop_s = sheet.time_of(float(lines[first - 1])), sheet.time_of(float(lines[last]))
    name = portable_name(title)
    midi = folder / f"{name}.mid"
    write_midi(midi, score or Score({}), sheet, guides=True)
    session = Session(
        name,
        read_midi_file(midi),
        start_s,
        {stem: folder / STEM_FOLDER / f"{stem}.wav" for stem in infos},
        infos,
        None if loop_s is None else (loop_s[0] + start_s, loop_s[1] + start_s),
        sheet.style,
    )
    if "midi" in kinds:
        yield midi
    else:
        midi.unlink()
    if "reaper" in kinds:
        project = folder / f"{name}.rpp"
        project.write_text(reaper_project(session), encoding="utf-8")
        yield project
    (folder / STEM_FOLDER).mkdir()
    for stem, sound in session.sounds.items():
        write_broadcast_wav(infos[stem].path, sound, start_s, loop_s)
        yield sound
    if "dawproject" in kinds:
        archive = folder / f"{name}.dawproject"
        write_dawproject(archive, session)
        yield archive


def write_zip(path: Path, folder: Path, files: Iterator[Path]) -> None:
    """A zip of ``files`` in a folder of its name, each at its place in ``folder``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, Path(path.stem) / file.relative_to(folder))
