"""Freedoom-4: the human-written songs of Debian's ``freedoom`` package as a test set.

Songs with at least three of the four classes, in the SoundFont that training never uses, without
effects; a missing class is a silent stem. With voices there is a fifth stem: the song's other
instruments, and a singer and a speaker that training never has.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stemweave.data.songs import MANIFEST, Song, append_to_manifest
from stemweave.errors import InputError
from stemweave.music.midi import score_and_sheet
from stemweave.music.midi_file import MidiSong, read_midi_file
from stemweave.render.form import form_of_sheet
from stemweave.render.mixdown import PEAK, rms_while_playing
from stemweave.render.score import Part, classes_of, end_s, others_of, parts_of
from stemweave.render.sheets import Music, excerpt, score_of, write_stems
from stemweave.render.soundfonts import OTHER, VALIDATION_SOUNDFONT, find_soundfont
from stemweave.render.synth import Synthesiser
from stemweave.stems import MIXTURE, STEMS

WADS = (Path("/usr/share/games/doom/freedoom1.wad"), Path("/usr/share/games/doom/freedoom2.wad"))
MIN_CLASSES = 3
MAX_DURATION_S = 150.0
VOICE_LEVEL_DB = -3.0
"""Relative to all else that sounds."""


def read_lumps(wad: Path) -> dict[str, bytes]:
    """MIDI lumps of a WAD by name: header, lumps, directory of (offset, size, name)."""
    data = wad.read_bytes()
    if data[:4] not in (b"IWAD", b"PWAD"):
        raise InputError(f"{wad} is not a WAD file")
    count, directory = struct.unpack_from("<ii", data, 4)
    lumps = {}
    for index in range(count):
        offset, size, raw = struct.unpack_from("<ii8s", data, directory + 16 * index)
        name = raw.rstrip(b"\0").decode("ascii", "replace")
        content = data[offset : offset + size]
        if name.startswith("D_") and content[:4] == b"MThd":
            lumps[name] = content
    return lumps


def read_songs() -> dict[str, MidiSong]:
    """Every distinct song of the package with enough classes, by WAD and lump name."""
    missing = [wad for wad in WADS if not wad.exists()]
    if missing:
        raise InputError(
            f"{missing[0]} not found: run scripts/install-system-packages.sh render "
            "(Debian: freedoom)"
        )
    songs, seen = {}, set[bytes]()
    for wad in WADS:
        for name, content in sorted(read_lumps(wad).items()):
            if content in seen:
                continue
            seen.add(content)
            with tempfile.NamedTemporaryFile(suffix=".mid") as file:
                file.write(content)
                file.flush()
                try:
                    song = read_midi_file(Path(file.name))
                except InputError:
                    continue
            if len({track.stem for track in song.tracks if track.notes} - {None}) >= MIN_CLASSES:
                songs[f"{wad.stem}_{name}"] = song
    return songs


def render_song(
    stems: dict[str, list[Part]],
    synthesiser: Synthesiser,
    duration_s: float,
    voice: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Stereo stems (2, T), scaled together so that their sum stays below full scale.

    A ``voice`` (T,) is added to the stem ``other``, nearly as loud as the song.
    """
    font = find_soundfont(VALIDATION_SOUNDFONT)
    silence = np.zeros((2, round(duration_s * synthesiser.sample_rate)), np.float32)
    rendered = {
        stem: synthesiser.render(parts, font, duration_s) if parts else silence
        for stem, parts in stems.items()
    }
    if voice is not None:
        loud = rms_while_playing(sum(rendered.values()).mean(axis=0))  # type: ignore[union-attr]
        gain = loud * 10 ** (VOICE_LEVEL_DB / 20) / max(rms_while_playing(voice), 1e-5)
        rendered[OTHER] = rendered[OTHER] + voice * np.float32(gain)
    peak = float(np.abs(sum(rendered.values())).max())
    return {
        stem: waveform * np.float32(PEAK / max(peak, 1e-6)) for stem, waveform in rendered.items()
    }


def _voice(
    name: str, midi: MidiSong, duration_s: float, voices: Sequence[str], rate: int
) -> np.ndarray:
    """The song's melody (T,), of every fourth song speech."""
    from stemweave.render.vocals import Session, draw_clips, draw_lead
    from stemweave.render.voices import read_recordings

    rng = np.random.default_rng(zlib.crc32(name.encode()))
    speaks = rng.random() < 0.25
    recordings = [one for one in read_recordings(tuple(voices), "test") if one.spoken == speaks]
    if not recordings:
        raise InputError(f"{', '.join(voices)}: no {'speaker' if speaks else 'singer'} for tests")
    session = Session(form_of_sheet(score_and_sheet(midi)[1]), recordings, duration_s, rate)
    return (draw_clips if speaks else draw_lead)(session, rng)


def render_freedoom(
    data: Path,
    *,
    sample_rate: int = 16000,
    only: str | None = None,
    stereo: bool = False,
    start_s: float = 0.0,
    length_s: float | None = None,
    with_mixture: bool = False,
    voices: Sequence[str] = (),
) -> list[Song]:
    """Write song folders and a manifest (split "test") below ``data``; the same bits every time.

    ``only`` picks one song by the end of its name, e.g. "D_E1M1"; ``start_s`` and ``length_s`` cut
    an excerpt; ``with_mixture`` also writes ``mixture.flac``. With ``voices``, folders of recorded
    ones, there is a stem ``other``.
    """
    if (data / MANIFEST).exists():
        raise InputError(f"{data} already holds songs: choose another folder or delete it")
    songs = {name: s for name, s in read_songs().items() if only is None or name.endswith(only)}
    if not songs:
        raise InputError(f"no song {only} with {MIN_CLASSES} of {', '.join(STEMS)} in freedoom")
    synthesiser = Synthesiser(sample_rate)
    written = []
    for name, midi in songs.items():
        stems = classes_of(parts_of(midi))
        duration_s = min(end_s(stems) + 1.0, MAX_DURATION_S)
        played, voice = dict(stems), None
        if voices:
            played[OTHER] = others_of(parts_of(midi))
            voice = _voice(name, midi, duration_s, voices, sample_rate)
        first = round(start_s * sample_rate)
        last = first + round((length_s or duration_s) * sample_rate)
        whole = render_song(played, synthesiser, duration_s, voice)
        waveforms = {stem: waveform[:, first:last] for stem, waveform in whole.items()}
        folder = data / name
        mixture = {MIXTURE: np.sum(list(waveforms.values()), axis=0)} if with_mixture else {}
        files = {
            stem: waveform if stereo else waveform.mean(axis=0)
            for stem, waveform in {**waveforms, **mixture}.items()
        }
        num_samples = next(iter(waveforms.values())).shape[-1]
        details = {
            "origin": f"Debian freedoom package, {name}",
            "licence": "BSD-3-Clause",
            "soundfont": VALIDATION_SOUNDFONT,
            "silent_stems": [stem for stem, parts in stems.items() if not parts],
        }
        duration = num_samples / sample_rate
        song = Song(folder, "test", duration, sample_rate, tuple(played), details=details)
        sheet = score_and_sheet(midi)[1]
        music = excerpt(Music(sheet, score_of(stems, sheet)), start_s, start_s + duration)
        write_stems(folder, files, sample_rate, song, music)
        append_to_manifest(data, song)
        written.append(song)
    return written
