from pathlib import Path

import numpy as np
import pytest

from stemweave.data.scores import INSTRUMENT_CLASSES, ScoreCorpus, num_events, score_folders
from stemweave.errors import InputError
from stemweave.music.lead_sheet import SHEET_FILE, LeadSheet
from stemweave.music.midi import SCORE_FILE, write_midi
from stemweave.music.score import Score, ScoreNote

STEMS = ("drums", "bass")


def write_song(folder: Path, style: str, num_bars: int = 6, stems: tuple[str, ...] = STEMS) -> None:
    """A song whose bass plays the number of the bar, over a drum on every beat."""
    folder.mkdir(parents=True)
    sheet = LeadSheet.from_text(" | ".join(["Am"] * num_bars), 120, "4/4", style=style)
    notes = {
        "drums": tuple(ScoreNote(beat, beat + 0.25, 36, 100) for beat in range(4 * num_bars)),
        "bass": tuple(ScoreNote(4 * bar, 4 * bar + 2, 40 + bar, 90) for bar in range(num_bars)),
    }
    score = Score({stem: notes.get(stem, ()) for stem in stems})
    (folder / SHEET_FILE).write_text(sheet.to_json())
    write_midi(folder / SCORE_FILE, score, sheet)


def test_windows_hold_what_was_played(tmp_path: Path):
    write_song(tmp_path / "a" / "song_0", "rock")
    corpus = ScoreCorpus(score_folders([tmp_path / "a"]), STEMS, workers=1)
    assert corpus.styles == ("rock",)
    window = corpus.draw(3, 1000, np.random.default_rng(0))
    first = int(window.segments["bass"][0][0, 1]) - 40
    assert [segment[0, 1] - 40 for segment in window.segments["bass"]] == [
        first, first + 1, first + 2,
    ]  # fmt: skip
    assert all(segment[:, 0].tolist() == [0, 12, 24, 36] for segment in window.segments["drums"])
    assert window.style == 1 and np.exp(window.log_tempo) == pytest.approx(120)
    assert window.chords[0, 0, 9] == 1


def test_windows_are_cut_to_the_most_events(tmp_path: Path):
    write_song(tmp_path / "song_0", "rock")
    corpus = ScoreCorpus(score_folders([tmp_path]), STEMS, workers=1)
    window = corpus.draw(6, 30, np.random.default_rng(0))
    assert num_events(window) <= 30 and window.num_bars == 4


def test_styles_of_other_songs_are_numbered_as_in_training(tmp_path: Path):
    for index, style in enumerate(("waltz", "rock")):
        write_song(tmp_path / "train" / f"song_{index}", style)
    write_song(tmp_path / "other" / "song_0", "rock")
    write_song(tmp_path / "unknown" / "song_0", "tango")
    train = ScoreCorpus(score_folders([tmp_path / "train"]), STEMS, workers=1)
    assert train.styles == ("rock", "waltz")
    for name, number in (("other", 1), ("unknown", 0)):
        corpus = ScoreCorpus(score_folders([tmp_path / name]), STEMS, train.styles, workers=1)
        assert corpus.songs[0].style == number


def test_folders_without_scores_and_songs_without_a_stem_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"no songs with score\.mid"):
        score_folders([tmp_path])
    write_song(tmp_path / "song_0", "rock", stems=("bass",))
    with pytest.raises(InputError, match="has all of drums, bass"):
        ScoreCorpus(score_folders([tmp_path]), STEMS, workers=1)


def test_every_class_of_instruments_has_a_number():
    assert len(set(INSTRUMENT_CLASSES)) == len(INSTRUMENT_CLASSES) == 22
