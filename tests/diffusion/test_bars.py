"""Bars: equal where they should be, known ones kept, free near the end."""

import pytest
import torch
from diffusers import DDIMScheduler, UniPCMultistepScheduler

from stemweave.diffusion.bars import Bars, bar_length, heard_in, in_bars, with_equal_bars
from stemweave.diffusion.constraints import KnownPositions
from stemweave.diffusion.objective import clean_estimate
from stemweave.diffusion.sampler import sample

SCHEDULE = dict(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
SHAPE = (2, 3, 4, 30, 5)
"""Four bars of seven positions and a bit."""
BARS = Bars(positions=7, above=400, gain=1.0)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def test_equal_bars_repeat_and_keep_their_size():
    clean = noise(0) + 2
    alike = with_equal_bars(clean, BARS)
    assert torch.allclose(alike[..., 7:, :], alike[..., :-7, :], atol=1e-5)
    assert torch.allclose(alike.mean(dim=3), clean.mean(dim=3), atol=0.2)
    sizes = [(part - part.mean(3, keepdim=True)).std(dim=(2, 3, 4)) for part in (alike, clean)]
    assert torch.allclose(*sizes, rtol=1e-3)
    louder = with_equal_bars(clean, Bars(7, 400, gain=1.5))
    assert torch.allclose(
        louder - louder.mean(3, keepdim=True),
        1.5 * (alike - alike.mean(3, keepdim=True)),
        atol=1e-4,
    )


def test_beats_make_a_pulse():
    bars = [Bars(8, 400), Bars(8, 400, beat_share=0.5), Bars(8, 400, beat_share=1.0)]
    unlike = []
    for some in bars:
        alike = with_equal_bars(noise(8), some)
        assert torch.allclose(alike[..., 8:, :], alike[..., :-8, :], atol=1e-5)
        unlike.append((alike[..., 2:, :] - alike[..., :-2, :]).std() / alike.std())
    assert unlike[2] < 1e-4 < unlike[1] < unlike[0]


def test_phrases_are_of_two_bars():
    alike = with_equal_bars(noise(9), Bars(7, 400, phrase_share=1.0))
    assert torch.allclose(alike[..., 14:, :], alike[..., :-14, :], atol=1e-5)
    part = with_equal_bars(noise(9), Bars(7, 400, phrase_share=0.5))
    unlike = [
        float((some[..., 7:, :] - some[..., :-7, :]).std() / some.std())
        for some in (with_equal_bars(noise(9), BARS), part, alike)
    ]
    assert unlike[0] < 1e-4 < 0.5 < unlike[1] < unlike[2]


def repeating(positions: float, height: int = 128) -> torch.Tensor:
    """Stems (2, C, H, W) whose bars of so many positions are the same, between positions, too."""
    bar = torch.randn(2, 3, 16, 5, generator=torch.Generator().manual_seed(6))
    place = torch.arange(height) % positions / positions * 2 * torch.pi
    waves = [torch.sin(place * number) for number in range(1, 9)]
    waves += [torch.cos(place * number) for number in range(1, 9)]
    return torch.einsum("kcnw,nh->kchw", bar, torch.stack(waves))


@pytest.mark.parametrize("positions", [20.0, 26.5, 31.25])
def test_the_length_of_bars_is_heard(positions: float):
    stems = repeating(positions)
    unlike = torch.randn(stems.shape, generator=torch.Generator().manual_seed(7))
    every = torch.ones(2, 128, dtype=torch.bool)
    assert bar_length(stems + 0.5 * unlike, every, 0.08) == pytest.approx(positions, abs=0.25)
    assert bar_length(unlike, every, 0.08) is None
    assert bar_length(torch.zeros_like(stems), every, 0.08) is None
    assert bar_length(stems[:, :, :20], every[:, :20], 0.08) is None  # too short for two bars

    known = torch.zeros(2, 128, dtype=torch.bool)
    wanted, to_be_heard = Bars(7, 400), Bars(None, 400, 1.5)
    assert heard_in(to_be_heard, stems[None], None, 0.08) is None
    assert heard_in(None, stems[None], known[None], 0.08) is None
    assert heard_in(wanted, stems[None], known[None], 0.08) is wanted
    assert heard_in(to_be_heard, stems[None], known[None], 0.08) is None
    known[1, :20] = True  # too short, again
    assert heard_in(to_be_heard, stems[None], known[None], 0.08) is None
    known[1] = True
    found = heard_in(to_be_heard, torch.stack([unlike[0], stems[1]])[None], known[None], 0.08)
    assert found is not None and found.positions == pytest.approx(positions, abs=0.25)
    assert (found.above, found.gain) == (400, 1.5)


@pytest.mark.parametrize("shown", [slice(0, 80), slice(48, 128), slice(0, 128, 2)])
def test_bars_are_heard_where_something_is_known(shown: slice):
    """A beginning, an end, and what lies around gaps; whatever fills the rest."""
    known = torch.zeros(2, 128, dtype=torch.bool)
    known[:, shown] = True
    filled = torch.where(known[:, None, :, None], repeating(26.5), 100 * repeating(20.0))
    assert bar_length(filled, known, 0.08) == pytest.approx(26.5, abs=0.5)


def test_bars_between_positions_are_averaged():
    stems = repeating(26.5)[None]
    kept = with_equal_bars(stems, Bars(26.5, 0))
    assert (kept - stems).std() < 0.25 * stems.std()  # what lies between positions is blurred
    assert (with_equal_bars(stems, Bars(23.0, 0)) - stems).std() > 0.9 * stems.std()


def test_what_repeats_already_is_left_alone():
    bar = noise(1)[..., :7, :]
    piece = bar.repeat(1, 1, 1, 5, 1)[..., :30, :]
    assert torch.allclose(with_equal_bars(piece, BARS), piece, atol=1e-4)


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon"])
def test_predictions_are_of_equal_bars_down_to_the_timestep(kind: str):
    scheduler = DDIMScheduler(**SCHEDULE, prediction_type=kind)
    own = noise(2)
    predict = in_bars(lambda latents, timestep, known: own, scheduler, BARS)
    latents, early, late = noise(3), torch.tensor([900, 900]), torch.tensor([400, 400])
    assert torch.equal(predict(latents, late, None), own)
    changed = clean_estimate(scheduler, latents, predict(latents, early, None), early[:, None])
    alike = with_equal_bars(clean_estimate(scheduler, latents, own, early[:, None]), BARS)
    assert torch.allclose(changed, alike, atol=1e-3)
    assert in_bars(predict, scheduler, None) is predict


def test_new_bars_are_like_known_ones():
    scheduler = UniPCMultistepScheduler(
        **SCHEDULE, prediction_type="v_prediction", rescale_betas_zero_snr=True
    )
    bar = noise(4)[..., :7, :]
    clean = bar.repeat(1, 1, 1, 5, 1)[..., :30, :]
    known = torch.zeros(2, 3, 30, dtype=torch.bool)
    known[..., :14] = True

    def knows_nothing(latents, timestep, known):  # the mean of all music is silence
        alpha = scheduler.alphas_cumprod[timestep].reshape(-1, 1, 1, 1, 1)
        return latents * alpha.sqrt() / (1 - alpha).sqrt()

    drawn = {
        bars: sample(
            in_bars(knows_nothing, scheduler, bars),
            scheduler,
            noise(5),
            8,
            constraint=KnownPositions(clean, known),
        )
        for bars in (None, Bars(7, 0))
    }
    assert all(torch.equal(piece[..., :14, :], clean[..., :14, :]) for piece in drawn.values())
    agreement = {
        bars: torch.corrcoef(
            torch.stack([piece[..., 14:, :].flatten(), clean[..., 14:, :].flatten()])
        )[0, 1]
        for bars, piece in drawn.items()
    }
    assert abs(agreement[None]) < 0.2 < 0.9 < agreement[Bars(7, 0)]
