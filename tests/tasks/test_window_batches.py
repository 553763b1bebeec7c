"""Several windows at once give what one after another gives."""

from dataclasses import replace

import pytest
import torch

from stemweave.errors import InputError
from stemweave.model import StemModel
from stemweave.tasks.separate import _of_window
from tests.conftest import make_tiny_pipeline

RATE = 16000


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    """A tiny model, none of whose layers is silent."""
    pipe = make_tiny_pipeline()
    for parameter in pipe.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return pipe


def separated(pipe: StemModel, batch: int | None, **options) -> torch.Tensor:
    mixture = 0.1 * torch.randn(1, 6 * RATE, generator=torch.Generator().manual_seed(0))
    mixture[:, RATE : 4 * RATE] = 0  # silent windows in between
    generator = torch.Generator().manual_seed(1)
    stems = pipe.separate(
        mixture, RATE, steps=2, generator=generator, batch_windows=batch, **options
    )
    return torch.stack(list(stems.values()))


@pytest.mark.parametrize("batch", [2, 3, 50])
@pytest.mark.parametrize("is_stochastic", [False, True])
@pytest.mark.parametrize("method", ["diffusion", "vocoder"])
def test_batches_change_nothing(pipe, batch: int, is_stochastic: bool, method: str):
    pipe.config = replace(pipe.config, eta=float(is_stochastic), sample_posterior=is_stochastic)
    one_by_one = separated(pipe, 1, method=method, guidance=2.0)
    together = separated(pipe, batch, method=method, guidance=2.0)
    assert one_by_one.abs().max() > 0
    assert (together - one_by_one).abs().max() <= 1e-4 * one_by_one.abs().max()


def test_windows_draw_different_noise(pipe):
    pipe.config = replace(pipe.config, eta=1.0, sample_posterior=True)
    generator = torch.Generator().manual_seed(0)
    assert len({_of_window(pipe, generator).initial_seed() for _ in range(9)}) == 9


def test_no_windows_at_once_is_refused(pipe):
    with pytest.raises(InputError, match="at least 1"):
        separated(pipe, 0)
