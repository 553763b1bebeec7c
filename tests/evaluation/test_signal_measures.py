"""SI-SDR, SDR and silence against closed forms."""

import math

import fast_bss_eval
import pytest
import torch

from stemweave.evaluation.signal_measures import (
    MIXED_DB,
    SI_SDR_RANGE_DB,
    is_alone,
    is_mixed,
    is_silent,
    log_mel_l1,
    log_mel_mse,
    rms_dbfs,
    sdr_db,
    si_sdr_db,
)


def orthogonal_noise(reference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    overlap = (noise * reference).sum() / reference.square().sum()
    noise = noise - overlap * reference
    return noise / noise.norm() * reference.norm()


@pytest.mark.parametrize("level_db", [-10.0, 0.0, 20.0])
def test_si_sdr_equals_known_noise_level_at_any_scale(level_db: float) -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(4000, generator=generator, dtype=torch.float64)
    noise = orthogonal_noise(reference, generator) * 10 ** (-level_db / 20)
    for scale in (1.0, 0.01, 30.0):
        measured = si_sdr_db(scale * (reference + noise), reference).item()
        assert measured == pytest.approx(level_db, abs=1e-6)


def test_si_sdr_equals_fast_bss_eval_and_keeps_the_mean() -> None:
    generator = torch.Generator().manual_seed(5)
    reference = 0.1 * torch.randn(3, 4000, generator=generator) + 0.02
    estimate = reference.flip(0) + 0.3 * reference + 0.01
    theirs = -fast_bss_eval.si_sdr_loss(estimate.double(), reference.double(), zero_mean=False)
    assert torch.allclose(si_sdr_db(estimate, reference), theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("levels_db", "mixed", "alone"),
    [
        ((-20, -25, -70), [True, True, False], [False, False, False]),
        ((-20, -54, -70), [True, True, False], [False, False, False]),
        ((-20, -56, -70), [False, False, False], [True, False, False]),  # the second is buried
        ((-20, -70, -70), [False, False, False], [True, False, False]),
        ((-70, -70, -70), [False, False, False], [False, False, False]),
    ],
)
def test_mixed_stems_are_neither_silent_nor_buried_nor_alone(levels_db, mixed, alone) -> None:
    generator = torch.Generator().manual_seed(6)
    stems = torch.stack(
        [
            noise / noise.square().mean().sqrt() * 10 ** (level_db / 20)
            for noise, level_db in zip(
                torch.randn(3, 8000, generator=generator), levels_db, strict=True
            )
        ]
    )
    assert MIXED_DB == -35
    assert is_mixed(stems, stems.sum(0)).tolist() == mixed
    assert is_alone(stems, stems.sum(0)).tolist() == alone


def test_silent_estimate_gets_the_floor_and_perfect_one_the_ceiling() -> None:
    reference = torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))
    assert si_sdr_db(torch.zeros(2, 1000), reference).tolist() == [SI_SDR_RANGE_DB[0]] * 2
    assert (si_sdr_db(reference, reference) > 90).all()


def test_sdr_forgives_a_short_filter_that_si_sdr_does_not() -> None:
    reference = torch.randn(1, 8000, generator=torch.Generator().manual_seed(2))
    filtered = torch.nn.functional.pad(reference, (5, 0))[:, :8000] * 0.5 + 0.3 * reference
    assert sdr_db(filtered, reference).item() > 25
    assert si_sdr_db(filtered, reference).item() < 10


def test_sdr_keeps_the_order_of_pairs() -> None:
    generator = torch.Generator().manual_seed(3)
    reference = torch.randn(2, 4000, generator=generator)
    swapped = reference.flip(0)
    assert (sdr_db(swapped, reference) < 0).all()
    assert (sdr_db(reference, reference) > 60).all()


def test_rms_and_silence_rule() -> None:
    sine = torch.sin(2 * math.pi * 100 * torch.arange(16000) / 16000)
    assert rms_dbfs(sine).item() == pytest.approx(20 * math.log10(math.sqrt(0.5)), abs=1e-3)
    levels_db = torch.tensor([-59.0, -61.0])
    constant = (10 ** (levels_db / 20))[:, None].expand(2, 100)
    assert is_silent(constant).tolist() == [False, True]
    assert is_silent(torch.zeros(10)).item()


def test_log_mel_errors_of_a_constant_offset() -> None:
    log_mel = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(4))
    offset = torch.tensor([0.5, -1.0, 2.0])[:, None, None]
    assert torch.allclose(log_mel_mse(log_mel + offset, log_mel), torch.tensor([0.25, 1.0, 4.0]))
    assert torch.allclose(log_mel_l1(log_mel + offset, log_mel), torch.tensor([0.5, 1.0, 2.0]))
