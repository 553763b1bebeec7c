"""The stem ``other``: voices that keep to their notes, and songs with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.data.songs import read_manifest
from stemweave.errors import InputError
from stemweave.music.harmony import Chord, Key
from stemweave.music.lead_sheet import LeadSheet
from stemweave.render.form import Form, form_of_sheet
from stemweave.render.freedoom import render_song
from stemweave.render.other import render_other
from stemweave.render.score import Note, Part
from stemweave.render.singing import Manner, phrases_of, sing
from stemweave.render.soundfonts import find_soundfont
from stemweave.render.synth import Synthesiser
from stemweave.render.vocals import within_range
from stemweave.render.voices import count_syllables, pyworld, read_recordings
from tests.render.test_render import write_band

RATE = 16000


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two singers of two buzzing syllables each, and one that is for tests only."""
    folder = tmp_path_factory.mktemp("voices")
    index = []
    for number in range(40):
        f0_hz = (140, 300)[number % 2]
        times_s = np.arange(round(1.2 * RATE)) / RATE
        buzz = sum(np.sin(2 * np.pi * f0_hz * k * times_s) / k for k in range(1, 12))
        level = np.clip(np.abs(np.sin(2 * np.pi * times_s / 1.2)) * 3, 0, 1)
        soundfile.write(folder / f"{number:04d}.flac", 0.2 * buzz * level, RATE)
        singer = "kawaiineko" if number > 30 else ("low", "high")[number % 2]
        entry = {"file": f"{number:04d}.flac", "singer": singer, "sung": "あか"}
        index.append({**entry, "median_f0_hz": f0_hz})
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_a_voice_sings_its_notes_in_time_and_rests_between_phrases(voices: Path):
    recordings = read_recordings((str(voices),), "train")
    assert {one.singer for one in recordings} == {"low", "high"}
    notes = [Note(0.5, 1.0, 57, 90), Note(1.0, 1.5, 61, 90), Note(2.5, 3.5, 64, 90)]

    def voice() -> np.ndarray:
        rng = np.random.default_rng(0)
        return sing(notes, recordings[:3], Manner(scoop=0.0), 4 * RATE, RATE, rng, 0)

    sung = voice()
    assert np.array_equal(sung, voice())
    assert (
        np.abs(sung[: RATE // 2]).max() == 0 == np.abs(sung[int(1.6 * RATE) : 5 * RATE // 2]).max()
    )
    f0_hz, times_s = pyworld.harvest(sung.astype(np.float64), RATE)
    for note in notes:
        heard = f0_hz[(times_s > note.start_s + 0.1) & (times_s < note.end_s - 0.1) & (f0_hz > 0)]
        cents = 1200 * np.log2(np.median(heard) / 440) - 100 * (note.pitch - 69)
        assert abs(cents) < 30, note
    assert np.abs(np.diff(sung)).max() < 0.5 * np.abs(sung).max()  # nowhere a click


def test_melodies_come_near_a_voice_in_sections():
    melody = [Note(s, s + 0.2, 60 + s % 25, 90) for s in range(100)]
    near = within_range(melody, 55.0)
    assert all(abs(note.pitch - 55) <= 18 for note in near)
    assert all((a.pitch - b.pitch) % 12 == 0 for a, b in zip(melody, near, strict=True))
    assert [len(one) for one in phrases_of(melody)] == [1] * 100
    assert count_syllables("_きゃーらん") == 3 and count_syllables("pyu") == 1


def test_what_else_sounds_is_a_function_of_the_seed(voices: Path):
    form = Form([[Chord(0, "major")], [Chord(5, "major")]], Key(0, False), 0.5)
    recordings = read_recordings((str(voices),), "train")
    fonts = [(find_soundfont("TimGM6mb.sf2"), 1.0)]

    def other(seed: int) -> np.ndarray | None:
        rng = np.random.default_rng(seed)
        parts = [Part(48, False, [Note(0.0, 2.0, 60, 90)])]
        return render_other(form, parts, 5.0, recordings, fonts, Synthesiser(RATE), rng)

    drawn = [other(seed) for seed in range(8)]
    assert drawn[0] is not None and np.array_equal(drawn[0], other(0))
    assert all(one is None or np.isfinite(one).all() for one in drawn)
    assert not np.array_equal(drawn[0], next(o for o in drawn[1:] if o is not None))


def test_composed_songs_have_another_stem(run, tmp_path: Path, voices: Path):
    options = ["--songs", 1, "--seed", 3, "--workers", 1, "--soundfont", "TimGM6mb.sf2"]
    assert run("compose", tmp_path / "data", *options, "--voices", voices).code == 0
    (song,) = read_manifest(tmp_path / "data")
    assert song.stems[-1] == "other"
    stems = [soundfile.read(song.stem_paths(stem)[0])[0] for stem in song.stems]
    assert np.abs(stems[-1]).max() > 0.01 and np.abs(sum(stems)).max() < 0.91


def test_folders_without_voices_say_so(tmp_path: Path):
    with pytest.raises(InputError, match=r"index\.json"):
        read_recordings((str(tmp_path),), "train")
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(InputError, match="no recorded voices for train"):
        read_recordings((str(tmp_path),), "train")


def test_human_written_songs_get_a_voice_as_loud_as_they_are():
    bass = Part(33, False, [Note(0.0, 1.0, 33, 100)])
    stems = {"bass": [bass], "other": [Part(48, False, [Note(0.0, 1.0, 60, 60)])]}
    synthesiser = Synthesiser(RATE)
    plain = render_song({"bass": [bass]}, synthesiser, 1.0)["bass"]
    voice = np.sin(np.arange(RATE) * 0.1).astype(np.float32)
    sung = render_song(stems, synthesiser, 1.0, voice)
    gain = float((plain * sung["bass"]).sum() / np.square(plain).sum())
    assert np.allclose(sung["bass"], gain * plain, atol=1e-4) and 0.2 < gain < 1
    assert np.abs(sum(sung.values())).max() == pytest.approx(0.9)


def test_other_instruments_of_midi_files_are_kept(run, tmp_path: Path, voices: Path):
    write_band(tmp_path / "midi" / "strings.mid", [33, 25, 48])
    fixed = ["--soundfont", "TimGM6mb.sf2", "--workers", 1, "--voices", voices]
    assert run("render", tmp_path / "midi", tmp_path / "data", *fixed).code == 0
    (song,) = read_manifest(tmp_path / "data")
    assert song.stems == ("bass", "guitar", "other")
    assert np.abs(soundfile.read(song.stem_paths("other")[0])[0]).max() > 0.01


def test_bars_of_a_sheet_become_a_form():
    sheet = LeadSheet.from_text("Am9 | F | C G/B | %", 120.0, "4/4", "A minor")
    form = form_of_sheet(sheet)
    assert form.beat_s == 0.5 and form.key.scale[0] == 9 and len(form.bars) == 4
    names = [form.chord_at(beat).name for beat in (0, 3, 4, 8, 10, 12, 15)]
    assert names == ["Am7", "Am7", "F", "C", "G", "C", "G"]
