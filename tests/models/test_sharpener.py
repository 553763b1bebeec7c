"""The mask sharpener: what it hears, what it leaves as it is, and that it can learn."""

import math

import pytest
import torch

from stemweave.audio.factorisation import Factors
from stemweave.audio.masking import MaskSeparator
from stemweave.errors import InputError
from stemweave.evaluation.signal_measures import si_sdr_db
from stemweave.model import StemModel
from stemweave.models.sharpener import FIRST_PASS, MaskSharpener, spectrum_features
from tests.conftest import make_tiny_pipeline
from tests.models.precision import check_masks_in_bfloat16

LOG_MEL = make_tiny_pipeline().log_mel
RATE, N_FFT = LOG_MEL.config.sample_rate, LOG_MEL.config.n_fft


def tiny_sharpener(num_stems: int = 2, **settings: object) -> MaskSharpener:
    torch.manual_seed(0)
    own = {"num_bins": N_FFT // 2, "sample_rate": RATE, "n_fft": N_FFT}
    return MaskSharpener(num_stems, **{**own, "channels": 8, "dilations": (1, 2), **settings})


def tone_and_noise(num_samples: int = RATE) -> torch.Tensor:
    """A tone (1, T) and noise: in every band that both share, single bins tell them apart."""
    generator = torch.Generator().manual_seed(1)
    time_s = torch.arange(num_samples) / RATE
    tone = sum(torch.sin(2 * math.pi * hz * time_s) for hz in (2000, 3000, 5000))
    return torch.stack([0.03 * tone, 0.1 * torch.randn(num_samples, generator=generator)])


SPECTRUM = MaskSeparator(LOG_MEL, RATE).spectrum(tone_and_noise().sum(0, keepdim=True))
EVEN = torch.full((1, 2, *SPECTRUM.shape[1:]), 0.5)


def random_masks(seed: int) -> torch.Tensor:
    """Of both stems, for ``SPECTRUM``."""
    noise = torch.rand(EVEN.shape, generator=torch.Generator().manual_seed(seed))
    return noise / noise.sum(1, keepdim=True)


def even_masks(num_frames: int, num_stems: int = 2) -> torch.Tensor:
    return torch.full((num_stems, num_frames, LOG_MEL.config.num_mels), 1 / num_stems)


def test_an_untrained_sharpener_leaves_masks_as_they_are():
    stems = tone_and_noise()
    mixture = stems.sum(0, keepdim=True)
    masks = torch.rand(2, 50, LOG_MEL.config.num_mels, generator=torch.Generator().manual_seed(2))
    masks = masks / masks.sum(0)
    plain = MaskSeparator(LOG_MEL, RATE).separate(mixture, masks)
    sharp = MaskSeparator(LOG_MEL, RATE, tiny_sharpener().sharpen).separate(mixture, masks)
    assert torch.allclose(plain, sharp, atol=1e-5)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
def test_stems_add_up_at_any_rate_and_high_bins_keep_their_masks(sample_rate: int):
    sharpener = tiny_sharpener()
    torch.nn.init.normal_(sharpener.conv_out.weight)
    separator = MaskSeparator(LOG_MEL, sample_rate, sharpener.sharpen)
    mixture = 0.1 * torch.randn(2, sample_rate, generator=torch.Generator().manual_seed(3))
    stems = separator.separate(mixture, even_masks(50))
    assert torch.allclose(stems.sum(0), mixture, atol=1e-5)
    spectrum = separator.spectrum(mixture).mean(0, keepdim=True)
    masks = separator.bin_masks(even_masks(50)[None], spectrum)
    assert torch.allclose(masks.sum(1), torch.ones_like(masks[:, 0]), atol=1e-5)
    above = masks[..., N_FFT // 2 :, :]
    assert torch.allclose(above, torch.full_like(above, 0.5))
    assert (masks[..., : N_FFT // 4, :] - 0.5).abs().max() > 0.1


def test_what_it_hears_is_the_same_at_other_rates():
    """A tone's level and frequency within a bin do not depend on the recording's rate."""
    heard = []
    for sample_rate in (16000, 48000):
        separator = MaskSeparator(LOG_MEL, sample_rate)
        time_s = torch.arange(sample_rate) / sample_rate
        spectrum = separator.spectrum(torch.sin(2 * math.pi * 2003 * time_s)[None])
        features = spectrum_features(spectrum * separator.scale)
        heard.append(features[0, :, round(2003 * N_FFT / RATE), 10])
    assert torch.allclose(heard[0], heard[1], atol=0.02)


@pytest.mark.parametrize("num_bins", [N_FFT // 8, N_FFT // 2 - 3, N_FFT])
def test_factors_are_what_untrained_masks_are_drawn_to(num_bins: int):
    sharpener = tiny_sharpener(num_components=3, num_bins=num_bins)
    masks, sharpened = random_masks(4), slice(0, min(num_bins, N_FFT // 2))
    with torch.no_grad():
        sharp = sharpener(SPECTRUM, masks)
        found = sharpener.factors(SPECTRUM, masks).masks()[..., sharpened, :].clamp(min=1e-4)
    between = (masks[..., sharpened, :] * found).sqrt()
    between = between / between.sum(1, keepdim=True)
    assert torch.allclose(sharp[..., sharpened, :], between, atol=2e-3)
    assert (between - masks[..., sharpened, :]).abs().mean() > 0.02


def test_a_piece_is_told_the_factors_of_its_window():
    sharpener = tiny_sharpener(num_components=3)
    masks, piece = random_masks(5), slice(5, 15)
    with torch.no_grad():
        templates, activations = sharpener.factors(SPECTRUM, masks)
        told = Factors(templates, activations[..., piece])
        whole = sharpener(SPECTRUM, masks)[..., piece]
        of_piece = sharpener(SPECTRUM[..., piece], masks[..., piece], told)
    assert torch.allclose(of_piece, whole, atol=1e-4)


def test_training_tells_a_tone_from_noise_where_bands_cannot():
    stems = tone_and_noise()
    mixture = stems.sum(0, keepdim=True)
    sharpener = tiny_sharpener()
    separator = MaskSeparator(LOG_MEL, RATE, sharpener.sharpen)
    optimiser = torch.optim.AdamW(sharpener.parameters(), lr=3e-3)
    before = si_sdr_db(separator.separate(mixture, even_masks(50))[:, 0].detach(), stems)
    for _ in range(60):
        estimates = separator.separate(mixture, even_masks(50))[:, 0]
        loss = (estimates - stems).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        after = si_sdr_db(separator.separate(mixture, even_masks(50))[:, 0], stems)
    assert (after > before + 3).all()


@pytest.mark.parametrize("faster", [False, True])
def test_masks_are_sharpened_in_bfloat16_where_that_is_faster(monkeypatch, faster: bool):
    check_masks_in_bfloat16(monkeypatch, tiny_sharpener(), (SPECTRUM, EVEN), faster, rounding=1e-5)


def test_gradients_are_those_of_float32_under_autocast():
    """In bfloat16, those of such convolutions are NaN on some CPUs."""
    gradients = []
    for autocast in (False, True):
        sharpener = tiny_sharpener(channels=24, dilations=(2, 4))
        for name, parameter in sharpener.named_parameters():
            if "weight" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            masks = sharpener(SPECTRUM, random_masks(2))
        assert masks.dtype == torch.float32
        masks[:, 0].mean().backward()
        gradients.append(sharpener.get_parameter("blocks.0.conv1.weight").grad)
    assert gradients[0].norm() > 0
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-7)


def test_a_model_with_a_sharpener_is_saved_loaded_and_checked(tmp_path):
    parts = make_tiny_pipeline().components
    pipe = StemModel(**{**parts, "sharpener": tiny_sharpener(4)})
    pipe.save_pretrained(tmp_path)
    loaded = StemModel.from_pretrained(tmp_path)
    assert isinstance(loaded.sharpener, MaskSharpener)
    other = tiny_sharpener(4, sample_rate=2 * RATE)
    with pytest.raises(InputError, match=f"sample_rate {2 * RATE}, not {RATE}"):
        StemModel(**{**parts, "sharpener": other})


def test_a_window_judges_together_what_was_sharpened():
    sharpener = tiny_sharpener(num_components=2, num_bins=N_FFT // 4)
    torch.nn.init.normal_(sharpener.conv_out.weight, std=0.1)
    with torch.no_grad():
        alone, together = sharpener(SPECTRUM, EVEN), sharpener.sharpen(SPECTRUM, EVEN)
    assert torch.allclose(together.sum(1), torch.ones_like(together[:, 0]), atol=1e-5)
    assert torch.equal(together[..., N_FFT // 4 :, :], alone[..., N_FFT // 4 :, :])

    def unrest(some: torch.Tensor) -> float:
        """What changes from moment to moment of a mixture in which nothing does."""
        return some[..., : N_FFT // 4, :].diff(dim=-1).abs().mean().item()

    assert unrest(together) < 0.9 * unrest(alone)


def test_a_second_pass_has_better_factors_and_makes_better_masks():
    generator = torch.Generator().manual_seed(6)
    notes = torch.rand(2, N_FFT // 2 + 1, 3, generator=generator) ** 6
    played = (torch.rand(2, 3, 60, generator=generator) > 0.6).float()
    stems = (notes @ played)[None] + 1e-4
    spectrum = stems.sum(1).to(torch.complex64)
    true = stems / stems.sum(1, keepdim=True)
    wrong = torch.rand(true[:, :1].shape, generator=generator) < 0.4
    masks = torch.where(wrong, true.flip(1), true)

    def error(some: torch.Tensor) -> float:
        return (some[..., : N_FFT // 2, :] - true[..., : N_FFT // 2, :]).square().mean().item()

    with torch.no_grad():
        one = tiny_sharpener(num_components=3)
        two = tiny_sharpener(num_components=3, later_components=5)
        told, sharp = two.second_factors(spectrum, masks), two.sharpen(spectrum, masks)
        assert error(told.masks()) < 0.5 * error(masks)
        assert error(told.masks()) < 0.95 * error(one.factors(spectrum, masks).masks())
        assert error(sharp) < 0.99 * error(one.sharpen(spectrum, masks)) < 0.9 * error(masks)
    assert torch.allclose(sharp.sum(1), torch.ones_like(sharp[:, 0]), atol=1e-5)
    with pytest.raises(ValueError, match="later_components need num_components"):
        tiny_sharpener(later_components=5)
    assert told.templates.shape[-1] == 5
    padded = told.padded(8, FIRST_PASS["starts"])
    assert padded.templates.shape[1] == FIRST_PASS["starts"] > told.templates.shape[1]
    assert torch.allclose(padded.masks(), told.masks(), atol=1e-6)
