"""The stem ``other``: voices that keep to their notes, and songs with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.data.songs import read_manifest
from stemweave.errors import InputError
from stemweave.music.lead_sheet import LeadSheet
from stemweave.render.form import form_of_sheet
from stemweave.render.freedoom import render_song
from stemweave.render.score import Note, Part
from stemweave.render.singing import Manner, phrases_of, sing
from stemweave.render.synth import Synthesiser
from stemweave.render.vocals import within_range
from stemweave.render.voices import count_syllables, pyworld, read_recordings

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
        soundfile.write(folder / f"{number}.flac", 0.2 * buzz * level, RATE)
        singer = "kawaiineko" if number > 30 else ("low", "high")[number % 2]
        entry = {"file": f"{number}.flac", "singer": singer, "sung": "あか"}
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


def test_songs_have_another_stem_and_are_functions_of_their_seed(run, tmp_path: Path, voices: Path):
    fixed = ["--songs", 1, "--seed", 3, "--workers", 1, "--soundfont", "TimGM6mb.sf2"]
    with_voices = [*fixed, "--voices", voices]
    for folder in ("a", "b"):
        assert run("compose", tmp_path / folder, *with_voices).code == 0
    songs = read_manifest(tmp_path / "a")
    assert songs[0].stems[-1] == "other"
    for song in songs:
        stems = {stem: soundfile.read(song.stem_paths(stem)[0])[0] for stem in song.stems}
        again = tmp_path / "b" / song.name
        for stem, waveform in stems.items():
            assert np.array_equal(waveform, soundfile.read(again / f"{stem}.flac")[0])
        assert np.abs(sum(stems.values())).max() < 0.91


def test_folders_without_voices_say_so(run, tmp_path: Path):
    done = run("compose", tmp_path / "songs", "--voices", tmp_path)
    assert done.code == 2 and "index.json" in done.err
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(InputError, match="no recorded voices for train"):
        read_recordings((str(tmp_path),), "train")
    assert not (tmp_path / "songs").exists()


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


def test_bars_of_a_sheet_become_a_form():
    sheet = LeadSheet.from_text("Am9 | F | C G/B | %", 120.0, "4/4", "A minor")
    form = form_of_sheet(sheet)
    assert form.beat_s == 0.5 and form.key.scale[0] == 9 and len(form.bars) == 4
    names = [form.chord_at(beat).name for beat in (0, 3, 4, 8, 10, 12, 15)]
    assert names == ["Am7", "Am7", "F", "C", "G", "C", "G"]
