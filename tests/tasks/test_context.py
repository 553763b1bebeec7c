"""Levels and channels of new material."""

import math

import pytest
import torch

from stemweave.tasks import context, dynamics
from tests.tasks.test_tasks import noise, seeded

SPAN = 1000


def fit_db(
    true: torch.Tensor, made: torch.Tensor, known: torch.Tensor, sounds: torch.Tensor | None = None
) -> torch.Tensor:
    sounds = torch.ones_like(known) if sounds is None else sounds
    return 20 * context.level_fit(true, made, known, sounds, SPAN).log10()


def half_known(length: int = 4 * SPAN) -> torch.Tensor:
    return torch.arange(length) < length // 2


def test_the_vocoders_error_of_level_is_taken_off():
    true = noise(4 * SPAN)
    gain_db = fit_db(true, 0.7 * true, half_known())
    assert torch.allclose(gain_db, torch.tensor(-20 * math.log10(0.7)), atol=1e-3)
    far = fit_db(true, 0.01 * true, half_known())
    assert far[: 2 * SPAN] == pytest.approx(context.MAX_VOCODER_CORRECTION_DB)


@pytest.mark.parametrize(
    ("step_db", "left_db"), [(0, 0), (1.4, 1.4), (-1.4, -1.4), (10, 1.5), (-15, -1.5), (-40, -20)]
)
def test_a_step_in_level_is_limited(step_db: float, left_db: float):
    tone = torch.ones(4 * SPAN)
    made = torch.where(half_known(), tone, tone * 10 ** (step_db / 20))
    gain_db = fit_db(tone, made, half_known())
    assert (gain_db[: 2 * SPAN] == 0).all()
    assert gain_db[2 * SPAN :] == pytest.approx(left_db - step_db, abs=1e-3)


def test_rests_of_the_score_do_not_count():
    places = torch.arange(4 * SPAN)
    sounds = places % 4 == 0
    true = torch.where(sounds, 1.0, 0.0)
    made = torch.where(places < 2 * SPAN, true, torch.where(places % 8 == 0, 1.0, 0.0))
    fewer_notes = sounds & ((places < 2 * SPAN) | (places % 8 == 0))
    assert (fit_db(true, made, half_known(), fewer_notes) == 0).all()
    assert fit_db(true, made, half_known())[-1] > 1  # 3 dB less power, and nobody knows why


def test_without_anything_known_the_whole_is_the_reference():
    true, known = torch.ones(2 * SPAN), torch.zeros(2 * SPAN, dtype=torch.bool)
    assert fit_db(true, 0.1 * true, known) == pytest.approx(18.5, abs=1e-3)


def test_the_correction_glides_from_span_to_span():
    true, known = torch.ones(20 * SPAN), half_known(20 * SPAN)
    made = torch.where(torch.arange(20 * SPAN) < 15 * SPAN, true, 0.2 * true)
    gain_db = fit_db(true, made, known)
    assert gain_db[10 * SPAN] == 0 and gain_db[-1] > 10
    assert gain_db.diff().abs().max() < 20 / SPAN


def test_silence_is_left_alone():
    silence, sound = torch.zeros(4 * SPAN), torch.ones(4 * SPAN)
    for true, made in ((silence, sound), (sound, silence), (silence, silence)):
        assert (fit_db(true, made, half_known()) == 0).all()


def test_new_material_keeps_its_stems_place_between_the_channels(tiny_pipe):
    left = torch.cat([noise(1, 40_000), torch.zeros(1, 40_000)])
    piece = {"bass": left, "drums": noise(1, 40_000, seed=1).repeat(2, 1)}
    edited = tiny_pipe.edit(
        piece,
        44100,
        renew=dict.fromkeys(["bass", "drums", "piano"], (0.2, 0.6)),
        generator=seeded(),
    )
    assert edited["bass"][1].abs().max() == 0 and edited["bass"][0, 12_000:20_000].abs().max() > 0
    assert torch.equal(edited["drums"][0], edited["drums"][1])
    assert torch.equal(edited["piano"][0], edited["piano"][1])


def test_new_material_follows_the_level_of_the_piece(tiny_pipe):
    piece = {stem: 0.1 * noise(1, 40_000, seed=i) for i, stem in enumerate(("bass", "drums"))}
    quiet = {stem: 0.05 * waveform for stem, waveform in piece.items()}
    for task in (
        lambda given: tiny_pipe.edit(given, 16000, renew={"bass": (1, 2)}, generator=seeded()),
        lambda given: tiny_pipe.extend(given, 16000, seconds=1, generator=seeded()),
        lambda given: tiny_pipe.vary(given, 16000, strength=0.5, generator=seeded()),
    ):
        loud, soft = task(piece), task(quiet)
        assert loud["mixture"].abs().max() < 1  # so nothing is turned down
        assert torch.allclose(loud["bass"], soft["bass"] / 0.05, atol=2e-5)


RATE = 8000


def bursts(loud: float, soft: float, seconds: int = 4) -> torch.Tensor:
    """Noise that is loud for 0.1 s of each half a second, and soft."""
    places = torch.arange(seconds * RATE) % (RATE // 2)
    return noise(seconds * RATE) * torch.where(places < RATE // 10, loud, soft)


def crest_db(waveform: torch.Tensor) -> float:
    """Of the loudest 20 ms over all."""
    power = waveform.unflatten(0, (-1, RATE // 50)).square().mean(dim=1)
    return float(10 * (power.max() / power.mean()).log10())


def test_a_fill_has_the_dynamics_of_what_is_around_it():
    around, spiky = bursts(0.5, 0.25), bursts(0.8, 0.1)
    fitted = spiky * dynamics.dynamics_fit(spiky, around, RATE)
    assert crest_db(spiky) - crest_db(around) > 2
    assert abs(crest_db(fitted) - crest_db(around)) < 1.5
    level_db = 20 * (fitted.square().mean() / around.square().mean()).sqrt().log10()
    assert abs(float(level_db)) < 1


def test_rests_and_short_fills_keep_their_dynamics():
    around = bursts(0.5, 0.25)
    resting = bursts(0.5, 0.0) + 1e-3 * bursts(1, 1)
    gains = dynamics.dynamics_fit(resting, around, RATE)
    in_rest = torch.arange(len(gains)) % (RATE // 2) == RATE // 4
    assert gains[in_rest] == pytest.approx(1, abs=1e-3)
    for new, given in ((resting[:RATE], around), (resting, around[:RATE]), (0 * resting, around)):
        assert (dynamics.dynamics_fit(new, given, RATE) == 1).all()
