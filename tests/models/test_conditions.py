"""Conditions change nothing before they are trained, reach what they are about, and keep names."""

import math

import numpy as np
import pytest
import torch

from stemweave.models.compact import CompactUNet
from stemweave.models.conditions import (
    ConditionNetwork,
    Conditions,
    conditions_of,
    nothing_known,
    pitch_templates,
)
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.rolls import WIDTHS, roll_columns
from stemweave.training.networks import load_weights, untrained

STEMS = ("bass", "drums", "guitar", "piano")
VOCABULARY = {
    "styles": ["rock", "jazz"],
    "instruments": {"bass": ["finger", "synth"], "guitar": ["nylon"]},
    "sounds": {"piano": ["a.sf2", "b.sf2"]},
    "num_mels": 32,
    "channels": 8,
}
SMALL = {
    "stems": STEMS,
    "latent_channels": 2,
    "latent_bands": 8,
    "block_channels": [16, 32],
    "blocks_per_level": 1,
    "attention_levels": [1],
    "embedding_channels": 16,
}


def network(**changes) -> CompactUNet:
    torch.manual_seed(0)
    net = CompactUNet(**{**SMALL, "vocabulary": {**VOCABULARY, **changes}})
    for parameter in net.parameters():  # also those that begin as zeros
        torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def known(height: int = 8) -> Conditions:
    sheet = LeadSheet.from_text("C | F", 120, "4/4", style="jazz", instruments={"bass": "synth"})
    notes = {"bass": np.array([[0.1, 0.5, 40, 90]]), "drums": np.zeros((0, 4))}
    config = {"stems": STEMS, "vocabulary": VOCABULARY}
    return conditions_of(config, sheet, notes, 0.0, height, 0.08, {"piano": "b.sf2"})


def test_names_become_numbers_and_unknown_ones_zero():
    one = known()
    assert one.style.tolist() == [2] and one.instruments.tolist() == [[2, 0, 0, 0]]
    assert one.sounds.tolist() == [[0, 0, 0, 2]]
    assert dict(zip(WIDTHS, one.notes_known[0, 0].tolist(), strict=True)) == {
        "bass": True, "guitar": False, "piano": False, "drums": True,
    }  # fmt: skip
    assert one.roll.any() and one.rows.any()


def test_a_trained_denoiser_stays_what_it_was(tmp_path):
    torch.manual_seed(1)
    old = CompactUNet(**SMALL).eval()
    for parameter in old.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    old.save_pretrained(tmp_path / "old")
    new = CompactUNet(**SMALL, vocabulary=VOCABULARY).eval()
    load_weights(new, "denoiser", tmp_path / "old")
    latents, timestep = torch.randn(1, 4, 2, 8, 8), torch.tensor([500])
    with torch.inference_mode():
        expected = old(latents, timestep)
        assert torch.equal(new(latents, timestep), expected)
        assert torch.equal(new(latents, timestep, conditions=known()), expected)


def test_every_condition_reaches_the_prediction_and_nothing_known_is_none():
    net = network()
    latents, timestep = torch.randn(1, 4, 2, 8, 8), torch.tensor([500])
    nothing = nothing_known(1, 4, 8)
    with torch.inference_mode():
        without = net(latents, timestep)
        assert torch.equal(net(latents, timestep, conditions=nothing), without)
        for name, tensor in known()._asdict().items():
            one = nothing._replace(**{name: tensor})
            assert not torch.allclose(net(latents, timestep, conditions=one), without), name
        embedded = net.conditions(known())
        embedded_once = net(latents, timestep, conditions=embedded)
        assert torch.equal(embedded_once, net(latents, timestep, conditions=known()))


def test_samples_of_a_batch_have_their_own_conditions():
    net = network()
    both = Conditions(*map(torch.cat, zip(known(), nothing_known(1, 4, 8), strict=True)))
    latents, timestep = torch.randn(2, 4, 2, 8, 8), torch.tensor([500, 500])
    with torch.inference_mode():
        together = net(latents, timestep, conditions=both)
        for index in range(2):
            place = slice(index, index + 1)
            alone = net(latents[place], timestep[place], conditions=both.part(place))
            assert torch.allclose(together[place], alone, atol=1e-5)


def test_partials_lie_where_the_mel_bands_are():
    from stemweave.models.log_mel import slaney_basis

    basis = slaney_basis(4096, 64, 0.0, 8000.0, 16000)
    decaying, equal = pitch_templates(64, 8000.0)
    for pitch in (36, 69, 95):
        bin_of = 440 * 2 ** ((pitch - 69) / 12) / 8000 * 2048
        heard = [basis[round(bin_of * number)].argmax().item() for number in (1, 2, 3)]
        for band in heard:
            assert equal[pitch - 24, max(band - 1, 0) : band + 2].max() > 0.4
        strongest = decaying[pitch - 24].argmax()
        assert abs(int(strongest) - heard[0]) <= 1 or pitch == 36
    assert np.isfinite(equal).all() and equal.max() <= 1


def test_notes_are_found_at_their_place_in_time():
    net = network()
    one, moved = nothing_known(1, 4, 32), nothing_known(1, 4, 32)
    one.roll[0, 8, roll_columns("guitar")] = 200
    moved.roll[0, 12, roll_columns("guitar")] = 200
    with torch.inference_mode():
        nothing, first, second = (
            net.conditions(c)[0] for c in (nothing_known(1, 4, 32), one, moved)
        )
    assert torch.allclose((first - nothing)[:, :, 6:11], (second - nothing)[:, :, 10:15], atol=1e-5)
    assert (first - nothing)[:, :, 11:].abs().max() < 1e-6


def test_saved_and_read_again_with_other_names(tmp_path):
    net = network()
    net.save_pretrained(tmp_path / "trained")
    again = CompactUNet.from_pretrained(tmp_path / "trained")
    assert again.config.vocabulary["sounds"] == VOCABULARY["sounds"]
    more = network(sounds={"piano": ["0.sf2", "b.sf2"]}, styles=["jazz"])
    load_weights(more, "denoiser", tmp_path / "trained")
    piano, theirs = more.conditions.sounds[3].weight, net.conditions.sounds[3].weight
    assert torch.equal(piano[2], theirs[2]) and torch.equal(piano[0], theirs[0])
    assert torch.equal(more.conditions.style.weight, net.conditions.style.weight[[0, 2]])
    assert set(untrained(more)) >= {"conditions.project.weight"}


def test_mel_bands_must_fit_the_latents():
    with pytest.raises(ValueError, match="latent bands"):
        ConditionNetwork(STEMS, 8, 16, 16, num_mels=33)
    assert math.isfinite(float(pitch_templates(33, 4000.0).sum()))
