"""The mask network: its shapes, settings of earlier versions, and what its error measures."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stemweave.data.mask_targets import mask_targets
from stemweave.errors import InputError
from stemweave.evaluation.signal_measures import si_sdr_db
from stemweave.model import StemModel
from stemweave.models.acceleration import accelerate
from stemweave.models.refiner import FRONT_END, FineSpectra, MaskRefiner
from tests.conftest import make_tiny_pipeline
from tests.models.precision import check_masks_in_bfloat16


def tiny_refiner(num_stems: int = 4) -> MaskRefiner:
    torch.manual_seed(0)
    return MaskRefiner(num_stems, 32, block_channels=(16, 32), attention_levels=(1,))


def spectra(num_frames: int) -> torch.Tensor:
    return -5 + torch.randn(2, num_frames, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("num_frames", [16, 33])
def test_an_untrained_network_gives_equal_shares(num_frames: int):
    masks = tiny_refiner()(spectra(num_frames))
    assert torch.allclose(masks, torch.full((2, 4, num_frames, 32), 0.25))


def test_masks_add_up_whatever_the_weights():
    refiner = tiny_refiner(3)
    torch.nn.init.normal_(refiner.conv_out.weight)
    masks = refiner(spectra(20))
    assert torch.allclose(masks.sum(dim=1), torch.ones(2, 20, 32), atol=1e-5)
    assert (masks >= 0).all() and masks.std() > 0.1


def test_masks_are_a_mean_over_shifts():
    refiner = hearing_refiner()
    for layer in (refiner.conv_out, refiner.up_blocks[0][0].conv2):
        torch.nn.init.normal_(layer.weight, std=0.1)
    frames, hop_length = 20, refiner.config.hop_length
    waveform = torch.randn(1, frames * hop_length, generator=torch.Generator().manual_seed(1))
    mixture = torch.randn(1, frames, refiner.config.num_mels) - 5

    def masks(*shifts: int) -> torch.Tensor:
        refiner.register_to_config(shifts=shifts)
        return refiner.separate(mixture, waveform)

    assert masks(6).shape == masks(0).shape and not torch.allclose(masks(6), masks(0), atol=1e-3)
    assert torch.allclose(masks(0, 6), (masks(0) + masks(6)) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="shifts"):
        MaskRefiner(shifts=(3,))


def save_as_earlier(network: MaskRefiner, folder: Path, **more: object) -> None:
    """``network`` as folders had it when mask networks saw estimates of the stems, too."""
    network.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["blind_shifts"] = config.pop("shifts")
    (folder / "config.json").write_text(json.dumps({**config, **more}))
    weights = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["conv_in.weight"] = torch.cat([state["conv_in.weight"], torch.randn(16, 16, 3, 3)], dim=1)
    save_file(state, weights, metadata={"format": "pt"})


def test_weights_of_earlier_versions_give_the_same_masks(tmp_path: Path):
    network = tiny_refiner()
    torch.nn.init.normal_(network.conv_out.weight)
    network.register_to_config(shifts=[0, 4])
    save_as_earlier(network, tmp_path, blind_share=1.0, estimate_share=0.1)
    mixture, waveform = spectra(20), torch.zeros(2, 0)
    expected = network.separate(mixture, waveform)
    loaded = MaskRefiner.from_pretrained(tmp_path)
    assert torch.equal(loaded.separate(mixture, waveform), expected)
    save_as_earlier(network, tmp_path / "told", blind_share=0.0)
    with pytest.raises(InputError, match="train it again"):
        MaskRefiner.from_pretrained(tmp_path / "told")


def hearing_refiner() -> MaskRefiner:
    """With fine spectra and band mixers, of the tiny pipeline's front end."""
    torch.manual_seed(0)
    config = make_tiny_pipeline().log_mel.config
    front_end = {name: config[name] for name in FRONT_END}
    return MaskRefiner(
        block_channels=(16, 32), attention_levels=(), fine=True, band_mixers=True, **front_end
    )


def test_fine_spectra_and_band_mixers_are_heard_once_trained():
    refiner = hearing_refiner()
    hop_length, num_mels = refiner.config.hop_length, refiner.config.num_mels
    waveform = torch.randn(1, 20 * hop_length, generator=torch.Generator().manual_seed(1))
    mixture = torch.full((1, 20, num_mels), -5.0)

    def masks(sound: torch.Tensor) -> torch.Tensor:
        return refiner.separate(mixture, sound)

    assert torch.allclose(masks(waveform), torch.full((), 0.25))
    for name, parameter in refiner.named_parameters():
        if "out" in name or "spread" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    assert masks(waveform).shape == (1, 4, 20, num_mels)
    assert (masks(waveform) - masks(0.1 * waveform)).abs().max() > 1e-3


@pytest.mark.parametrize("faster", [False, True])
def test_masks_are_made_in_bfloat16_where_that_is_faster(monkeypatch, faster: bool):
    check_masks_in_bfloat16(monkeypatch, tiny_refiner(), (spectra(20),), faster, rounding=1e-6)


def test_a_refiner_for_another_front_end_is_refused():
    mel = make_tiny_pipeline().log_mel.config
    assert MaskRefiner.misfits(hearing_refiner().config, mel) == []
    other = {**mel, "hop_length": 2 * mel.hop_length}
    assert "hop_length" in MaskRefiner.misfits(hearing_refiner().config, other)[0]
    assert MaskRefiner.misfits(tiny_refiner().config, other) == []


