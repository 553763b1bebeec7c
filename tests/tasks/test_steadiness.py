"""Level, colour and rests of long pieces."""

import math

import pytest
import torch
from torch.nn import functional

from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score, ScoreNote
from stemweave.tasks import steadiness
from stemweave.tasks.conditioning import Conditioning, conditioning_of
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.steadiness import band_levels, held_to, levels_of_piece, steady
from tests.tasks.test_conditioning import make_conditioned_pipeline
from tests.tasks.test_tasks import noise

WINDOW, NUM_MELS = 100, 32
ALL = torch.ones(4 * WINDOW, dtype=torch.bool)


def noisy_log_mel() -> torch.Tensor:
    """Four windows of a stem of steady level and colour, with a spectrum that falls."""
    generator = torch.Generator().manual_seed(0)
    slope = torch.linspace(0, -2, NUM_MELS)
    return slope + 0.3 * torch.randn(4 * WINDOW, NUM_MELS, generator=generator)


def differences_db(log_mel: torch.Tensor, sounds: torch.Tensor = ALL) -> torch.Tensor:
    """Of the bands of each window from the first one's."""
    windows = zip(log_mel.split(WINDOW), sounds.split(WINDOW), strict=True)
    levels = [band_levels(*window, 5) for window in windows]
    return torch.stack([one - levels[0] for one in levels[1:] if one is not None])


def test_louder_and_brighter_windows_become_as_the_first():
    drifting = noisy_log_mel()
    drift = torch.linspace(0, 0.7, 3 * WINDOW)[:, None] * torch.linspace(0.3, 1, NUM_MELS)
    drifting[WINDOW:] += drift  # up to 6 dB at the bright end
    before = differences_db(drifting).abs().max()
    held = held_to(drifting, ALL, WINDOW, WINDOW, 10)
    assert before > 4 and differences_db(held).abs().max() < 1
    assert torch.equal(held[:WINDOW], drifting[:WINDOW])
    assert (held - drifting).diff(dim=0).abs().max() < 0.03, "no step at any frame"


def test_what_is_far_too_loud_is_changed_by_so_much_only():
    far = noisy_log_mel()
    far[WINDOW:] += 3.0
    held = held_to(far, ALL, WINDOW, WINDOW, 10)
    most = (far - held).max().item() * steadiness.DB_PER_NEPER
    assert most == pytest.approx(steadiness.MAX_CHANGE_DB, abs=0.01)


def test_a_window_with_fewer_notes_stays_quieter_and_a_rest_stays_a_rest():
    sparse = noisy_log_mel()
    sounds = ALL.clone()
    sounds[WINDOW : 2 * WINDOW][20:] = False
    sounds[2 * WINDOW : 3 * WINDOW] = False
    sparse = torch.where(sounds[:, None], sparse, sparse - 3)
    held = held_to(sparse, sounds, WINDOW, WINDOW, 10)
    assert (held - sparse).abs().max() * steadiness.DB_PER_NEPER < 1.5
    unknowing = held_to(sparse, ALL, WINDOW, WINDOW, 10)
    assert (unknowing - sparse).max() * steadiness.DB_PER_NEPER > 5


def test_a_stem_that_begins_late_is_held_to_where_it_begins():
    late = noisy_log_mel()
    sounds = torch.arange(4 * WINDOW) >= 2 * WINDOW
    late[: 2 * WINDOW], late[3 * WINDOW :] = -9.0, late[3 * WINDOW :] + 0.6
    held = held_to(late, sounds, WINDOW, WINDOW, 10)
    assert torch.allclose(held[: 2 * WINDOW], late[: 2 * WINDOW], atol=0.1)
    levels = [
        band_levels(held[part], ALL[:WINDOW], 5) for part in (slice(200, 300), slice(300, 400))
    ]
    assert (levels[1] - levels[0]).abs().max() < 1


@pytest.fixture(scope="module")
def pipe():
    return make_conditioned_pipeline()


def told(pipe, *notes: ScoreNote) -> Conditioning:
    sheet = LeadSheet.from_text("C | F | C | F", 120, "4/4")  # 8 s
    given = conditioning_of(pipe, sheet, Score({"bass": notes}), Sampling(), 8.0)
    assert given is not None
    return given


def test_what_is_played_in_a_rest_of_the_score_is_turned_down(pipe):
    rate = pipe.log_mel.frames_per_second
    log_mels = torch.zeros(2, round(8 * rate), NUM_MELS)
    conditioning = told(pipe, ScoreNote(0, 1, 40, 90), ScoreNote(14, 15, 40, 90))  # at 0 and 7 s
    made = steady(pipe, log_mels, ["bass", "drums"], conditioning, first=10_000)
    seconds = torch.arange(log_mels.shape[1]) / rate
    rest = (seconds > 0.5 + steadiness.REST_TAIL_S + steadiness.REST_FADE_S) & (seconds < 6.4)
    floor = math.log(pipe.log_mel.config.log_floor)
    assert torch.allclose(made[0, rest], torch.tensor(max(floor, -60 / steadiness.DB_PER_NEPER)))
    assert (made[0, (seconds < 1.5) | (seconds > 7)] == 0).all(), "attacks and what rings stay"
    assert (made[0].diff(dim=0).abs() < 0.6).all(), "it fades"
    assert (made[1] == 0).all(), "of drums the score says nothing"
    assert torch.equal(steady(pipe, log_mels, ["bass", "drums"], None, first=10_000), log_mels)


def test_where_notes_sound_is_counted_from_the_begin_of_the_task(pipe):
    conditioning = told(pipe, ScoreNote(4, 5, 40, 90)).beginning_at(1.0)  # at 2 to 2.5 s
    sounds = conditioning.sounding(["bass", "drums"], 80, 0.1)
    assert sounds is not None and sounds[1].all()
    assert sounds[0].nonzero().flatten().tolist() == [10, 11, 12, 13, 14, *range(30, 80)]
    assert conditioning.notes_until_s == 4.0


def test_the_level_of_a_piece_is_that_of_all_of_it_but_near_to_its_end(pipe):
    def levels(*gains: float) -> torch.Tensor:
        window = noise(1, round(pipe.segment_s * 16000))
        found = levels_of_piece(pipe, torch.cat([g * window for g in gains], dim=1), 16000, 1.0)
        assert found is not None
        return found

    same = levels(1, 1, 1, 1)
    assert torch.allclose(levels(1, 1, 1, 1.12) - same, torch.tensor(0.25), atol=0.1)  # 1 dB / 4
    quiet_end = levels(1, 1, 1, 0.1)  # 20 dB
    assert torch.allclose(quiet_end - same, torch.tensor(-17.0), atol=0.3)
    assert levels_of_piece(pipe, torch.zeros(1, 40_000), 16000, 1.0) is not None  # its noise floor


def test_long_pieces_are_held_and_short_ones_are_not(pipe, monkeypatch):
    made = {}
    for is_held in (True, False):
        if not is_held:
            monkeypatch.setattr(steadiness, "held_to", lambda own, *_: own)
        for seconds in (1.0, 4.0):
            piece = pipe.generate(seconds, generator=torch.Generator().manual_seed(0))
            made[is_held, seconds] = functional.pad(piece["bass"], (0, 1))
    assert torch.equal(made[True, 1.0], made[False, 1.0])
    assert not torch.equal(made[True, 4.0], made[False, 4.0])
