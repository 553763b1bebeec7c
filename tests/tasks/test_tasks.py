"""Separation, generation and arrangement with a tiny model: shapes, sums, what is held fixed."""

from itertools import combinations

import pytest
import torch

from stemweave.model import StemModel
from stemweave.tasks import context, generate
from stemweave.tasks.spectra import vocode
from tests.conftest import make_tiny_pipeline

STEMS = ("bass", "drums", "guitar", "piano")
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(STEMS, size)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("sample_rate", "channels", "num_samples"),
    [(16000, 1, 20480), (44100, 2, 200_001), (48000, 6, 30_000), (8000, 1, 700), (192_000, 1, 9)],
)
def test_separated_stems_add_up(
    tiny_pipe: StemModel, sample_rate: int, channels: int, num_samples: int
):
    mixture = noise(channels, num_samples)
    stems = tiny_pipe.separate(mixture, sample_rate, generator=seeded())
    assert tuple(stems) == STEMS
    assert all(stem.shape == mixture.shape for stem in stems.values())
    assert (sum(stems.values()) - mixture).abs().max() < 1e-6


def test_chosen_stems_are_those_of_the_whole_separation(tiny_pipe: StemModel):
    mixture = noise(1, 40_000)
    whole = tiny_pipe.separate(mixture, 16000, generator=seeded())
    chosen = tiny_pipe.separate(mixture, 16000, stems=["drums"], generator=seeded())
    assert list(chosen) == ["drums"]
    assert torch.equal(chosen["drums"], whole["drums"])


def test_progress_counts_windows(tiny_pipe: StemModel):
    calls: list[tuple[int, int]] = []
    tiny_pipe.separate(noise(1, 60_000), 16000, progress=lambda *call: calls.append(call))
    assert calls == [(i + 1, len(calls)) for i in range(len(calls))] and len(calls) == 4


@pytest.mark.parametrize("seconds", [0.5, 1.28, 4.0])
def test_generated_piece(tiny_pipe: StemModel, seconds: float):
    piece = tiny_pipe.generate(seconds, generator=seeded())
    again = tiny_pipe.generate(seconds, generator=seeded())
    other = tiny_pipe.generate(seconds, generator=seeded(1))
    assert list(piece) == [*STEMS, "mixture"]
    for name, waveform in piece.items():
        assert waveform.shape == (1, round(seconds * 16000))
        assert torch.equal(waveform, again[name])
        assert not torch.equal(waveform, other[name])
    stems = torch.stack([piece[stem] for stem in STEMS])
    assert torch.allclose(stems.sum(0), piece["mixture"], atol=1e-6)


@pytest.mark.parametrize("given", SUBSETS)
def test_arrangement_of_every_subset(tiny_pipe: StemModel, given: tuple[str, ...]):
    waveforms = {stem: noise(2, 30_000, seed=index) for index, stem in enumerate(given)}
    piece = tiny_pipe.arrange(waveforms, 22050, generator=seeded())
    assert list(piece) == [*STEMS, "mixture"]
    for stem in STEMS:
        assert piece[stem].shape == (2, 30_000)
        if stem in given:
            assert torch.equal(piece[stem], waveforms[stem])
        else:
            assert piece[stem].abs().max() > 0
    stems = torch.stack([piece[stem] for stem in STEMS])
    assert torch.allclose(stems.sum(0), piece["mixture"], atol=1e-6)


def test_arrangement_longer_than_a_window_by_both_ways(tiny_pipe: StemModel):
    given = {"drums": noise(1, 70_000)}
    known = tiny_pipe.arrange(given, 16000, add=["bass"], generator=seeded())
    replaced = tiny_pipe.arrange(
        given, 16000, add=["bass"], inpainting="replace", generator=seeded()
    )
    assert list(known) == list(replaced) == ["bass", "drums", "mixture"]
    assert known["bass"].shape == (1, 70_000)
    assert not torch.equal(known["bass"], replaced["bass"])


def test_drawn_stems_are_no_louder_than_training_was(monkeypatch: pytest.MonkeyPatch):
    pipe, limits = make_tiny_pipeline(), torch.tensor([-5.0, -4.9, -4.8, -4.7])
    played = []

    def record(model: StemModel, log_mels: torch.Tensor, stems: list[str]) -> torch.Tensor:
        played.append(log_mels.flatten(1).amax(dim=1))
        return vocode(model, log_mels, stems)

    for task in (generate, context):
        monkeypatch.setattr(task, "vocode", record)
    given = {"drums": noise(1, 20480)}
    for loudest in (None, limits.tolist()):
        pipe.denoiser.register_to_config(max_log_mels=loudest)
        pipe.generate(1.28, generator=seeded())
        pipe.arrange(given, 16000, add=["piano", "bass"], generator=seeded())
    assert (played[0] > limits).all() and (played[1] > limits[[0, 3]]).all()
    assert torch.equal(played[2], limits) and torch.equal(played[3], limits[[3, 0]])


def test_new_stems_do_not_take_a_piece_above_full_scale(monkeypatch: pytest.MonkeyPatch):
    pipe = make_tiny_pipeline()

    def loud(model: StemModel, log_mels: torch.Tensor, stems: list[str]) -> torch.Tensor:
        return torch.full_like(vocode(model, log_mels, stems), 0.4)

    for task in (generate, context):
        monkeypatch.setattr(task, "vocode", loud)
    piece = pipe.generate(1.28, generator=seeded())
    assert torch.allclose(piece["mixture"], torch.tensor(1.0), atol=1e-4)
    given = noise(2, 50_000)
    arranged = pipe.arrange({"drums": given}, 44100, generator=seeded())
    assert torch.equal(arranged["drums"], given)
    alone = sum(arranged[stem] for stem in ("bass", "guitar", "piano"))
    assert torch.allclose(alone + given, arranged["mixture"], atol=1e-5)
    assert 0.9 < arranged["mixture"].abs().max() <= 1.0001


def test_other_stem_names_work():
    pipe = make_tiny_pipeline(("vocals", "other"))
    assert list(pipe.separate(noise(1, 9000), 16000)) == ["vocals", "other"]
