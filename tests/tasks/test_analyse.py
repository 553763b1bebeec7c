"""Lead sheets of recordings of any level and length."""

import pytest
import torch

from stemweave.model import StemModel
from stemweave.models.analyser import SongAnalyser
from stemweave.music.lead_sheet import LeadSheet
from stemweave.tasks.compose import summed
from tests.conftest import make_tiny_pipeline

RATE = 44100
LARGEST = torch.finfo(torch.float32).max


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    """A tiny model with an analyser none of whose layers is silent."""
    pipe = make_tiny_pipeline()
    torch.manual_seed(0)
    pipe.analyser = SongAnalyser(("4/4", "3/4"), channels=16, dilations=(1, 2)).eval()
    for parameter in pipe.analyser.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return pipe


def beats(seconds: float) -> torch.Tensor:
    """(2, samples): a tone that begins twice a second."""
    time_s = torch.arange(round(seconds * RATE)) / RATE
    tone = torch.sin(2 * torch.pi * 220 * time_s) * torch.exp(-20 * (time_s % 0.5))
    return torch.stack([tone, 0.5 * tone])


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
def test_a_sheet_does_not_depend_on_the_level(pipe: StemModel, scale: float):
    waveform = beats(8.0)
    sheet = pipe.analyse(waveform, RATE)
    assert sheet != LeadSheet()
    assert pipe.analyse(scale * waveform, RATE) == sheet


@pytest.mark.parametrize("num_samples", [1, 2, 300, 3 * RATE])
@pytest.mark.parametrize("peak", [0.0, 1e-38, 1.0, 1e20, 3e38])
def test_any_signal_is_analysed(pipe: StemModel, peak: float, num_samples: int):
    sheet = pipe.analyse(peak * beats(4.0)[:, 100 : 100 + num_samples], RATE)
    assert isinstance(sheet, LeadSheet)


def test_the_sum_of_stems_is_finite_whatever_they_are(pipe: StemModel):
    loud = dict.fromkeys(("bass", "drums"), torch.full((2, 4000), LARGEST))
    assert summed(pipe, loud).isfinite().all()
    piece = {"bass": beats(1.0), "drums": beats(1.0).flip(1)}
    assert torch.equal(summed(pipe, piece), piece["bass"] + piece["drums"])
    assert torch.equal(summed(pipe, {"mixture": beats(1.0)}), beats(1.0))
