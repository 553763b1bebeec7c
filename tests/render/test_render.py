"""From notes to stems: MIDI, synthesis, composed songs. Needs fluidsynth, mma and a SoundFont."""

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from stemweave.data.songs import read_manifest, read_song
from stemweave.errors import InputError
from stemweave.io.jobs import Workers
from stemweave.music.lead_sheet import read_sheet
from stemweave.music.midi import read_midi
from stemweave.music.midi_file import read_midi_file
from stemweave.music.styles import style_of_groove
from stemweave.render.collection import CompositionOptions, compose_collection
from stemweave.render.compose import compose_song, cross_parts
from stemweave.render.grooves import read_groove_families
from stemweave.render.mixdown import draw_sounds, render_stems
from stemweave.render.score import Note, Part, parts_of, stem_of
from stemweave.render.soundfonts import VALIDATION_SOUNDFONT, find_soundfont
from stemweave.render.synth import Synthesiser, Voicing

SECONDS = 2.0


@pytest.fixture(scope="module")
def soundfont() -> Path:
    return find_soundfont(VALIDATION_SOUNDFONT)


@pytest.fixture(scope="module")
def synthesiser() -> Synthesiser:
    return Synthesiser(16000)


def write_tracks(path: Path, tracks: list[tuple[int, list[tuple[int, int, int]]]]) -> None:
    """Tracks at 960 ticks a second: a program (-1: drums) and its pitches, ticks before and in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    midi = mido.MidiFile(ticks_per_beat=480)
    for number, (program, notes) in enumerate(tracks):
        channel = 9 if program < 0 else number
        track = mido.MidiTrack()
        track.append(mido.Message("program_change", channel=channel, program=max(program, 0)))
        for pitch, before, length in notes:
            on = mido.Message("note_on", channel=channel, note=pitch, velocity=95, time=before)
            track += [on, mido.Message("note_off", channel=channel, note=pitch, time=length)]
        midi.tracks.append(track)
    midi.save(path)


def write_band(path: Path, programs: list[int], seconds: int = 12) -> None:
    """A part for every program (-1: drums), a note a second."""
    write_tracks(path, [(program, [(45, 0, 960)] * seconds) for program in programs])


def test_a_four_note_midi_renders_to_the_right_stems(tmp_path: Path, soundfont, synthesiser):
    played = [(33, 33), (25, 64), (0, 72), (-1, 38)]  # one after the other, every half second
    tracks = [(one, [(pitch, 480 * i, 384)]) for i, (one, pitch) in enumerate(played)]
    write_tracks(tmp_path / "four.mid", tracks)
    parts = parts_of(read_midi_file(tmp_path / "four.mid"))
    stems = {stem_of(part): [part] for part in parts}
    assert set(stems) == {"bass", "guitar", "piano", "drums"}
    fonts = {stem: [(soundfont, 1.0)] for stem in stems}
    sounds = draw_sounds(list(stems), fonts, np.random.default_rng(0))
    waveforms = render_stems(stems, sounds, SECONDS, synthesiser)
    for stem, start_s in {"bass": 0.0, "guitar": 0.5, "piano": 1.0, "drums": 1.5}.items():
        envelope = np.abs(waveforms[stem]).reshape(-1, 160).max(axis=1)  # 10 ms
        before = envelope[: max(int(start_s * 100) - 2, 0)]  # resampling rings a little
        assert before.max(initial=0) < 0.01 * envelope.max()
        first = int(np.argmax(envelope > 0.1 * envelope.max())) / 100
        assert start_s - 0.011 <= first < start_s + 0.1, stem


def test_pitch_is_the_written_one_with_any_timbre_shift(soundfont, synthesiser):
    part = Part(0, False, [Note(0.1, 1.8, 69, 100)])
    for shift in (0, 5, -5):
        mono = synthesiser.render([part], soundfont, SECONDS, timbre_shift=shift).mean(axis=0)
        spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono))))
        assert np.argmax(spectrum) / SECONDS == pytest.approx(440, rel=0.01)


def test_voicings_darken_and_slow_notes_but_not_drums(soundfont, synthesiser):
    piano = Part(0, False, [Note(0.0, 1.0, 60, 100)])
    snare = Part(0, True, [Note(0.0, 0.5, 38, 100)])

    def mono(part: Part, voicing: Voicing | None) -> np.ndarray:
        return synthesiser.render([part], soundfont, SECONDS, voicing=voicing).mean(axis=0)

    def energy(waveform: np.ndarray, start_s: float, end_s: float) -> float:
        return float(np.square(waveform[int(16000 * start_s) : int(16000 * end_s)]).sum())

    def brightness(waveform: np.ndarray) -> float:
        return float(np.square(np.diff(waveform)).sum() / np.square(waveform).sum())

    plain = mono(piano, None)
    assert np.array_equal(plain, mono(piano, Voicing()))
    assert brightness(mono(piano, Voicing(cutoff_cents=-4500))) < 0.5 * brightness(plain)
    slow = mono(piano, Voicing(attack_timecents=4800))
    assert energy(slow, 0, 0.01) < 0.3 * energy(plain, 0, 0.01)
    assert energy(slow, 0.3, 1.0) == pytest.approx(energy(plain, 0.3, 1.0), rel=0.3)
    long = mono(piano, Voicing(release_timecents=2400))
    assert energy(long, 1.2, 1.8) > 10 * energy(plain, 1.2, 1.8)
    dark = Voicing(cutoff_cents=-4500)
    assert np.array_equal(mono(snare, dark), mono(snare, None))


def test_rendering_leaves_no_trace_in_the_next_one(soundfont, synthesiser):
    notes = Part(0, False, [Note(0.1, 1.8, 69, 100)])
    loud = Part(0, True, [Note(0.05 * i, 0.05 * i + 1, 49, 127) for i in range(40)])
    snare = Part(0, True, [Note(0.5, 1.0, 38, 100)])  # two samples at once
    for part in (notes, snare):
        before = Synthesiser(16000).render([part], soundfont, SECONDS)
        synthesiser.render([loud], soundfont, 0.777)
        assert np.array_equal(before, synthesiser.render([part], soundfont, SECONDS))
        assert np.array_equal(before, synthesiser.render([part], soundfont, SECONDS))


def test_missing_soundfonts_say_why():
    with pytest.raises(InputError, match="install-system-packages"):
        find_soundfont("Nowhere.sf2")


def test_groove_families_are_split():
    families = read_groove_families()
    held_out = [family for family in families if family.is_validation]
    assert sum(len(family.grooves) for family in families) > 700
    assert 0.03 < len(held_out) / len(families) < 0.2


def test_composed_songs_are_functions_of_seed_and_index(tmp_path: Path):
    options = dict(
        seed=7,
        soundfonts={VALIDATION_SOUNDFONT: 1.0},
        split="validation",
        options=CompositionOptions(held_out_grooves=True),
    )
    made = compose_collection(tmp_path / "a", 2, **options)
    alone = compose_collection(tmp_path / "b", 1, **options, first=1, workers=Workers(1))
    assert made.songs == 2 and alone.songs == 1
    assert [song.name for song in read_manifest(tmp_path / "a")] == ["song_00000", "song_00001"]
    for stem in ("bass", "drums", "guitar", "piano"):
        one, two = (
            soundfile.read(tmp_path / folder / "song_00001" / f"{stem}.flac")[0]
            for folder in ("a", "b")
        )
        assert np.array_equal(one, two)
        assert np.abs(one).max() > 0.01
    song = read_song(tmp_path / "a" / "song_00001")
    assert song.split == "validation" and song.details["licence"] == "CC0-1.0"
    families = {family.library_file: family for family in read_groove_families()}
    assert families[song.details["groove_family"]].is_validation
    assert set(song.details["soundfonts"].values()) == {VALIDATION_SOUNDFONT}
    # what exists is kept
    assert compose_collection(tmp_path / "a", 2, **options).songs == 0


def test_songs_know_what_they_play(run, tmp_path: Path):
    options = ("--soundfont", VALIDATION_SOUNDFONT, "--seed", 3, "--workers", 1)
    assert run("compose", tmp_path, "--songs", 1, "--metres", "3/4", *options).code == 0
    folder = tmp_path / "song_00000"
    sheet = read_sheet(folder / "sheet.json")
    score, written = read_midi(folder / "score.mid")
    song = read_song(folder)
    assert sheet.metre == song.details["metre"] == "3/4"
    assert sheet.tempo_bpm == pytest.approx(song.details["tempo_bpm"], abs=1e-3)
    assert sheet.beats_s[-1] == pytest.approx(song.duration_s - 1, abs=1e-3)
    assert sheet.downbeats == tuple(range(0, len(sheet.beats_s), 3))
    assert sheet.style == style_of_groove(song.details["groove_family"])
    assert set(score.notes) == set(song.stems)
    assert (written.metre, written.key, written.chords) == (sheet.metre, sheet.key, sheet.chords)
    # the score's drums are where the stem is loud
    drums, rate = soundfile.read(folder / "drums.flac")
    loud = np.sqrt(np.mean(drums**2))
    for note in score.notes["drums"]:
        start = round(sheet.time_of(note.start_beat) * rate)
        assert np.abs(drums[start : start + rate // 20]).max() > 0.02 * loud
    before = [(folder / name).read_bytes() for name in ("sheet.json", "score.mid")]
    (folder / "score.mid").unlink()
    again = run("compose", tmp_path, "--add-sheets", *options)
    assert again.code == 0 and "1 sheets" in again.out
    assert before == [(folder / name).read_bytes() for name in ("sheet.json", "score.mid")]
    (folder / "sheet.json").unlink()
    (tmp_path / "other.sf2").symlink_to(find_soundfont(VALIDATION_SOUNDFONT))
    other = run("compose", tmp_path, "--add-sheets", "--soundfont", tmp_path / "other.sf2")
    assert other.code == 2 and "other options: soundfonts would be" in other.err


def test_what_mma_draws_is_a_function_of_the_seed():
    (calypso,) = (one for one in read_groove_families() if one.library_file == "stdlib/calypso")
    one, two, other = (
        compose_song([calypso], np.random.default_rng(seed), 20.0) for seed in (0, 0, 1)
    )
    assert one.stems == two.stems != other.stems


def test_crossed_parts_keep_their_role_but_for_guitars_and_pianos():
    def group(name: str) -> list[Part]:
        programs = {"bass": 33, "guitar": 25, "piano": 0, "strings": 48}
        notes = [Note(0, 1, 60, 90)]
        parts = [Part(number, False, notes, f"{stem} {name}") for stem, number in programs.items()]
        return [*parts, Part(0, True, notes, f"drums {name}")]

    seen = set()
    for seed in range(60):
        crossed = cross_parts([group("a"), group("b")], np.random.default_rng(seed))
        assert len(crossed) == 5
        seen |= {(part.name, stem_of(part)) for part in crossed}
    kept = {(f"{stem} {name}", stem) for stem in ("bass", "drums") for name in "ab"}
    exchanged = {
        (f"{one} {name}", other)
        for one in ("guitar", "piano")
        for other in ("guitar", "piano")
        for name in "ab"
    }
    assert seen == kept | exchanged | {("strings a", None), ("strings b", None)}


def test_a_crossed_song_has_three_grooves():
    families = read_groove_families()
    song = compose_song(families, np.random.default_rng(3), 20.0, crossed=True)
    names = song.family.split(" + ")
    assert len(names) == 3 and set(names) <= {family.library_file for family in families}
    assert all(song.stems.values())


def test_a_folder_of_midi_files_becomes_songs(run, tmp_path: Path):
    midi, data = tmp_path / "midi", tmp_path / "data"
    write_band(midi / "a" / "band.mid", [0, 25, 33, -1])
    write_band(midi / "b" / "band.MID", [0, 40, 33])
    write_band(midi / "lonely.mid", [0])
    write_band(midi / "short.mid", [0, 33], seconds=3)
    (midi / "broken.mid").write_bytes(b"MThd" + bytes(30))
    options = ("--soundfont", VALIDATION_SOUNDFONT, "--workers", 1)
    result = run("render", midi, data, *options)
    assert result.code == 0 and "2 songs" in result.out and "3 files skipped" in result.out
    songs = {song.stems: song for song in read_manifest(data)}
    for song in songs.values():
        score, sheet = read_midi(song.folder / "score.mid")
        assert set(score.notes) == set(song.stems) >= set(sheet.instruments)
        assert sheet.tempo_bpm == 120 and all(len(notes) == 12 for notes in score.notes.values())
        assert read_sheet(song.folder / "sheet.json").chords == sheet.chords
    assert set(songs) == {("bass", "drums", "guitar", "piano"), ("bass", "piano")}
    assert {song.name[:5] for song in songs.values()} == {"band_"}
    reasons = (data / "skipped.jsonl").read_text()
    assert "only piano" in reasons and "too short" in reasons and "not a MIDI file" in reasons
    again = run("render", midi, data, *options)
    assert "0 songs" in again.out and "skipped" not in again.out  # nothing is made twice
    run("render", midi, tmp_path / "other", *options)
    for song in songs.values():
        for stem in song.stems:
            elsewhere = tmp_path / "other" / song.name / f"{stem}.flac"
            assert elsewhere.read_bytes() == song.stem_paths(stem)[0].read_bytes()


def test_render_without_midi_files(run, tmp_path: Path):
    result = run("render", tmp_path, tmp_path / "data")
    assert result.code == 2 and "no MIDI files" in result.err
    assert not (tmp_path / "data").exists()
