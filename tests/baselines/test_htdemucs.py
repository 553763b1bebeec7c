"""HTDemucs: shapes at any length, and what its wrapper adds to the package's network."""

import torch

from baselines.htdemucs import SmallHTDemucs

from .conftest import STEMS, TINY, require_package


@torch.inference_mode()
def test_separation_of_any_length_and_level():
    require_package("htdemucs")
    torch.manual_seed(0)
    model = SmallHTDemucs(STEMS, segment_s=0.5, **TINY["htdemucs"]).eval()
    mixture = 0.1 * torch.randn(19_001)
    stems = model.separate(mixture, torch.Generator())
    assert stems.shape == (4, 19_001) and stems.abs().max() > 0
    louder = model.separate(8 * mixture, torch.Generator())
    assert torch.allclose(louder, 8 * stems, rtol=1e-2, atol=1e-3)
    exact = torch.stack([mixture[:8000] / 4] * 4)[None]
    assert model.loss(lambda mix: exact, exact, torch.Generator()) == 0
    assert model(mixture[None, :8000]).shape == (1, 4, 8000)
