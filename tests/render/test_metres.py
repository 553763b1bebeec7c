"""Songs in 3/4, 6/8 and the like: all parts on the grid of the sheet. Needs mma."""

import numpy as np
import pytest

from stemweave.errors import InputError
from stemweave.music.estimate import estimate_chords, estimate_key
from stemweave.music.harmony import Chord, Key
from stemweave.music.keys import key_name
from stemweave.music.lead_sheet import LeadSheet, steady_beats
from stemweave.music.metre import is_compound
from stemweave.render.compose import ComposedSong, compose_song, draw_metre
from stemweave.render.form import Form
from stemweave.render.grooves import METRES, drawn_families, read_groove_families
from stemweave.render.lines import draw_bass, draw_comping
from stemweave.render.riffs import draw_riff_parts
from stemweave.render.sheets import score_of

GROOVES = ("stdlib/waltz", "stdlib/blues68", "stdlib/68march", "stdlib/ballad128", "stdlib/jazz-54")


def composed(library_file: str, **options) -> ComposedSong:
    (family,) = (
        one
        for one in read_groove_families([metre for metre in METRES if metre != "4/4"])
        if one.library_file == library_file
    )
    return compose_song([family], np.random.default_rng(0), 30.0, **options)


def distances_s(song: ComposedSong, stem: str) -> np.ndarray:
    """How far each onset is from the grid of sixteenths (triplets of them in compound metres)."""
    onsets = np.array([note.start_s for part in song.stems[stem] for note in part.notes])
    parts = 6 if is_compound(song.form.metre) else 12
    beats = onsets / song.form.beat_s
    return np.abs(beats - np.round(beats * parts) / parts) * song.form.beat_s


@pytest.mark.parametrize("library_file", GROOVES)
def test_all_parts_keep_the_beat_to_the_end(library_file: str):
    song = composed(library_file)
    assert song.duration_s == pytest.approx(song.form.num_beats * song.form.beat_s + 1)
    last_s = {}
    for stem, parts in song.stems.items():
        assert np.median(distances_s(song, stem)[-20:]) < 0.02
        last_s[stem] = max(note.start_s for part in parts for note in part.notes)
    longest_s = max(last_s.values())
    assert 0.9 * song.form.duration_s < longest_s < song.form.duration_s + 0.05


def test_older_songs_drift_as_they_did():
    song, older = composed("stdlib/waltz"), composed("stdlib/waltz", exact_tempo=False)
    assert older.tempo_bpm == song.tempo_bpm and older.form == song.form
    assert older.grid_beat_s == pytest.approx(60 / int(song.tempo_bpm), rel=1e-5)
    one, other = (s.stems["drums"][0].notes[-1].start_s for s in (song, older))
    assert other == pytest.approx(one * older.grid_beat_s / song.grid_beat_s, abs=0.01)


def test_two_chords_share_a_bar_as_the_groove_has_them():
    c, g = Chord(0, "major"), Chord(7, "major")
    for metre, second in (("4/4", 2), ("3/4", 2), ("5/4", 3), ("6/8", 1), ("12/8", 2)):
        form = Form([[c, g], [c]], Key(0, False), 0.5, metre)
        assert form.chord_at(second - 0.01) == c and form.chord_at(second) == g
        assert form.chord_at(form.beats_per_bar) == c


def test_helper_lines_play_thirds_of_beats_in_compound_metres():
    form = Form([[Chord(0, "major")]] * 40, Key(0, False), 1.0, "6/8")
    arpeggio = draw_comping(form, "arpeggio", np.random.default_rng(0))
    assert np.allclose(np.array([n.start_s for n in arpeggio]) * 3 % 1, 0, atol=0.1)
    assert len(arpeggio) == 40 * 6
    blocks = draw_comping(form, "block", np.random.default_rng(0))
    assert len({round(n.start_s) for n in blocks}) == 80
    for seed in range(5):
        rng = np.random.default_rng(seed)
        lines = [draw_bass(form, rng), draw_riff_parts(form, rng)["guitar"][0].notes]
        for notes in lines:
            sixths = np.array([n.start_s for n in notes]) * 6
            assert np.allclose(sixths, np.round(sixths), atol=1e-6)


def test_chords_and_key_are_found_in_the_notes():
    """Root and third of most beats, as the page on sheets says."""
    right = total = keys = 0
    for seed in range(6):
        (family,) = (one for one in read_groove_families() if one.library_file == "casio/pop")
        song = compose_song([family], np.random.default_rng([5, seed]), 40.0)
        key = key_name(song.form.key.tonic, song.form.key.minor)
        sheet = LeadSheet(steady_beats(song.tempo_bpm, song.form.num_beats))
        score = score_of(song.stems, sheet)
        notes = [n for stem in ("bass", "guitar", "piano") for n in score.notes[stem]]
        downbeats = range(0, song.form.num_beats, 4)
        found = LeadSheet(chords=estimate_chords(notes, song.form.num_beats, downbeats, key))
        keys += estimate_key(notes) == key
        for beat in range(song.form.num_beats):
            truth, chord = song.form.chord_at(beat), found.chord_at(beat)
            root, third = truth.root, truth.pitch_classes[1]
            right += chord is not None and chord.root == root and third in chord.tones
            total += 1
    assert right / total > 0.8 and keys >= 3


def test_a_metre_that_is_named_twice_is_drawn_twice_as_often():
    rng = np.random.default_rng(0)
    drawn = [draw_metre(("4/4", "3/4", "4/4"), rng) for _ in range(600)]
    assert 0.6 < drawn.count("4/4") / 600 < 0.73
    before = rng.bit_generator.state
    assert draw_metre(("3/4",), rng) == "3/4" and rng.bit_generator.state == before


def test_metres_without_grooves_say_so():
    with pytest.raises(InputError, match="no grooves in 7/8: choose of 4/4, 3/4"):
        read_groove_families(["7/8"])
    with pytest.raises(InputError, match="no grooves in 5/4 are held out"):
        drawn_families(["4/4", "5/4"], held_out=True)
    held_out = {family.metre for family in drawn_families(["4/4", "3/4", "6/8"], held_out=True)}
    assert held_out == {"4/4", "3/4", "6/8"}
    trained = {family.library_file for family in drawn_families(METRES, held_out=False)}
    assert not trained & {family.library_file for family in drawn_families(["3/4"], held_out=True)}
