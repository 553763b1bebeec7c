"""The tables of docs/scale.md are computed from the committed rates; the rates are plausible."""

import json
from pathlib import Path

import pytest

from tests.scripts import script

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def scale():
    """scripts/scale_table.py as a module."""
    return script("scale_table")


@pytest.fixture(scope="module")
def rates() -> dict[str, float]:
    return json.loads((ROOT / "docs/scale_rates.json").read_text())["rates"]


def test_the_document_has_the_computed_tables(scale, rates):
    document = (ROOT / "docs/scale.md").read_text()
    assert scale.with_tables(document, scale.as_markdown(rates, scale.Assumptions())) == document


def test_rates_agree_with_what_is_known(rates):
    assert rates["unet_parameters"] == pytest.approx(305.2e6, rel=1e-3)
    assert rates["unet_forward_flops"] == pytest.approx(1855e9, rel=1e-3)
    assert 2.9 < rates["unet_step_flops"] / rates["unet_forward_flops"] < 3.1
    values_an_hour = 5 * 8 * 256 * 16 * 3600 / 10.24
    assert rates["latents_paper_bytes"] == pytest.approx(2 * values_an_hour, rel=0.02)
    assert rates["flac_16k_bytes"] < 4 * 2 * 16000 * 3600


def test_rates_of_separation_agree_with_what_is_known(scale, rates):
    assert rates["separate_wav_bytes"] == pytest.approx(4 * 2 * 4 * 44_100 * 3600, rel=1e-3)
    assert rates["separate_flac_bytes"] < rates["separate_wav_bytes"]
    assert rates["mixture_flac_bytes"] < 2 * 2 * 44_100 * 3600
    assert scale.networks_cpu_s(rates) < rates["separate_wav_cpu_s"] / 3600
    flops = scale.separation_flops(rates, scale.Assumptions())
    assert flops["paper"] == pytest.approx(400 * rates["unet_forward_flops"], rel=0.01)
    assert rates["separate_bundled_flops"] < rates["unet_forward_flops"] / 10


def test_a_catalogue_scales_with_its_songs_and_steps(scale, rates):
    def gpu_hours(**assumed: float) -> list[float]:
        lines = scale.catalogue_table(rates, scale.Assumptions(**assumed)).splitlines()
        (line,) = [line for line in lines if "GPU-hours" in line]
        return [float(cell.replace(" ", "")) for cell in line.strip("| ").split(" | ")[1:]]

    bundled, paper = gpu_hours()
    assert gpu_hours(songs=2_000_000) == pytest.approx([2 * bundled, 2 * paper], rel=0.01)
    assert gpu_hours(steps=20) == pytest.approx([bundled, paper / 10], rel=0.05)


def test_prices_scale_what_they_should(scale, rates):
    def dollars(**assumed: float) -> list[list[str]]:
        table = scale.sizes_table(rates, scale.Assumptions(**assumed))
        lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
        return [line for line in lines if line[0] == "train the U-Net"]

    hours, price = dollars(gpu_price=1.0)
    assert hours == price
    half, _ = dollars(utilisation=0.7)
    expected = scale.gpu_hours(
        rates["unet_step_flops"] * 145 * 3600 / 10.24 * 100, scale.Assumptions(utilisation=0.7)
    )
    assert half[1] == scale.number(expected)
