"""The generation table on toy data: order of floor and ceilings, coherence, counts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.evaluation import generation, obedience, variety
from stemweave.evaluation.generation import evaluate_generation, shuffled_pieces
from stemweave.evaluation.pieces import KIND_ROWS
from stemweave.evaluation.segments import Segment, find_songs
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.midi import write_midi
from stemweave.music.score import Score, ScoreNote
from stemweave.stems import STEMS

from .toys import BandEnergies, ToyPipeline


def test_table_has_all_rows_and_orders_them(pipe: ToyPipeline, data: Path) -> None:
    songs = find_songs(data, STEMS)
    evaluation = evaluate_generation(
        pipe, songs, 6, embeddings=[BandEnergies()], num_coherent=2, num_examples=1, resamples=20
    )
    table = evaluation.table
    measure = "distance from real mixtures, bands"
    rows = table.measures[measure]
    assert list(rows) == [
        row for row in generation.row_order([generation.GENERATED_ROW]) if row in rows
    ]
    assert {generation.FLOOR_ROW, generation.GENERATED_ROW, generation.SOLO_ROW} <= set(rows)
    for column in ("FAD", "KAD"):
        floor = rows[generation.FLOOR_ROW][column].value
        assert floor < rows[generation.NOISE_ROW][column].value
        assert floor < rows[generation.SILENCE_ROW][column].value
    fad = rows[generation.GENERATED_ROW]["FAD"]
    assert fad.count == 6 and fad.low is not None and fad.low < fad.value
    coherence = table.measures[generation.COHERENCE]
    assert (
        set(coherence) == {generation.FLOOR_ROW, generation.GENERATED_ROW, generation.SHUFFLED_ROW}
        or generation.SHUFFLED_ROW not in coherence
    )
    level = table.value(generation.LEVEL, generation.GENERATED_ROW, "bass")
    assert level == pytest.approx(-20, abs=0.2)
    assert evaluation.examples[-1].title == "ours, generated, seed 0"


def test_shuffled_pieces_take_each_stem_from_another_song() -> None:
    def piece(song: int) -> tuple[Segment, torch.Tensor]:
        of_song = Song(Path(f"song {song}"), "test", 1.0, 16000, ())
        return Segment(of_song, 0.0, 1.0), torch.full((3, 5), float(song))

    pieces = list(shuffled_pieces(piece(song) for song in (0, 0, 1, 2, 2, 3, 4)))
    assert [[int(stem[0]) for stem in stems] for stems in pieces] == [
        [0, 1, 2], [1, 2, 3], [2, 3, 4]
    ]  # fmt: skip


def test_one_song_is_refused(pipe: ToyPipeline, data: Path) -> None:
    with pytest.raises(InputError, match="at least 2 songs"):
        evaluate_generation(pipe, find_songs(data, STEMS, "train"), 4, embeddings=[])


def test_ceilings_have_the_level_of_the_reference() -> None:
    reference = 0.3 * torch.randn(4, 16_000, generator=torch.Generator().manual_seed(0))
    rows = generation.ceilings([], reference, seed=1)
    noise = rows[generation.NOISE_ROW]
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02)
    assert not rows[generation.SILENCE_ROW].any()
    assert np.abs(np.corrcoef(noise[0], reference[0])[0, 1]) < 0.05


def test_level_match_is_one_gain_for_all_clips() -> None:
    reference = torch.stack([torch.full((100,), 0.1), torch.full((100,), 0.4)])
    clips = torch.stack([torch.full((100,), 0.01), torch.full((100,), 0.01)])
    matched = generation.at_level_of(clips, reference)
    assert torch.allclose(matched, torch.full((2, 100), 0.2))


class RecordingPipeline(ToyPipeline):
    """Plays a click for every drum note that it is told, and notes what it was told."""

    takes_sheets = True

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[LeadSheet, Score | None]] = []

    def generate(self, *arguments, sheet=None, score=None, **options):
        piece = super().generate(*arguments, **options)
        if sheet is not None:
            self.given.append((sheet, score))
        return piece


def test_scores_and_sheets_of_real_songs_are_told_from_where_the_segment_begins(
    data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "composed"
    shutil.copytree(data, folder)
    sheet = LeadSheet.from_text("C | F", 120, "4/4")
    score = Score({"drums": (ScoreNote(0, 1, 36, 90),), "bass": (ScoreNote(0, 4, 40, 90),)})
    for song in folder.glob("song_*"):
        (song / "sheet.json").write_text(sheet.to_json())
        write_midi(song / "score.mid", score, sheet)
    pipe = RecordingPipeline()
    evaluation = evaluate_generation(
        pipe, find_songs(folder, STEMS), 4, embeddings=[BandEnergies()], num_coherent=1,
        kinds=["score", "sheet", "nothing"], num_examples=0, resamples=5,
    )  # fmt: skip
    assert [score is not None for _, score in pipe.given] == [True] * 4 + [False] * 4
    starts = sorted({-told.beats_s[0] for told, _ in pipe.given})
    assert starts[0] == 0 and starts[-1] == pytest.approx(2.048 * round(starts[-1] / 2.048))
    table = evaluation.table
    rows = {generation.GENERATED_ROW, KIND_ROWS["sheet"], KIND_ROWS["nothing"]}
    assert rows <= set(table.measures[variety.measure_name("bands")])
    assert rows | {generation.FLOOR_ROW} == set(table.measures[obedience.SHEET])
    assert pipe.given[0][1].notes.keys() == score.notes.keys()


class WritingPipeline(RecordingPipeline):
    """Writes a note of its own for each stem."""

    writes_scores, styles, stems = True, ("rock",), STEMS

    def write_score(self, sheet, *, given=None, generator=None):
        return Score({stem: (ScoreNote(0, 1, 40, 90),) for stem in STEMS})


def test_new_pieces_have_sheets_and_notes_of_their_own(data: Path) -> None:
    pipe = WritingPipeline()
    table = evaluate_generation(
        pipe, find_songs(data, STEMS), 4, embeddings=[BandEnergies()], num_coherent=1,
        num_examples=0, resamples=5,
    ).table  # fmt: skip
    assert len({sheet.tempo_bpm for sheet, _ in pipe.given}) == 4
    assert all(score is not None and set(score.notes) == set(STEMS) for _, score in pipe.given)
    assert generation.GENERATED_ROW in table.measures[variety.measure_name("bands")]
    assert generation.GENERATED_ROW not in table.measures.get(obedience.SHEET, {})
    with pytest.raises(InputError, match="writes no scores"):
        evaluate_generation(
            RecordingPipeline(), find_songs(data, STEMS), 4, embeddings=[], kinds=["new"]
        )


def test_songs_without_scores_have_none_to_tell(data: Path) -> None:
    with pytest.raises(InputError, match="no score"):
        evaluate_generation(
            RecordingPipeline(), find_songs(data, STEMS), 4, embeddings=[], kinds=["score"]
        )
