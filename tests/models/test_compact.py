"""Attention along time: where it begins, what it hears, and that it knows distances."""

import pytest
import torch

from stemweave.models.compact import CompactUNet, TimeAttention, turned


def trained_attention() -> TimeAttention:
    torch.manual_seed(0)
    attention = TimeAttention(32, head_channels=16).eval()
    torch.nn.init.normal_(attention.project.weight)
    return attention


def hidden(height: int = 12, width: int = 4) -> torch.Tensor:
    return torch.randn(1, 32, height, width, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_band_hears_itself_at_all_times():
    attention = trained_attention()
    attention.norm = torch.nn.Identity()  # whose groups hold all bands
    given = hidden()
    changed = given.clone()
    changed[:, :, 11, 2] += 1
    difference = (attention(changed, None) - attention(given, None))[0].abs().amax(dim=0)
    assert (difference[:, 2] > 1e-3).all()
    assert (difference[:, [0, 1, 3]] == 0).all()


@torch.inference_mode()
def test_what_it_hears_depends_on_when_it_was():
    attention = trained_attention()
    given = hidden()
    order = torch.tensor([0, *range(11, 0, -1)])  # the first stays, all others change places
    heard, mirrored = attention(given, None), attention(given[:, :, order], None)
    assert not torch.allclose(heard[:, :, 0], mirrored[:, :, 0], atol=1e-3)


def test_only_distances_count():
    angles = trained_attention().angles(100, torch.device("cpu"))
    query, key = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(2))

    def score(at: int, of: int) -> float:
        at_query, at_key = turned(query, angles[at : at + 1]), turned(key, angles[of : of + 1])
        return (at_query * at_key).sum().item()

    assert score(7, 3) == pytest.approx(score(97, 93), abs=1e-3)
    assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-2)


@torch.inference_mode()
def test_a_network_with_it_takes_any_length():
    torch.manual_seed(0)
    sizes = {"latent_channels": 2, "latent_bands": 8, "block_channels": (16, 32)}
    network = CompactUNet(
        **sizes, attention_levels=(), head_channels=16, time_attention_levels=(0, 1)
    )
    assert sum(isinstance(module, TimeAttention) for module in network.modules()) == 4
    plain = CompactUNet(**sizes, attention_levels=(), head_channels=16)
    torch.nn.init.normal_(plain.conv_out.weight)
    assert network.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    for height in (8, 20):
        latents = torch.randn(1, 4, 2, height, 8)
        timestep = torch.tensor([500])
        assert torch.equal(network(latents, timestep), plain(latents, timestep))
        assert network(latents, timestep).std() > 0.1