def test_si_sdr_is_that_of_masked_spectra():
    generator = torch.Generator().manual_seed(2)
    stems = 2 + torch.randn(2, 3, 5, 8, dtype=torch.complex64, generator=generator)
    targets = mask_targets(stems, torch.eye(8))  # every bin is a band
    masks = torch.rand(2, 3, 5, 8, generator=generator)
    mixture = stems.sum(1)
    estimate, true = (
        torch.view_as_real(spectrum).flatten(2) for spectrum in (masks * mixture[:, None], stems)
    )
    assert torch.allclose(targets.si_sdr_db(masks), si_sdr_db(estimate, true).float(), atol=1e-2)
    whole = mixture.abs().square().sum((-2, -1))[:, None]
    assert torch.allclose(targets.stem_energy(), true.square().sum(-1) / whole, rtol=1e-3)
    assert torch.allclose(targets.estimate_energy(masks), estimate.square().sum(-1) / whole)
    assert (targets.si_sdr_db(targets.best_mask) > targets.si_sdr_db(masks)).all()


def test_a_hushed_stem_is_worth_what_its_shape_is_worth():
    generator = torch.Generator().manual_seed(3)
    stems = torch.randn(1, 2, 5, 8, dtype=torch.complex64, generator=generator)
    stems[:, 1] *= 0.05  # a faint stem, which nobody can find
    targets = mask_targets(stems, torch.eye(8))
    masks = torch.rand(1, 2, 5, 8, generator=generator)
    assert targets.si_sdr_db(masks)[0, 1] < -10
    assert torch.allclose(targets.si_sdr_db(1e-5 * masks), targets.si_sdr_db(masks), atol=1e-2)


def test_a_few_steps_learn_whose_bands_are_whose():
    """Stem 0 has the low bands, stem 1 the high ones."""
    refiner = tiny_refiner(2)
    low = (torch.arange(32) < 16).float()
    stems = torch.stack([low, 1 - low])[None, :, None, :].expand(1, 2, 16, 32)
    targets = mask_targets(stems.to(torch.complex64), torch.eye(32))
    mixture = torch.full((1, 16, 32), -5.0)
    optimiser = torch.optim.Adam(refiner.parameters(), 1e-2)
    ratios_db = []
    for _ in range(12):  # near perfection, some steps later, they bounce
        ratio_db = targets.si_sdr_db(refiner(mixture)).mean()
        ratios_db.append(ratio_db.item())
        optimiser.zero_grad()
        (-ratio_db).backward()
        optimiser.step()
    assert ratios_db[0] == pytest.approx(0, abs=0.1)
    assert ratios_db[-1] > 10


@pytest.fixture
def refined_pipe() -> StemModel:
    pipe = make_tiny_pipeline()
    parts = {name: getattr(pipe, name) for name in ("log_mel", "vae", "denoiser", "scheduler")}
    refiner = tiny_refiner()
    torch.nn.init.normal_(refiner.conv_out.weight)
    return StemModel(**parts, vocoder=pipe.vocoder, refiner=refiner, reference_rms=0.1)


def test_a_model_with_a_refiner_separates_with_it(refined_pipe: StemModel, tmp_path):
    mixture = 0.1 * torch.randn(2, 50_000, generator=torch.Generator().manual_seed(0))

    def separate(pipe: StemModel):
        return pipe.separate(mixture, 22050, generator=torch.Generator().manual_seed(0))

    refined, plain = separate(refined_pipe), separate(make_tiny_pipeline())
    assert (sum(refined.values()) - mixture).abs().max() < 1e-6
    assert (refined["drums"] - plain["drums"]).abs().max() > 1e-3
    by_diffusion = refined_pipe.separate(
        mixture, 22050, method="diffusion", generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(by_diffusion["drums"], plain["drums"])
    with pytest.raises(InputError, match="settings of the diffusion"):
        refined_pipe.separate(mixture, 22050, steps=2)
    refined_pipe.save_pretrained(tmp_path / "model")
    loaded = separate(StemModel.from_pretrained(tmp_path / "model"))
    assert torch.equal(loaded["drums"], refined["drums"])


@pytest.mark.parametrize(("dtype", "exact"), [("auto", False), ("float32", True)])
def test_float32_is_for_masks_too_if_asked_for(refined_pipe, dtype: str, exact: bool):
    accelerate(refined_pipe, dtype)
    assert refined_pipe.refiner.exact is exact


FINE = FineSpectra(16000, 320, 128, 2048, 1e-3)


def test_the_short_window_of_fine_spectra_places_a_click_within_a_frame():
    waveform = torch.zeros(1, 64 * 320)
    waveform[0, 10 * 640 + 3 * 160] = 1  # the last quarter of place 10
    fine = FINE(waveform)
    assert fine.shape == (1, 8, 32, 64)  # a place is two frames and two bands
    short = fine[0, :4, :, 32]
    assert short.flatten().argmax() == 3 * short.shape[1] + 10
    assert short[3, 10] - short[:, 12].max() > 3


def test_the_long_window_of_fine_spectra_tells_close_tones_apart():
    time_s = torch.arange(128 * 320) / 16000
    tones = sum(torch.sin(2 * torch.pi * hz * time_s) for hz in (440.0, 452.0))
    long = FINE(tones[None])[0, 4:, 32].transpose(0, 1).flatten()  # bands of one frame
    peak = int(long[: len(long) // 4].argmax())
    neighbours = long[peak - 2 : peak + 3]
    assert (neighbours.diff().sign().diff() != 0).any()  # not one broad hill
