"""Chord symbols and bars of them, keys, metres, styles and instruments as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pychord.quality import QualityManager

from stemweave.errors import InputError
from stemweave.music.chords import ChordChange, parse_bars, parse_chord, tone_name
from stemweave.music.instruments import INSTRUMENTS, instrument_of, parse_instruments, stem_of_track
from stemweave.music.keys import key_name, note_name, parse_key, tonic_of
from stemweave.music.metre import beats_per_bar, parse_metre, quarters_per_beat
from stemweave.music.styles import STYLES, parse_style, style_of_groove


@pytest.mark.parametrize(
    ("symbol", "canonical", "root", "tones", "bass"),
    [
        ("C", "C", 0, (0, 4, 7), 0),
        ("Am7", "Am7", 9, (9, 0, 4, 7), 9),
        ("C/E", "C/E", 0, (0, 4, 7), 4),
        ("C/D", "C/D", 0, (0, 4, 7), 2),
        ("Bb-7", "Bbm7", 10, (10, 1, 5, 8), 10),
        ("B♭min7", "Bbm7", 10, (10, 1, 5, 8), 10),
        ("F#°7", "F#dim7", 6, (6, 9, 0, 3), 6),
        ("Bø", "Bm7b5", 11, (11, 2, 5, 9), 11),
        ("CM7", "Cmaj7", 0, (0, 4, 7, 11), 0),
        ("CΔ", "Cmaj7", 0, (0, 4, 7, 11), 0),
        ("C6/9", "C69", 0, (0, 4, 7, 9, 2), 0),
        ("Cm(maj7)", "Cmmaj7", 0, (0, 3, 7, 11), 0),
        ("G+7", "G7#5", 7, (7, 11, 3, 5), 7),
        ("C7(b9,#11)", "C7b9#11", 0, (0, 4, 7, 10, 1, 6), 0),
        ("Dsus", "Dsus4", 2, (2, 7, 9), 2),
        ("Cm13", "Cm13", 0, (0, 3, 7, 10, 2, 5, 9), 0),
        ("C/C", "C", 0, (0, 4, 7), 0),
    ],
)
def test_symbols_as_people_write_them(symbol, canonical, root, tones, bass):
    chord = parse_chord(symbol)
    assert (chord.symbol, chord.root, chord.tones, chord.bass) == (canonical, root, tones, bass)


@given(
    st.sampled_from(["C", "Db", "F#", "B", "Ebb", "G##"]),
    st.sampled_from(sorted(QualityManager().get_qualities())),
    st.sampled_from(["", "/E", "/Bb"]),
)
def test_canonical_symbols_name_the_same_chord(root: str, quality: str, bass: str):
    chord = parse_chord(root + quality + bass)
    assert parse_chord(chord.symbol) == chord
    assert chord.tones[0] == chord.root and len(set(chord.tones)) == len(chord.tones)


@pytest.mark.parametrize("symbol", ["H", "N7", "Cfoo", "", "C/H", "am7", "C/1", "7"])
def test_what_is_no_chord_is_named(symbol: str):
    with pytest.raises(InputError, match="is not a chord"):
        parse_chord(symbol)


def starts(text: str, metre: str) -> list[list[tuple[float, str | None]]]:
    return [
        [(change.start_beat, change.chord and change.chord.symbol) for change in bar]
        for bar in parse_bars(text, metre)
    ]


def test_bars_of_text():
    assert starts("Am7 | F | C G/B | %", "4/4") == [
        [(0, "Am7")],
        [(0, "F")],
        [(0, "C"), (2, "G/B")],
        [(0, "C"), (2, "G/B")],
    ]
    assert starts("|C G|\n| / F |N.C.||", "3/4") == [
        [(0, "C"), (2, "G")],
        [(0, "G"), (2, "F")],
        [(0, None)],
    ]
    assert starts("C D E", "4/4") == [[(0, "C"), (2, "D"), (3, "E")]]
    assert starts("C / / G", "4/4") == [[(0, "C"), (3, "G")]]
    assert starts("C G | Am", "6/8") == [[(0, "C"), (1, "G")], [(0, "Am")]]
    assert starts("C D E", "2/4") == [[(0, "C"), (2 / 3, "D"), (4 / 3, "E")]]
    assert parse_bars("C", "4/4") == [[ChordChange(0.0, parse_chord("C"))]]


def test_what_is_wrong_in_bars_is_named():
    with pytest.raises(InputError, match=r"bar 3: Hm is not a chord"):
        parse_bars("C | F | Hm", "4/4")
    with pytest.raises(InputError, match="bar 1 is %"):
        parse_bars("% | C", "4/4")
    with pytest.raises(InputError, match="no chords given"):
        parse_bars(" | ", "4/4")
    with pytest.raises(InputError, match="bar 1: / is not a chord"):
        parse_bars("/ | C", "4/4")


def test_keys():
    for text in ("A minor", "Am", "a moll", "A min"):
        assert parse_key(text) == "A minor"
    assert parse_key("Bb") == "Bb major" and parse_key("B flat major") == "Bb major"
    assert parse_key("Db minor") == "C# minor" and parse_key("G# major") == "Ab major"
    for tonic in range(12):
        for minor in (False, True):
            assert tonic_of(parse_key(key_name(tonic, minor))) == (tonic, minor)
    assert note_name(6, "E major") == "F#" and note_name(6, "Db major") == "Gb"
    assert note_name(3, "E minor") == "D#" and note_name(3) == "Eb"
    assert [note_name(n, "G minor") for n in (1, 3, 6, 10)] == ["C#", "Eb", "F#", "Bb"]
    for tonic in range(12):
        for minor in (False, True):
            for pitch_class in range(12):
                name = note_name(pitch_class, key_name(tonic, minor))
                assert parse_chord(name).root == pitch_class
    assert tone_name("E7", 8) == "G#"
    for text in ("H", "A foo", "", "A minor seventh"):
        with pytest.raises(InputError, match="is not a key"):
            parse_key(text)


def test_metres():
    felt = {"4/4": 4, "3/4": 3, "2/2": 2, "6/8": 2, "9/8": 3, "12/8": 4, "7/8": 7, "3/8": 3}
    assert {metre: beats_per_bar(metre) for metre in felt} == felt
    quarters = {"4/4": 1, "2/2": 2, "6/8": 1.5, "12/8": 1.5, "7/8": 0.5, "6/16": 0.75, "3/8": 0.5}
    assert {metre: quarters_per_beat(metre) for metre in quarters} == quarters
    assert parse_metre(" 6 / 8 ") == "6/8"
    for text in ("4", "0/4", "4/3", "33/4", "x/4", "4/4/4"):
        with pytest.raises(InputError, match="is not a metre"):
            parse_metre(text)


def test_instruments_and_programs():
    assert parse_instruments({"piano": "electric", "guitar": "Nylon"}) == {
        "piano": "electric 1",
        "guitar": "nylon",
    }
    assert parse_instruments({"piano": "electric-2"}) == {"piano": "electric 2"}
    for given_, said in (({"guitar": "kazoo"}, "not a kind of guitar"), ({"kazoo": "x"}, "kazoo")):
        with pytest.raises(InputError, match=said):
            parse_instruments(given_)
    for stem, classes in INSTRUMENTS.items():
        for name, programs in classes.items():
            assert instrument_of(stem, programs[0]) == name
    assert instrument_of("piano", 6) is None
    assert stem_of_track(0, True) == "drums" and stem_of_track(48, False, "Bass 2") == "bass"
    assert stem_of_track(25, False) == "guitar" and stem_of_track(48, False) is None


def test_styles():
    assert 25 <= len(STYLES) <= 45
    files = [name for names in STYLES.values() for name in names]
    assert len(files) == len(set(files))
    assert style_of_groove("stdlib/bossanova") == "bossa-nova"
    assert style_of_groove("stdlib/metronome") is None
    assert parse_style("Bossa Nova") == "bossa-nova"
    with pytest.raises(InputError, match="polka"):
        parse_style("skiffle")
