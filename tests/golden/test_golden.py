"""The bundled model makes what it made: no change of code alters results unseen."""

import numpy as np
import pytest

from tests.golden.cases import CASES, STORED, samples_of

TOLERANCE = 1e-4
"""Absolute; peaks are near 1. CPUs order sums differently."""


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(STORED) as file:
        return dict(file)


@pytest.mark.parametrize("case", CASES)
def test_results_are_as_stored(case: str, stored: dict[str, np.ndarray]):
    found = samples_of(CASES[case]())
    assert {f"{case}/{name}" for name in found} == {
        name for name in stored if name.startswith(f"{case}/")
    }
    worst = {name: abs(values - stored[f"{case}/{name}"]).max() for name, values in found.items()}
    assert max(worst.values()) < TOLERANCE, f"differences {worst}: python -m tests.golden renews"
