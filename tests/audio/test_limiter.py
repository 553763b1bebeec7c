"""The limiter keeps sums below full scale, changes nothing else, and glides."""

import torch

from stemweave.audio.limiter import MIN_GAIN, limited

RATE = 16_000


def tone(level: float, seconds: float = 1.0) -> torch.Tensor:
    return level * torch.sin(torch.arange(round(seconds * RATE)) * 0.3)[None]


def test_what_is_not_too_loud_comes_back_as_it_is():
    new = torch.stack([tone(0.4), tone(-0.3)])
    assert limited(new, RATE) is new
    assert limited(new, RATE, given=tone(0.8)) is new


def test_a_loud_moment_is_brought_to_full_scale_and_the_rest_stays():
    new = torch.stack([tone(0.5), tone(0.4)])
    new[:, :, 8000:8400] *= 2
    heard = limited(new, RATE)
    assert 0.9 < heard.sum(dim=0).abs().max() <= 1.0001
    assert torch.equal(heard[..., :7700], new[..., :7700])
    assert torch.equal(heard[..., 8700:], new[..., 8700:])
    gain = heard[0, 0] / new[0, 0]
    gain = gain[new[0, 0].abs() > 0.05]
    assert gain.diff().abs().max() < 0.05  # it glides
    assert torch.allclose(heard[0] * 4, heard[1] * 5, atol=1e-5)  # the balance of the stems stays


def test_given_stems_are_left_room():
    given, new = tone(0.9), torch.stack([tone(0.6)])
    heard = limited(new, RATE, given)
    assert (heard.sum(dim=0) + given).abs().max() <= 0.9 + 0.6 * MIN_GAIN + 1e-4
    loud = tone(1.5)
    heard = limited(torch.stack([tone(0.1)]), RATE, loud)
    assert (heard.sum(dim=0) + loud).abs().max() <= 1.5 + 0.1 * MIN_GAIN + 1e-4


def test_a_stem_that_others_cancel_is_no_louder_than_full_scale_either():
    new = torch.stack([tone(1.3), tone(-0.9)])
    heard = limited(new, RATE)
    assert 0.95 < heard[0].abs().max() <= 1.0001
    assert torch.allclose(heard[0] * 9, heard[1] * -13, atol=1e-4)


def test_channels_share_one_gain():
    new = torch.stack([torch.cat([tone(1.6), tone(0.2)])])
    heard = limited(new, RATE)
    assert heard[0, 0].abs().max() <= 1.0001
    assert torch.allclose(heard[0, 1] * 8, heard[0, 0], atol=1e-4)
