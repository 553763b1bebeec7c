"""What a song folder says of its music: sheet, score, and the sounds in ``song.json``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from stemweave.data.songs import Song
from stemweave.music.lead_sheet import SHEET_FILE, LeadSheet, read_sheet
from stemweave.music.midi import SCORE_FILE, read_midi
from stemweave.music.rolls import timed_notes


@dataclass(frozen=True)
class SongConditions:
    """Of a whole song; what its folder does not say is unknown.

    Attributes:
        notes: (N, 4) of each stem, start and end in seconds, pitch, velocity.
        sounds: name of each stem's SoundFont.
    """

    sheet: LeadSheet | None = None
    notes: Mapping[str, np.ndarray] | None = None
    sounds: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=16384)
def read_song_conditions(folder: Path) -> SongConditions:
    """Conditions of the song in ``folder``; raises ``InputError`` for files that are damaged."""
    sheet_path, score_path = folder / SHEET_FILE, folder / SCORE_FILE
    sheet = read_sheet(sheet_path) if sheet_path.is_file() else None
    notes = None
    if score_path.is_file():
        score, timing = read_midi(score_path)
        notes = {stem: rows.astype(np.float32) for stem, rows in timed_notes(score, timing).items()}
    return SongConditions(sheet, notes, sounds_of(folder))


def sounds_of(folder: Path) -> dict[str, str]:
    """SoundFont of each stem, if ``song.json`` says so."""
    path = folder / "song.json"
    details = json.loads(path.read_text()) if path.is_file() else {}
    return dict(details.get("soundfonts", {}))


def sounds_in(songs: Sequence[Song], stems: Sequence[str]) -> dict[str, dict[str, int]]:
    """Every sound of each stem in ``songs``, in alphabetical order, and how many songs have it."""
    found: dict[str, Counter[str]] = {stem: Counter() for stem in stems}
    for song in songs:
        # of packed songs there is no folder
        sounds_of_song = song.details.get("soundfonts") or sounds_of(song.folder)
        for stem, sound in sounds_of_song.items():
            if stem in found:
                found[stem][sound] += 1
    return {stem: dict(sorted(sounds.items())) for stem, sounds in found.items()}
