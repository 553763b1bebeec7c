import numpy as np
import pytest
import torch

from stemweave.models.score_transformer import ScoreTransformer
from stemweave.music.drawing import draw_sheet
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score, ScoreNote
from stemweave.tasks.write_score import ScoreSampling, write_bars, write_score
from tests.models.test_score_transformer import STEMS, window
from tests.training.test_stage_score import taught


@pytest.fixture
def network() -> ScoreTransformer:
    torch.manual_seed(1)
    return ScoreTransformer(
        STEMS, ("rock",), ("bass/pick",), channels=32, num_layers=1, head_channels=16, max_bars=4
    ).eval()


def nothing_given(num_bars: int) -> dict[str, np.ndarray]:
    return {stem: np.zeros(num_bars, dtype=bool) for stem in STEMS}


def seeded(seed: int) -> ScoreSampling:
    return ScoreSampling(generator=torch.Generator().manual_seed(seed))


def test_given_segments_stay_and_others_are_written(network):
    piece = window(num_bars=9)  # longer than a window of the network
    given = nothing_given(9)
    given["bass"][:] = True
    given["drums"][4] = True
    written = write_bars(network, piece, given, seeded(0))
    for stem in STEMS:
        for bar in range(9):
            same = np.array_equal(written[stem][bar], piece.segments[stem][bar])
            assert same == given[stem][bar]


def test_notes_stand_in_order_and_in_their_bar(network):
    piece = window(num_bars=3)
    piece.beats[:] = 3
    written = write_bars(network, piece, nothing_given(3), seeded(1))
    for own in written.values():
        for segment in own:
            places = [tuple(row) for row in segment[:, :2].tolist()]
            assert places == sorted(set(places))
            assert all(step < 36 for step, _ in places)


def test_equal_seeds_write_equal_notes_and_others_do_not(network):
    piece = window(num_bars=3)
    first, again, other = (
        write_bars(network, piece, nothing_given(3), seeded(seed)) for seed in (3, 3, 4)
    )
    assert all(map(np.array_equal, first["drums"], again["drums"]))
    assert not all(map(np.array_equal, first["drums"], other["drums"]))


def test_a_network_that_was_taught_one_pattern_writes_it():
    network, pattern = taught()
    piece = window(num_bars=4)
    written = write_bars(network, piece, nothing_given(4), ScoreSampling(temperature=0.0))
    for stem, segment in pattern.items():
        assert all(np.array_equal(own, segment) for own in written[stem])


def test_missing_stems_and_bars_are_written_and_all_else_stays(network):
    sheet = LeadSheet.from_text("C | F | G | C | F", tempo_bpm=90, metre="3/4", style="rock")
    sheet = draw_sheet(10.0, ("rock",), np.random.default_rng(0), sheet)
    bass = tuple(ScoreNote(beat + 0.01, beat + 0.7, 40, 77) for beat in range(15))
    given = Score({"bass": bass, "organ": ()})
    written = write_score(network, sheet, seeded(0), given, {"bass": (1, 3)})
    kept = [note for note in bass if not 3 <= note.start_beat < 9]
    assert set(written.notes) == {"bass", "drums", "organ"} and written.notes["organ"] == ()
    assert [n for n in written.notes["bass"] if not 3 <= n.start_beat < 9] == kept
    anew = [note for note in written.notes["bass"] if 3 <= note.start_beat < 9]
    assert anew and not set(anew) & set(bass)
    drums = [note.start_beat for note in written.notes["drums"]]
    assert drums and max(drums) < 15
