"""Places of stems: the mean of the channels stays, sides are opposite, images are taken over."""

import pytest
import torch

from stemweave.audio import stereo

RATE = 44100


def noise(num_samples: int = RATE, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


def level_db(waveform: torch.Tensor) -> float:
    return 10 * waveform.square().mean().log10().item()


@pytest.mark.parametrize("stem", ["bass", "drums", "guitar", "piano", "voice"])
def test_nothing_is_lost_in_mono(stem: str):
    waveform = noise()
    played = stereo.placed(waveform, stem, 1, RATE)
    assert (played.mean(dim=0) - waveform).abs().max() < 1e-6
    assert level_db(played) - level_db(waveform) < 0.5
    assert torch.equal(played[0], played[1]) == (stem == "bass")


def test_the_low_band_of_drums_stays_in_the_middle():
    side = stereo.placed(noise(), "drums", 1, RATE).diff(dim=0)[0]
    energy = torch.fft.rfft(side).abs().square()  # Hz
    assert energy[:100].mean() < 1e-2 * energy[500:5000].mean()


def test_guitar_and_piano_are_on_opposite_sides_that_are_drawn():
    sides = {stereo.drawn_side({}, torch.Generator().manual_seed(seed)) for seed in range(8)}
    assert sides == {1, -1}
    for side in sides:
        placed = {name: stereo.placed(noise(), name, side, RATE) for name in ("guitar", "piano")}
        louder = {name: level_db(left) > level_db(right) for name, (left, right) in placed.items()}
        assert louder == {"guitar": side == 1, "piano": side == -1}
        for name, stem in placed.items():  # the other one goes to the other side
            for seed in range(4):
                generator = torch.Generator().manual_seed(seed)
                assert stereo.drawn_side({name: stem}, generator) == side


@pytest.mark.parametrize(("balance", "width"), [(0.0, 0.0), (0.6, 0.0), (-0.9, 0.0), (0.3, 0.4)])
def test_new_material_has_the_image_of_the_stem(balance: float, width: float):
    old, new = noise(), noise(seed=1)
    side, echoes = balance * old, width * noise(seed=2)
    original = torch.stack([old + side + echoes, old - side - echoes])
    played = stereo.placed_like(original, new, RATE)
    assert (played.mean(dim=0) - new).abs().max() < 1e-6
    for channel in (0, 1):
        assert level_db(played[channel]) == pytest.approx(level_db(original[channel]), abs=0.3)
    correlation = torch.corrcoef(played)[0, 1] - torch.corrcoef(original)[0, 1]
    assert abs(correlation) < 0.02


def test_channels_that_cancel_and_more_than_two_have_their_levels():
    old, new = noise(), noise(seed=1)
    turned = stereo.placed_like(torch.stack([old, -old]), new, RATE)
    assert torch.allclose(turned, torch.stack([new, -new]))
    quad = stereo.placed_like(old * torch.tensor([[1.0], [1.0], [2.0], [0.0]]), new, RATE)
    assert torch.allclose(quad, new * torch.tensor([[1.0], [1.0], [2.0], [0.0]]), atol=1e-6)
    assert torch.equal(stereo.placed_like(torch.zeros(2, 9), new, RATE), new.expand(2, -1))
