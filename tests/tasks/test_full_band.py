"""A vocoder that plays at 44.1 kHz what the networks hear at 16 kHz: rates, classes, chunks."""

import pytest
import torch

from stemweave.errors import InputError
from stemweave.model import StemModel
from stemweave.models.provenance import TRAINED
from stemweave.models.vocoder import SpectralVocoder, resampled
from stemweave.tasks import context, spectra
from stemweave.tasks.spectra import vocode
from tests.conftest import make_tiny_pipeline
from tests.tasks.test_tasks import noise, seeded


def full_band(**settings: object) -> StemModel:
    """The tiny model with a vocoder of the kind that is shipped."""
    parts = make_tiny_pipeline().components
    parts["vocoder"] = SpectralVocoder(
        num_mels=32, hop_length=882, sample_rate=44100, upsampling=3, n_fft=1176, num_stems=4,
        coarse_channels=16, coarse_blocks=1, fine_channels=16, fine_blocks=1, noise_channels=8,
        frame_norm=True,
    )  # fmt: skip
    return StemModel(**parts, reference_rms=0.1, generation_steps=2, **settings)


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    return full_band()


def above_8_khz(waveform: torch.Tensor, sample_rate: int) -> float:
    """Share of the energy."""
    energy = torch.fft.rfft(waveform.flatten()).abs().square()
    return (energy[round(8000 / sample_rate * 2 * len(energy)) :].sum() / energy.sum()).item()


def test_new_pieces_come_at_the_vocoders_rate(pipe: StemModel):
    piece = pipe.generate(1.3, generator=seeded())
    assert (pipe.sample_rate, piece.sample_rate) == (16000, 44100)
    assert {waveform.shape for waveform in piece.values()} == {(1, 57_330)}
    assert above_8_khz(piece["drums"], 44100) > 0.1


def test_new_pieces_are_in_stereo_and_at_any_rate():
    pipe = full_band(stereo=True)
    piece = pipe.generate(1.3, generator=seeded())
    alone = pipe.generate(1.3, mono=True, generator=seeded())
    assert piece["bass"].shape == (2, 57_330) and alone["bass"].shape == (1, 57_330)
    for name, waveform in piece.items():
        assert torch.equal(waveform[0], waveform[1]) == (name == "bass")
        assert torch.allclose(waveform.mean(dim=0), alone[name][0], atol=1e-6)
    slower = pipe.generate(1.3, sample_rate=22050, generator=seeded())
    assert slower.sample_rate == 22050 and slower["mixture"].shape == (2, 28_665)
    with pytest.raises(InputError, match="8000 to 192000 Hz"):
        pipe.generate(1.3, sample_rate=7)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_new_stems_get_places_in_stereo_pieces_only(channels: int):
    pipe = full_band(stereo=True)
    loud, silent = noise(1, 30_000).repeat(channels, 1), torch.zeros(channels, 30_000)
    for given in (loud, silent):
        made = pipe.arrange({"drums": given}, 44100, generator=seeded())
        assert made["piano"].shape == given.shape and torch.equal(made["drums"], given)
        assert torch.equal(made["bass"][0], made["bass"][-1])
        assert torch.equal(made["piano"][0], made["piano"][-1]) == (channels != 2)
    varied = pipe.vary({"piano": loud}, 44100, generator=seeded())["piano"]
    assert torch.equal(varied[0], varied[-1])  # it has a place already


@pytest.mark.parametrize("sample_rate", [16000, 44100, 48000])
def test_changed_pieces_keep_their_rate_and_have_its_whole_band(pipe: StemModel, sample_rate: int):
    given = {name: noise(2, 2 * sample_rate) for name in ("drums", "guitar")}
    for made, name in (
        (pipe.arrange(given, sample_rate, generator=seeded()), "bass"),
        (pipe.edit(given, sample_rate, renew={"drums": (0, 2)}, generator=seeded()), "drums"),
        (pipe.vary(given, sample_rate, generator=seeded()), "drums"),
    ):
        assert made.sample_rate == sample_rate and made[name].shape == given["drums"].shape
        if sample_rate > 16000:
            assert above_8_khz(made[name], sample_rate) > 0.1
    longer = pipe.extend(given, sample_rate, seconds=1, generator=seeded())
    assert longer["drums"].shape == (2, 3 * sample_rate)


def test_levels_are_fitted_as_the_model_hears_them(
    pipe: StemModel, monkeypatch: pytest.MonkeyPatch
):
    def from_one_second_on(true: torch.Tensor, made: torch.Tensor, *_: object) -> torch.Tensor:
        assert 0 <= len(made) - len(true) < 6400
        return (torch.arange(len(made)) >= 16000).float()

    monkeypatch.setattr(context, "level_fit", from_one_second_on)
    drums = pipe.vary({"drums": noise(1, 88_200)}, 44100, generator=seeded())["drums"][0]
    assert not drums[:44_098].any() and drums[44_102:].abs().mean() > 1e-4


def test_the_vocoder_is_told_which_stem_it_plays():
    pipe = full_band()
    log_mels = torch.randn(1, 32, 32, generator=seeded()).expand(4, -1, -1)
    played = vocode(pipe, log_mels, ["bass", "drums", "drums", "piano"])
    unlike = vocode(pipe, log_mels, ["piano", "drums", "drums", "bass"])
    assert torch.equal(played[1], unlike[1]) and not torch.allclose(played[0], unlike[0])
    pipe.vocoder.register_to_config(**{TRAINED: {"stems": ["piano", "bass"]}})
    assert [pipe.vocoder_class(stem) for stem in ("piano", "bass", "drums")] == [0, 1, 4]


def test_chunks_of_a_long_piece_are_played_as_the_whole(monkeypatch: pytest.MonkeyPatch):
    pipe = full_band()
    log_mels = torch.randn(1, 200, 32, generator=seeded()).cumsum(dim=1) * 0.1 - 3
    in_chunks = vocode(pipe, log_mels, ["drums"])
    monkeypatch.setattr(spectra, "chunked", lambda function, frames, *_: function(frames))
    assert (in_chunks - vocode(pipe, log_mels, ["drums"])).abs().max() < 1e-4
    monkeypatch.undo()
    pipe = full_band(matching_iterations=2)
    frames = resampled(vocode(pipe, log_mels, ["drums"]), 200 * 320)
    error = (pipe.log_mel(frames) - log_mels).abs().mean(dim=2)[0]
    assert error.max() < 3 * error.median()  # at a joint, too
