"""Factorised stems: what is played again and again finds its stem."""

import pytest
import torch

from stemweave.audio.factorisation import Factors, factorise


def two_players() -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes (1, 2, bins, frames) of two stems with three notes each, and poor masks of them.

    In every note that a stem plays one mask in three is wrong.
    """
    generator = torch.Generator().manual_seed(1)
    notes = torch.rand(2, 40, 3, generator=generator) ** 6
    played = (torch.rand(2, 3, 60, generator=generator) > 0.6).float()
    stems = (notes @ played)[None] + 1e-4
    masks = stems / stems.sum(1, keepdim=True)
    wrong = torch.rand(1, 1, 40, 60, generator=generator) < 1 / 3
    return stems, torch.where(wrong, masks.flip(1), masks)


def error(masks: torch.Tensor, stems: torch.Tensor) -> float:
    return (masks * stems.sum(1, keepdim=True) - stems).square().sum().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_most_moments_agree_on_wins(dtype: torch.dtype):
    stems, masks = two_players()
    mixture = stems.sum(1, keepdim=True)
    factors = factorise(masks * mixture, 3, dtype=dtype)
    assert factors.templates.dtype == factors.activations.dtype == torch.float32
    found = factors.masks()
    assert torch.allclose(found.sum(1), torch.ones(1, 40, 60), atol=1e-2)
    assert error(found, stems) < 0.25 * error(masks, stems)


def test_the_same_parts_give_the_same_factors_in_any_order():
    stems, masks = two_players()
    parts = masks * stems.sum(1, keepdim=True)
    found = factorise(parts, 3).masks()
    assert torch.equal(found, factorise(parts, 3).masks())
    assert torch.allclose(factorise(parts.flip(1), 3).masks().flip(1), found, atol=1e-4)
    louder = factorise(100 * parts, 3).masks()
    assert torch.allclose(louder, found, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_silence_is_explained_by_nothing(dtype: torch.dtype):
    masks = factorise(torch.zeros(1, 2, 8, 5), 2, dtype=dtype).masks()
    assert masks.isfinite().all() and (masks <= 1).all()


def test_balanced_factors_fit_half_precision():
    stems, _ = two_players()
    factors = factorise(1e4 * stems, 3)
    half = Factors(*(factor.half() for factor in factors.normalised()))
    assert half.templates.max() == 1
    assert torch.allclose(half.masks(), factors.masks(), atol=2e-3)


def test_a_spectrum_found_in_the_wrong_stem_is_given_to_whose_it_is():
    stems, masks = two_players()
    mixture = stems.sum(1, keepdim=True)
    factors = factorise(stems, 3)
    swapped = Factors(factors.templates.flip(2), factors.activations.flip(2))
    found = swapped.component_masks(masks * mixture)
    assert torch.allclose(found.sum(1), torch.ones(1, 40, 60), atol=1e-2)
    errors = [error(some, stems) for some in (found, masks, swapped.masks())]
    assert errors[0] < 0.5 * errors[1] < 0.5 * errors[2]
    silent = swapped.component_masks(torch.zeros_like(stems))
    assert silent.isfinite().all() and (silent <= 1).all()
