"""The table of passes: who draws with what, and paired ratios of distances."""

import numpy as np
import pytest
import torch

from stemweave.cli.options import whole_numbers
from stemweave.diffusion.schedulers import sampler_name
from stemweave.errors import InputError
from stemweave.evaluation import generation, steps
from stemweave.evaluation.frechet import ClipSet, fad, ratio_with_interval
from stemweave.evaluation.segments import find_songs
from stemweave.stems import STEMS

from .toys import BandEnergies, ToyPipeline


class NoisierWithFewPasses(ToyPipeline):
    """Generated stems have noise of the share 1 / steps on top; notes who drew what."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[str, int]] = []

    def separate(self, waveform, sample_rate, method="mask", steps=None, **options):
        self.drawn.append((sampler_name(self.scheduler), steps))
        return super().separate(waveform, sample_rate, method, **options)

    def generate(self, seconds, generator, sample_rate, mono, steps=None):
        self.drawn.append((sampler_name(self.scheduler), steps))
        piece = super().generate(seconds, generator, sample_rate, mono, steps)
        tone = torch.sin(torch.arange(piece["mixture"].shape[-1]) * 0.3)
        return {name: stem / steps + 0.05 * tone for name, stem in piece.items()}


def test_every_row_draws_by_its_sampler_and_number_of_passes(pipe, data) -> None:
    noisier = NoisierWithFewPasses()
    own = noisier.scheduler
    table = steps.evaluate_steps(
        noisier,
        find_songs(data, STEMS),
        embedding=BandEnergies(),
        samplers=("ddim", "unipc"),
        separation_steps=(2, 1),
        generation_steps=(1, 4),
        num_segments=2,
        num_clips=4,
        resamples=10,
    ).table
    rows = ["ddim, 1 pass", "ddim, 2 passes", "unipc, 1 pass", "unipc, 2 passes"]
    assert list(table.measures[steps.SI_SDRI]) == rows
    assert table.value(steps.SI_SDRI, rows[0], "mean") == pytest.approx(0, abs=1e-3)
    assert table.value(steps.SPECTRA_MSE, rows[0], "bass") > 0.1
    assert noisier.scheduler is own
    drawn = [("ddim", 1), ("ddim", 2), ("unipc", 1), ("unipc", 2)]
    assert noisier.drawn[:8] == [one for one in drawn for _ in range(2)]
    assert noisier.drawn[8:] == [
        (name, count) for name in ("ddim", "unipc") for count in (1, 4) for _ in range(4)
    ]
    distances = table.measures[generation.distance_measure("bands")]
    assert next(iter(distances)) == generation.FLOOR_ROW
    assert distances["unipc, 4 passes"][steps.RATIO].value == 1.0
    expected = distances["ddim, 1 pass"]["FAD"].value / distances["ddim, 4 passes"]["FAD"].value
    assert distances["ddim, 1 pass"][steps.RATIO].value == pytest.approx(expected)
    assert table.measures[steps.SECONDS]["ddim, 1 pass"]["median"].count == 4


def test_halves_can_be_left_out(pipe, data) -> None:
    songs = find_songs(data, STEMS)
    options = dict(embedding=BandEnergies(), samplers=("ddim",), resamples=2)
    separated = steps.evaluate_steps(pipe, songs, num_segments=1, num_clips=0, **options)
    assert all(measure.startswith("separation") for measure in separated.table.measures)
    made = steps.evaluate_steps(pipe, songs, num_segments=0, num_clips=2, **options)
    assert not any(measure.startswith("separation") for measure in made.table.measures)
    with pytest.raises(InputError, match="2 songs"):
        steps.evaluate_steps(pipe, songs[:1], num_segments=0, num_clips=4, **options)
    with pytest.raises(InputError, match="euler is no sampler"):
        steps.evaluate_steps(pipe, songs, embedding=BandEnergies(), samplers=("euler",))


def test_ratio_is_paired() -> None:
    drawn = np.random.default_rng(0)
    reference, clips = drawn.normal(0, 1, (100, 1, 3)), drawn.normal(1, 1, (100, 1, 3))
    base, first, second = (ClipSet.of(one) for one in (reference, clips, clips + 0.01))
    ratio = ratio_with_interval(base, first, second)
    assert ratio.value == pytest.approx(fad(base, first) / fad(base, second))
    assert ratio.low is not None and ratio.high is not None
    assert ratio.high - ratio.low < 0.02  # FAD itself is uncertain by a third
    with pytest.raises(ValueError, match="as many clips"):
        ratio_with_interval(base, first, ClipSet.of(clips[:50]))


def test_passes_are_read_from_an_option() -> None:
    assert whole_numbers("--generation", "8, 16") == [8, 16]
    for text in ("", "8;16", "0", "4,1001"):
        with pytest.raises(InputError, match="--generation takes numbers"):
            whole_numbers("--generation", text)
